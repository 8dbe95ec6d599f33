package rest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestNew(t *testing.T) {
	for _, c := range []struct {
		address     string
		first, last string // URLs; "" for an error
		n           int
	}{
		{"http://127.0.0.1:8081", "http://127.0.0.1:8081", "http://127.0.0.1:8081", 1},
		{"http://127.0.0.1:28081-28096", "http://127.0.0.1:28081", "http://127.0.0.1:28096", 16},
		{"http://[::1]:8081-8082", "http://[::1]:8081", "http://[::1]:8082", 2},
		{"https://flink-rest.example/proxy/", "https://flink-rest.example/proxy", "https://flink-rest.example/proxy", 1},
		{"http://my-flink", "http://my-flink", "http://my-flink", 1},
		{"127.0.0.1:8081", "", "", 0},
		{"ftp://host:21", "", "", 0},
		{"http://", "", "", 0},
		{"http://host:0", "", "", 0},
		{"http://host:90000", "", "", 0},
		{"http://host:9000-8000", "", "", 0},
		{"http://host:1000-9000", "", "", 0},
		{"http://host:8081-x", "", "", 0},
		{"http://user:secret@host:8081", "", "", 0},
		{"", "", "", 0},
	} {
		client, err := New(c.address)
		if c.n == 0 {
			if err == nil || !strings.Contains(err.Error(), "--flink-rest") {
				t.Errorf("%q: %v", c.address, err)
			}
			continue
		}
		if err != nil || len(client.urls) != c.n || client.urls[0] != c.first || client.urls[c.n-1] != c.last {
			t.Errorf("%q: %v, %v", c.address, client, err)
		}
	}
}

func FuzzNew(f *testing.F) {
	for _, s := range []string{"http://127.0.0.1:28081-28096", "https://h/p", "http://[::1]:1-2", "http://h:-1", "-", ":-:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, address string) {
		c, err := New(address)
		if err != nil {
			return
		}
		if len(c.urls) < 1 || len(c.urls) > maxPorts {
			t.Fatalf("%q: %d URLs", address, len(c.urls))
		}
		for _, u := range c.urls {
			if v, err := url.Parse(u); err != nil || v.Host == "" {
				t.Fatalf("%q gives %q: %v", address, u, err)
			}
		}
	})
}

func TestFind(t *testing.T) {
	jobs := []Job{
		{ID: "a1", Name: "sower0encode01-root-1124-ff", State: "FINISHED"},
		{ID: "a2", Name: "sower0encode01-root-1125-ff", State: "RUNNING"},
		{ID: "a3", Name: "sower0encode010-root-1125-ff", State: "RUNNING"},
		{ID: "a4", Name: "two-x", State: "RUNNING"},
		{ID: "a5", Name: "two-y", State: "RESTARTING"},
		{ID: "a6", Name: "old-x", State: "CANCELED"},
	}
	for name, want := range map[string]string{"a1": "a1", "Sower-Encode_1": "a2", "sower-encode-2": "", "sower-encode01": "a2", "sower0encode010": "a3", "two-y": "a5", "old": "a6",
		"sower0encode01-root-1125-ff": "a2"} {
		j, err := Find(jobs, name)
		if want == "" {
			if err == nil || !strings.Contains(err.Error(), "sower0encode010-root-1125-ff (RUNNING)") {
				t.Errorf("%s: %v, %v", name, j, err)
			}
		} else if err != nil || j.ID != want {
			t.Errorf("%s: %v, %v; want %s", name, j, err, want)
		}
	}
	if _, err := Find(jobs, "two"); err == nil || !strings.Contains(err.Error(), "a4, a5") {
		t.Errorf("two jobs of one name: %v", err)
	}
	if _, err := Find(nil, "x"); err == nil || !strings.Contains(err.Error(), "none at all") {
		t.Errorf("no jobs: %v", err)
	}
}

