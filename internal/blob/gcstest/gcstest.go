// Package gcstest is Google Cloud Storage inside of a test: a stand-in for the service behind a door that can break requests.
package gcstest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/fsouza/fake-gcs-server/fakestorage"

	"sower/internal/blob/faulttest"
)

// Server is the stand-in. The process's gs:// URLs go to it until the test ends.
type Server struct {
	faulttest.Door
	Fake *fakestorage.Server
	URL  string

	mu       sync.Mutex
	sessions map[string]*session
}

// New starts a stand-in with empty buckets, and shortens the waits between attempts.
func New(t testing.TB, buckets ...string) *Server {
	t.Helper()
	fake, err := fakestorage.NewServerWithOptions(fakestorage.Options{NoListener: true, PublicHost: "storage.invalid"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Stop)
	s := &Server{Fake: fake, sessions: map[string]*session{}}
	s.Service, s.Classify = s.resumable(fake.HTTPHandler()), classify
	s.URL = s.Open(t)
	for _, b := range buckets {
		fake.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: b})
	}
	t.Setenv("STORAGE_EMULATOR_HOST", strings.TrimPrefix(s.URL, "http://"))
	return s
}

func classify(r *http.Request) (q faulttest.Request) {
	q.Upload = strings.HasPrefix(r.URL.Path, "/upload/")
	rest := r.URL.Path[strings.Index(r.URL.Path, "/b/")+len("/b/"):]
	if bucket, name, ok := strings.Cut(rest, "/o/"); ok && !q.Upload {
		q.Object = bucket + "/" + name
	}
	get := r.Method == http.MethodGet && !q.Upload
	q.List = get && q.Object == ""
	q.Read = get && q.Object != "" && r.URL.Query().Get("alt") == "media"
	q.Stat = get && q.Object != "" && !q.Read
	switch {
	case q.Upload && r.URL.Query().Get("upload_id") != "": // a later part of an upload costs nothing more
		q.Class = 'F'
	case q.Upload || q.List:
		q.Class = 'A'
	case get:
		q.Class = 'B'
	default:
		q.Class = 'F'
	}
	return q
}

// session is an upload in parts, as far as it has come.
type session struct {
	sync.Mutex
	end    int64 // bytes that are there
	answer *httptest.ResponseRecorder
}

// resumable adds to the stand-in what it lacks of the service: a part that is there already, because its answer was lost
// and it was sent again, is not added a second time.
func (s *Server) resumable(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.URL.Query().Get("upload_id")
		var from, to int64
		if n, _ := fmt.Sscanf(r.Header.Get("Content-Range"), "bytes %d-%d/", &from, &to); id == "" || n != 2 {
			next.ServeHTTP(w, r)
			return
		}
		s.mu.Lock()
		u := s.sessions[id]
		if u == nil {
			u = &session{}
			s.sessions[id] = u
		}
		s.mu.Unlock()
		u.Lock() // two attempts at one part follow each other
		defer u.Unlock()
		if to >= u.end {
			u.end, u.answer = to+1, faulttest.Record(r, next)
		}
		faulttest.Forward(w, u.answer)
		w.Write(u.answer.Body.Bytes())
	})
}
