// Package wire is what the drivers of object stores share of HTTP: it counts the requests of the process, the ones that
// were sent again and the time that this cost, it gives up after enough failures in a row, and it ends connections that
// have fallen silent. The libraries of the stores decide what is sent again; this package sees it happen.
package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"
)

// Trouble is what a process has asked of object stores so far, and what went wrong on the way.
type Trouble struct {
	Requests int64 // sent, the repeated ones included
	Retries  int64 // repeated after an error, a refusal (429, 5xx) or a connection that broke or fell silent
	// Lost is the time between the moments at which attempts failed, or began to fail, and the next ones, over all
	// operations: of operations that ran at once it is the sum, which can be more than has passed.
	Lost time.Duration
}

// Sub is what happened since an earlier snapshot.
func (t Trouble) Sub(before Trouble) Trouble {
	return Trouble{t.Requests - before.Requests, t.Retries - before.Retries, t.Lost - before.Lost}
}

var requests, retries, lost atomic.Int64

// Snapshot is the process's count.
func Snapshot() Trouble { return Trouble{requests.Load(), retries.Load(), time.Duration(lost.Load())} }

// Attempts is how often a request is sent before its failure is believed.
const Attempts = 8

// Waits between attempts, and how long a connection may say nothing. Tests shorten them.
var (
	FirstWait = time.Second // doubled each time, a random part of it is waited
	LongWait  = 30 * time.Second
	Silence   = 60 * time.Second
)

// ErrGaveUp marks operations that failed Attempts times in a row.
var ErrGaveUp = errors.New("gave up")

var errSilent = errors.New("the connection fell silent")

type operationKey struct{}

// operation is a chain of requests that serve one purpose, one at a time: after a failure the next one is a retry.
type operation struct {
	mu     sync.Mutex
	failed time.Time // since when time is lost; zero after success
	inRow  int
	wait   bool // the body broke: the libraries ask again at once, and the wait is ours
	err    error
}

// Operation begins an operation: requests sent with the context are attempts at one thing.
func Operation(ctx context.Context) context.Context {
	return context.WithValue(ctx, operationKey{}, &operation{})
}

func (o *operation) fail(since time.Time, err error, wait bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed.IsZero() {
		o.failed = since
	}
	o.inRow++
	o.err, o.wait = err, wait
}

func (o *operation) succeed() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failed, o.inRow, o.err, o.wait = time.Time{}, 0, nil, false
}

// again accounts for a failure before the next attempt.
func (o *operation) again(ctx context.Context) error {
	o.mu.Lock()
	n, err, wait, failed := o.inRow, o.err, o.wait, o.failed
	o.wait = false
	o.mu.Unlock()
	if n == 0 {
		return nil
	}
	if n >= Attempts {
		return fmt.Errorf("%w after %d failures in a row, the last: %w", ErrGaveUp, n, err)
	}
	if wait {
		if err := Pause(ctx, n); err != nil {
			return err
		}
	}
	now := time.Now()
	retries.Add(1)
	lost.Add(int64(now.Sub(failed)))
	o.mu.Lock()
	o.failed = now // what the next attempt loses, should it fail, counts from here
	o.mu.Unlock()
	return nil
}

// Wait is how long to wait after the n-th failure in a row: between nothing and FirstWait doubled n-1 times, LongWait at most.
func Wait(n int) time.Duration { return rand.N(min(FirstWait<<min(n-1, 20), LongWait)) + 1 }

