package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestOperation sends requests that fail in every way, and wants them counted, and given up after Attempts in a row.
func TestOperation(t *testing.T) {
	defer func(first, long time.Duration) { FirstWait, LongWait = first, long }(FirstWait, LongWait)
	FirstWait, LongWait = time.Millisecond, 2*time.Millisecond
	var mu sync.Mutex // a connection that breaks tells the race detector nothing about what the handler did before
	var answers string
	give := func(s string) {
		mu.Lock()
		defer mu.Unlock()
		answers = s
	}
	take := func() byte {
		mu.Lock()
		defer mu.Unlock()
		next := answers[0]
		answers = answers[1:]
		return next
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		switch take() {
		case 'r': // refuse
			w.WriteHeader(503)
		case 'b': // break before a byte has come
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(200)
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case 'h': // break half way
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "half")
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case 'x':
			panic(http.ErrAbortHandler)
		case 'n': // not there, which is an answer
			w.WriteHeader(404)
		default:
			io.WriteString(w, "good")
		}
	}))
	defer server.Close()
	client := &http.Client{Transport: Transport(Base())}
	ask := func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, strings.NewReader("body"))
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.ReadAll(resp.Body)
		return err
	}
	for _, c := range []struct {
		answers string
		retries int64
		gaveUp  bool // the request after the answers is not sent
	}{
		{"ggg", 0, false}, {"rg", 1, false}, {"bg", 1, false}, {"hg", 1, false}, {"xg", 1, false}, {"ng", 0, false}, {"rrbxrg", 5, false},
		{"rrrrrrrr", 7, true}, {"bbbbbbbb", 7, true}, {"rrrrrrrhrrrrrrr", 14, true}, {"rrrrrrrgrrrrrrr", 13, false},
	} {
		before, op := Snapshot(), Operation(t.Context())
		give(c.answers)
		for i := range c.answers {
			if err := ask(op); errors.Is(err, ErrGaveUp) {
				t.Errorf("%s: given up with %q to come", c.answers, c.answers[i:])
				break
			}
		}
		got := Snapshot().Sub(before)
		if got.Requests != int64(len(c.answers)) || got.Retries != c.retries || (got.Lost > 0) != (c.retries > 0) {
			t.Errorf("%s: %+v, want %d requests and %d retries", c.answers, got, len(c.answers), c.retries)
		}
		give("g")
		if err := ask(op); errors.Is(err, ErrGaveUp) != c.gaveUp {
			t.Errorf("%s: one more: %v, want given up %v", c.answers, err, c.gaveUp)
		}
	}
	// Without an operation, requests have nothing to do with each other.
	refused := "rrrrrrrrrr"
	give(refused)
	for range refused {
		if err := ask(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// reading is a request's body that knows whether it may still be read.
type reading struct {
	io.Reader
	closed atomic.Bool
}

func (r *reading) Close() error {
	r.closed.Store(true)
	return nil
}

// TestBodyIsLetGo has servers that answer, or break off, before they have read a request: whoever has seen the end of the answer may
// write to the memory that was sent.
func TestBodyIsLetGo(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/refuse":
			w.WriteHeader(503)
		case "/break":
			panic(http.ErrAbortHandler)
		default:
			io.Copy(io.Discard, r.Body)
		}
	}))
	defer server.Close()
	client := &http.Client{Transport: Transport(Base())}
	memory := make([]byte, 16<<20)
	for round := range 5 {
		for _, path := range []string{"/refuse", "/break", "/good"} {
			b := &reading{Reader: bytes.NewReader(memory)}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+path, b)
			if err != nil {
				t.Fatal(err)
			}
			req.ContentLength = int64(len(memory))
			resp, err := client.Do(req)
			if err == nil {
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			} else if path == "/good" {
				t.Error(err)
			}
			if !b.closed.Load() {
				t.Errorf("%s: the transport may still read the body", path)
			}
			for i := range memory { // a race, where it does
				memory[i] = byte(round)
			}
		}
	}
}

// TestSilence cuts requests off that nobody answers, and lets slow ones be.
func TestSilence(t *testing.T) {
	defer func(d time.Duration) { Silence = d }(Silence)
	Silence = time.Second
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/mute" {
			<-r.Context().Done()
			return
		}
		for range 10 { // longer than Silence in all
			io.WriteString(w, "x")
			http.NewResponseController(w).Flush()
			time.Sleep(120 * time.Millisecond)
		}
		if r.URL.Path == "/stuck" {
			<-r.Context().Done()
		}
	}))
	defer server.Close()
	client := &http.Client{Transport: Transport(Base())}
	for path, fails := range map[string]bool{"/slow": false, "/mute": true, "/stuck": true} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		if fails != (err != nil) || fails && (!errors.Is(err, errSilent) || !errors.Is(err, io.ErrUnexpectedEOF)) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

func TestWait(t *testing.T) {
	for n := range 100 {
		if d := Wait(n + 1); d <= 0 || d > LongWait+1 || n < 4 && d > FirstWait<<n+1 {
			t.Errorf("after %d failures: %v", n+1, d)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Pause(ctx, 9); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
