package worker

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime"
)

// TestEndWithJob has a worker watch a job that ends, is forgotten, is started again, or cannot be asked about.
func TestEndWithJob(t *testing.T) {
	job := func(state string) string {
		return fmt.Sprintf(`{"jobs": [{"jid": "1", "name": "sower0x-root-1", "state": %q}, {"jid": "2", "name": "other", "state": "RUNNING"}]}`, state)
	}
	for what, c := range map[string]struct {
		answers []string // the last one stays
		ends    bool
	}{
		"runs":          {[]string{job("RUNNING")}, false},
		"ends":          {[]string{job("RUNNING"), job("FAILED")}, true},
		"is forgotten":  {[]string{job("RUNNING"), `{"jobs": []}`}, true},
		"starts again":  {[]string{job("FAILED"), job("FAILED"), job("RESTARTING")}, false},
		"hiccup":        {[]string{job("RUNNING"), `{"jobs": []}`, `{"jobs": []}`, job("RUNNING")}, false},
		"no word of it": {[]string{"oops"}, false},
	} {
		var asked atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, c.answers[min(int(asked.Add(1)), len(c.answers))-1])
		}))
		if ended := watched(t, "sower-x", server.URL, func() bool { return asked.Load() > int64(len(c.answers))+4 }); ended != c.ends {
			t.Errorf("%s: ended %v", what, ended)
		}
		server.Close()
	}
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	if watched(t, "sower-x", gone.URL, nil) {
		t.Error("a cluster that does not answer ends its workers")
	}
	port := gone.URL[strings.LastIndexByte(gone.URL, ':')+1:]
	if !watched(t, "sower-x", gone.URL+"-"+nextPort(port), nil) {
		t.Error("a job server without jobs keeps a worker")
	}
	if watched(t, "", gone.URL+"-"+nextPort(port), nil) || watched(t, "sower-x", "", nil) {
		t.Error("a worker that knows nothing of its job ends")
	}
}

func nextPort(port string) string {
	var n int
	fmt.Sscan(port, &n)
	return fmt.Sprint(min(n+1, 65535))
}

// watched reports whether the worker ended; it is given up when enough says so, or after a moment.
func watched(t *testing.T, name, address string, enough func() bool) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if enough == nil {
		began := time.Now()
		enough = func() bool { return time.Since(began) > 200*time.Millisecond }
	}
	ended, done := false, make(chan struct{})
	j := &job{options: runtime.RawOptions{Options: map[string]string{JobOption: name, RESTOption: address}}}
	go func() {
		j.endWithJob(ctx, vigil{every: 3 * time.Millisecond, times: 3}, func() { ended = true })
		close(done)
	}()
	for {
		select {
		case <-done:
			return ended
		case <-time.After(2 * time.Millisecond):
			if enough() {
				cancel()
				<-done
				return ended
			}
		}
	}
}