// Pause waits that long.
func Pause(ctx context.Context, n int) error {
	t := time.NewTimer(Wait(n))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Base is a transport for one store.
func Base() *http.Transport { return Tune(http.DefaultTransport.(*http.Transport).Clone()) }

// Tune sets up a transport for one store: HTTP/1.1, because ranged reads that share one HTTP/2 connection share its window,
// and as many idle connections as a worker has readers.
func Tune(t *http.Transport) *http.Transport {
	t.ForceAttemptHTTP2 = false
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 256, 256
	return t
}

// Transport watches over base.
func Transport(base http.RoundTripper) http.RoundTripper { return &transport{base} }

type transport struct{ base http.RoundTripper }

// RoundTrip sends a request, after the count of what failed before it.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	o, ok := req.Context().Value(operationKey{}).(*operation)
	if !ok {
		o = &operation{}
	}
	if err := o.again(req.Context()); err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	requests.Add(1)
	began := time.Now()
	ctx, cancel := context.WithCancelCause(req.Context())
	connections := int64(0)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
		// The standard library repeats by itself what a connection that it had kept did not take any more.
		if connections++; connections > 1 {
			requests.Add(1)
			retries.Add(1)
			lost.Add(int64(time.Since(began)))
		}
	}})
	// A request is silent when neither its body is taken any more nor an answer begins.
	silent := time.AfterFunc(Silence, func() { cancel(errSilent) })
	sent := req.WithContext(ctx)
	var up *upload
	if req.Body != nil && req.Body != http.NoBody {
		up = &upload{ReadCloser: req.Body, silent: silent, closed: make(chan struct{})}
		sent.Body = up
	}
	resp, err := t.base.RoundTrip(sent)
	silent.Stop()
	if err != nil {
		if context.Cause(ctx) == errSilent {
			err = fmt.Errorf("%w for %v: %w", errSilent, Silence, io.ErrUnexpectedEOF)
		}
		cancel(nil)
		up.wait()
		if req.Context().Err() == nil {
			o.fail(began, err, false)
		}
		return nil, err
	}
	good := resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusRequestTimeout && resp.StatusCode < 500
	if !good {
		o.fail(began, fmt.Errorf("HTTP %s", resp.Status), false)
	} else if resp.ContentLength == 0 || req.Method == http.MethodHead {
		o.succeed()
	}
	resp.Body = &body{ReadCloser: resp.Body, up: up, o: o, ctx: req.Context(), cancel: cancel, good: good}
	return resp, nil
}

// upload is a request's body that puts off the end of patience whenever some of it is taken.
type upload struct {
	io.ReadCloser
	silent *time.Timer
	closed chan struct{}
	once   sync.Once
}

// Close says that the transport takes no more of it.
func (u *upload) Close() error {
	err := u.ReadCloser.Close()
	u.once.Do(func() { close(u.closed) })
	return err
}

// wait returns when the transport takes no more of a body whose request is over: a store may refuse before it has all, and
// the libraries fill the same memory anew for the next request while the transport still reads it for the last.
func (u *upload) wait() {
	if u == nil {
		return
	}
	t := time.NewTimer(Silence)
	defer t.Stop()
	select {
	case <-u.closed:
	case <-t.C:
	}
}

func (u *upload) Read(p []byte) (int, error) {
	if u.silent.Stop() { // it does not run any more once there is an answer
		u.silent.Reset(Silence)
	}
	return u.ReadCloser.Read(p)
}

// body watches over a response's body.
type body struct {
	io.ReadCloser
	up     *upload // of the request, nil if that had no body
	o      *operation
	ctx    context.Context // of the caller
	cancel context.CancelCauseFunc
	good   bool
	closed atomic.Bool
}

func (b *body) Read(p []byte) (int, error) {
	began := time.Now()
	silent := atomic.Bool{}
	timer := time.AfterFunc(Silence, func() {
		silent.Store(true)
		b.cancel(errSilent)
	})
	n, err := b.ReadCloser.Read(p)
	timer.Stop()
	if !b.good {
		return n, err
	}
	if n > 0 || err == io.EOF {
		b.o.succeed()
	}
	if err != nil && err != io.EOF && b.ctx.Err() == nil && !b.closed.Load() {
		if silent.Load() {
			err = fmt.Errorf("%w for %v: %w", errSilent, Silence, io.ErrUnexpectedEOF)
		} else {
			began = time.Now()
		}
		b.o.fail(began, err, true)
	}
	return n, err
}

func (b *body) Close() error {
	b.closed.Store(true)
	err := b.ReadCloser.Close()
	b.cancel(nil)
	b.up.wait()
	return err
}
