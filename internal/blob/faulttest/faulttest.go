// Package faulttest stands before a stand-in of an object store in a test: a door that counts what goes through and can
// break it: refuse, reset, cut off, slow down, lose an answer after the deed, list stale.
package faulttest

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sower/internal/blob/wire"
)

// Door lets requests through to a service, counted, unless a plan breaks them.
type Door struct {
	Service http.Handler
	// Classify says what a request is; the door fills in the rest.
	Classify func(*http.Request) Request

	mu     sync.Mutex
	plan   func(*Request) Fault
	counts Counts
	served atomic.Int64
}

// Counts are requests by price: A are uploads and listings, B are reads of objects and of what is known about them, Free
// are the rest, such as deletions. Injected are those that a fault befell.
type Counts struct{ A, B, Free, Injected int }

// Request is one request as a plan of faults sees it.
type Request struct {
	*http.Request
	Class  byte   // 'A', 'B' or 'F'
	Upload bool   // brings an object, or a part of one
	List   bool   // asks for a listing
	Read   bool   // asks for the bytes of an object
	Stat   bool   // asks what is known about an object
	Object string // bucket/name of a read, a stat, a deletion
}

// Fault serves a request wrongly. next serves it rightly.
type Fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

// Open starts serving the door, and shortens the waits between attempts.
func (d *Door) Open(t testing.TB) (url string) {
	t.Helper()
	front := httptest.NewServer(d)
	first, long := wire.FirstWait, wire.LongWait
	wire.FirstWait, wire.LongWait = time.Millisecond, 20*time.Millisecond
	t.Cleanup(func() {
		front.CloseClientConnections()
		front.Close()
		wire.FirstWait, wire.LongWait = first, long
	})
	return front.URL
}

// Inject asks plan about every request from now on; a nil Fault, or a nil plan, lets it through.
func (d *Door) Inject(plan func(*Request) Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.plan = plan
}

// Counts is what came since the last Reset.
func (d *Door) Counts() Counts {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts
}

// Served is how many bytes have gone out since the last Reset.
func (d *Door) Served() int64 { return d.served.Load() }

// Reset sets the counts to zero.
func (d *Door) Reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts = Counts{}
	d.served.Store(0)
}

// meter counts what is served.
type meter struct {
	http.ResponseWriter
	served *atomic.Int64
}

func (m meter) Write(p []byte) (int, error) {
	n, err := m.ResponseWriter.Write(p)
	m.served.Add(int64(n))
	return n, err
}

// Unwrap lets http.ResponseController find what is below.
func (m meter) Unwrap() http.ResponseWriter { return m.ResponseWriter }

// ServeHTTP is the door.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w = meter{w, &d.served}
	q := d.Classify(r)
	q.Request = r
	d.mu.Lock()
	switch q.Class {
	case 'A':
		d.counts.A++
	case 'B':
		d.counts.B++
	default:
		d.counts.Free++
	}
	var f Fault
	if d.plan != nil {
		f = d.plan(&q)
	}
	if f != nil {
		d.counts.Injected++
	}
	d.mu.Unlock()
	if f == nil {
		d.Service.ServeHTTP(w, r)
		return
	}
	f(w, r, d.Service)
}

// Once injects f into the first n requests that match.
func Once(n int, match func(*Request) bool, f Fault) func(*Request) Fault {
	return func(r *Request) Fault {
		if n > 0 && match(r) {
			n--
			return f
		}
		return nil
	}
}

// Unavailable refuses, as an overloaded service does.
func Unavailable(w http.ResponseWriter, r *http.Request, _ http.Handler) {
	io.Copy(io.Discard, r.Body)
	http.Error(w, "injected", http.StatusServiceUnavailable)
}

// TooMany refuses, as a service does to who asks too often.
func TooMany(w http.ResponseWriter, r *http.Request, _ http.Handler) {
	io.Copy(io.Discard, r.Body)
	http.Error(w, "injected", http.StatusTooManyRequests)
}

// Reset breaks the connection before anything is done.
func Reset(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }

// Cut breaks the connection in the middle of the answer.
func Cut(w http.ResponseWriter, r *http.Request, next http.Handler) {
	answer := Record(r, next)
	Forward(w, answer)
	w.Write(answer.Body.Bytes()[:answer.Body.Len()/2])
	http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// Lose does what was asked and breaks the connection instead of saying so.
func Lose(_ http.ResponseWriter, r *http.Request, next http.Handler) {
	Record(r, next)
	panic(http.ErrAbortHandler)
}

// LoseBehind503 does what was asked and says that it could not.
func LoseBehind503(w http.ResponseWriter, r *http.Request, next http.Handler) {
	Record(r, next)
	http.Error(w, "injected", http.StatusServiceUnavailable)
}

// Corrupt answers with one bit of the body wrong.
func Corrupt(w http.ResponseWriter, r *http.Request, next http.Handler) {
	answer := Record(r, next)
	Forward(w, answer)
	p := answer.Body.Bytes()
	if len(p) > 0 {
		p[len(p)/2] ^= 4
	}
	w.Write(p)
}

// Slow answers in pieces with waits between them.
func Slow(wait time.Duration, pieces int) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		answer := Record(r, next)
		Forward(w, answer)
		p := answer.Body.Bytes()
		for i := range pieces {
			w.Write(p[len(p)*i/pieces : len(p)*(i+1)/pieces])
			http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(wait):
			}
		}
	}
}

// Silent begins an answer and never ends it.
func Silent(w http.ResponseWriter, r *http.Request, next http.Handler) {
	answer := Record(r, next)
	Forward(w, answer)
	w.Write(answer.Body.Bytes()[:answer.Body.Len()/2])
	http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// Mute takes a request and never answers.
func Mute(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
	io.Copy(io.Discard, r.Body) // a server notices a client that leaves only when it has read all
	<-r.Context().Done()
}

// Stale lists without the objects that hidden picks, as a cache that lags behind does.
func Stale(hidden func(name string) bool) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		answer := Record(r, next)
		var page map[string]any
		if json.Unmarshal(answer.Body.Bytes(), &page) != nil {
			Forward(w, answer)
			w.Write(answer.Body.Bytes())
			return
		}
		items, _ := page["items"].([]any)
		kept := []any{}
		for _, i := range items {
			if !hidden(fmt.Sprint(i.(map[string]any)["name"])) {
				kept = append(kept, i)
			}
		}
		page["items"] = kept
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(page)
	}
}

// Record serves a request and keeps the answer.
func Record(r *http.Request, next http.Handler) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	next.ServeHTTP(answer, r)
	return answer
}

// Forward writes the head of a kept answer.
func Forward(w http.ResponseWriter, answer *httptest.ResponseRecorder) {
	for k, v := range answer.Header() {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Length", fmt.Sprint(answer.Body.Len()))
	w.WriteHeader(answer.Code)
}

// Mixed draws faults for about one request in every: refusals, resets, answers cut off, answers lost, slow answers. The
// same seed draws the same ones for the same order of requests.
func Mixed(seed uint64, every int) func(*Request) Fault {
	rng := rand.New(rand.NewPCG(seed, 1))
	return func(r *Request) Fault {
		if rng.IntN(every) != 0 {
			return nil
		}
		faults := []Fault{Unavailable, TooMany, Reset, Slow(time.Millisecond, 5)}
		if r.Upload {
			faults = append(faults, Lose, LoseBehind503, Lose)
		} else if r.Method == http.MethodGet {
			faults = append(faults, Cut, Cut)
		}
		return faults[rng.IntN(len(faults))]
	}
}