// service is a Flink with one job.
type service struct {
	sync.Mutex
	state  string
	polls  int  // that the job takes to end once it is told to
	gone   bool // it forgets the job then
	deaf   bool // it never cancels
	server *httptest.Server
}

func newService(t *testing.T) *service {
	s := &service{state: "RUNNING"}
	s.server = httptest.NewServer(s)
	t.Cleanup(s.server.Close)
	return s
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.Lock()
	defer s.Unlock()
	job := map[string]any{"jid": "j1", "name": "sower-root-1", "state": s.state, "start-time": 7}
	switch {
	case r.URL.Path == "/overview":
		json.NewEncoder(w).Encode(map[string]int{"slots-total": 12})
	case r.URL.Path == "/jobs/overview":
		json.NewEncoder(w).Encode(map[string]any{"jobs": []any{job}})
	case r.URL.Path == "/jobs/j1" && r.Method == http.MethodPatch:
		if r.URL.Query().Get("mode") != "cancel" {
			http.Error(w, "mode", http.StatusBadRequest)
			return
		}
		if !s.deaf {
			s.state = "CANCELLING"
		}
		w.WriteHeader(http.StatusAccepted)
	case r.URL.Path == "/jobs/j1":
		if s.state == "CANCELLING" {
			if s.polls--; s.polls < 0 {
				if s.gone {
					http.NotFound(w, r)
					return
				}
				job["state"] = "CANCELED"
			}
		}
		json.NewEncoder(w).Encode(job)
	default:
		http.NotFound(w, r)
	}
}

// TestFamily finds jobs at work by how their names begin, as they were submitted or as Beam writes them.
func TestFamily(t *testing.T) {
	jobs := []Job{{ID: "1", Name: "sower0encode0ab0c1-root-1-2", State: "RUNNING"}, {ID: "2", Name: "sower0encode0ab0c2-root-1-2", State: "FINISHED"},
		{ID: "3", Name: "sower0encode0ac0c1-root-1-2", State: "RUNNING"}, {ID: "4", Name: "sower-encode-ab-c3", State: "RESTARTING"}, {ID: "5", Name: "other", State: "RUNNING"}}
	var ids []string
	for _, j := range Family(jobs, "sower-encode-ab-") {
		ids = append(ids, j.ID)
	}
	if strings.Join(ids, " ") != "1 4" {
		t.Errorf("jobs %v, want 1 and 4", ids)
	}
}

func TestCancel(t *testing.T) {
	for what, change := range map[string]func(*service){
		"at once":   func(*service) {},
		"slowly":    func(s *service) { s.polls = 2 },
		"forgotten": func(s *service) { s.gone = true },
	} {
		s := newService(t)
		change(s)
		c, err := New(s.server.URL)
		if err != nil {
			t.Fatal(err)
		}
		jobs, err := c.Jobs(context.Background())
		if err != nil || len(jobs) != 1 || jobs[0].Start != 7 || jobs[0].Ended() {
			t.Fatalf("%+v, %v", jobs, err)
		}
		if state, err := c.Cancel(context.Background(), &jobs[0]); err != nil || state != "CANCELED" {
			t.Errorf("%s: %s, %v", what, state, err)
		}
		if n, err := c.Slots(context.Background()); err != nil || n != 12 {
			t.Errorf("%d slots, %v", n, err)
		}
	}
}

func TestCancelHasALimit(t *testing.T) {
	s := newService(t)
	s.deaf = true
	c, err := New(s.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := c.Jobs(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if _, err := c.Cancel(ctx, &jobs[0]); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestUnreachable(t *testing.T) {
	s := newService(t)
	s.server.Close()
	c, err := New(s.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Jobs(context.Background()); !errors.Is(err, ErrUnreachable) {
		t.Errorf("%v", err)
	}
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	if c, err = New(other.URL); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Jobs(context.Background()); err == nil || errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "404") {
		t.Errorf("another service: %v", err)
	}
}
