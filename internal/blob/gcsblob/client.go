package gcsblob

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"

	"cloud.google.com/go/storage"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/api/option"
	htransport "google.golang.org/api/transport/http"

	"sower/internal/blob/wire"
)

// emulatorVariable names a stand-in for the service, as the library reads it: host:port, or a URL.
const emulatorVariable = "STORAGE_EMULATOR_HOST"

// clients holds the process's one client, by the emulator it talks to (none, outside of tests).
var clients struct {
	sync.Mutex
	by map[string]*storage.Client
}

// client is shared by all buckets: each has connections and a token of its own.
func client() (*storage.Client, error) {
	emulator := os.Getenv(emulatorVariable)
	clients.Lock()
	defer clients.Unlock()
	if c := clients.by[emulator]; c != nil {
		return c, nil
	}
	ctx := context.Background() // the client outlives whoever is first
	transport := http.RoundTripper(wire.Base())
	if emulator == "" {
		var err error
		// The library's own search for credentials: GOOGLE_APPLICATION_CREDENTIALS, those of gcloud, the machine's account.
		transport, err = htransport.NewTransport(ctx, transport, option.WithScopes(storage.ScopeReadWrite))
		if err != nil {
			return nil, fmt.Errorf(`no credentials for gs:// (run "gcloud auth application-default login", point GOOGLE_APPLICATION_CREDENTIALS `+
				`to a file, or use a machine with a service account; docs/storage.md): %w`, err)
		}
	}
	c, err := storage.NewClient(ctx, option.WithHTTPClient(&http.Client{Transport: asStored{wire.Transport(transport)}}), storage.WithJSONReads())
	if err != nil {
		return nil, err
	}
	// Preconditions and pinned generations make every operation here safe to repeat.
	c.SetRetry(storage.WithPolicy(storage.RetryAlways), storage.WithMaxAttempts(wire.Attempts), storage.WithErrorFunc(again),
		storage.WithBackoff(gax.Backoff{Initial: wire.FirstWait, Max: wire.LongWait, Multiplier: 2}))
	if clients.by == nil {
		clients.by = map[string]*storage.Client{}
	}
	clients.by[emulator] = c
	return c, nil
}

// again says which failures are worth another attempt.
func again(err error) bool {
	return !errors.Is(err, wire.ErrGaveUp) && !errors.Is(err, context.Canceled) && storage.ShouldRetry(err)
}

// asStored asks for objects as they are stored. Without, the service unpacks those with Content-Encoding gzip on the way, so
// that neither size nor checksum nor ranges are the object's.
type asStored struct{ base http.RoundTripper }

func (t asStored) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet && r.URL.Query().Get("alt") == "media" {
		r = r.Clone(r.Context())
		r.Header.Set("Accept-Encoding", "gzip")
	}
	return t.base.RoundTrip(r)
}
