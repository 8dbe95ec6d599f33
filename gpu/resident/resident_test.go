package resident

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

// echo gives each image codes made of its first byte; byte 250 fails the batch, 251 panics, 252 is not finite.
type echo struct {
	mu     sync.Mutex
	sizes  []int
	closed bool
	block  chan struct{}
}

func (m *echo) Encode(rgb []byte, n int, codes []uint16, finite []bool) error {
	if m.block != nil {
		<-m.block
	}
	m.mu.Lock()
	m.sizes = append(m.sizes, n)
	m.mu.Unlock()
	for i := range n {
		b := rgb[i*3]
		switch b {
		case 250:
			return errors.New("device lost")
		case 251:
			panic("index out of range")
		}
		finite[i] = b != 252
		codes[2*i], codes[2*i+1] = uint16(b), uint16(b)+1
	}
	return nil
}

func (m *echo) Close() error { m.closed = true; return nil }

func engine(t *testing.T, m *echo, batch int, wait time.Duration) *Engine {
	t.Helper()
	key := t.Name()
	e, err := Get(Spec{Key: key, ImageBytes: 3, CodesPerImage: 2, Batch: batch, MaxWait: wait, Open: func() (Encoder, error) { return m, nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Release(key) })
	return e
}

func submit(e *Engine, b byte) Future {
	buf := e.Buffer()
	buf[0] = b
	return e.Submit(context.Background(), buf)
}

func TestManyWorkersOneEngine(t *testing.T) {
	m := new(echo)
	opened := 0
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			e, err := Get(Spec{Key: "shared", ImageBytes: 3, CodesPerImage: 2, Batch: 8, Open: func() (Encoder, error) { opened++; return m, nil }})
			if err != nil {
				t.Error(err)
				return
			}
			var queue []Future
			for i := range 100 {
				queue = append(queue, submit(e, byte(w+i)))
			}
			for i, f := range queue {
				r := f.Wait(context.Background())
				if r.Err != nil || !r.Finite || r.Codes[0] != uint16(byte(w+i)) || r.Codes[1] != r.Codes[0]+1 {
					t.Errorf("worker %d image %d: %+v", w, i, r)
				}
			}
		}()
	}
	wg.Wait()
	if opened != 1 {
		t.Errorf("the model was loaded %d times", opened)
	}
	if err := Release("shared"); err != nil || !m.closed {
		t.Errorf("release: %v, closed %v", err, m.closed)
	}
}

func TestBatchesFormAcrossCallers(t *testing.T) {
	m := &echo{block: make(chan struct{})}
	e := engine(t, m, 4, 0)
	first := submit(e, 1) // occupies the model
	var rest []Future
	for i := range 8 {
		rest = append(rest, submit(e, byte(i)))
	}
	close(m.block)
	first.Wait(context.Background())
	for _, f := range rest {
		f.Wait(context.Background())
	}
	if s := e.Stats(); s.Images != 9 || s.Batches > 4 {
		t.Errorf("%d images in %d batches of sizes %v", s.Images, s.Batches, m.sizes)
	}
}

func TestFailures(t *testing.T) {
	m := new(echo)
	e := engine(t, m, 1, 0)
	if r := submit(e, 250).Wait(context.Background()); r.Err == nil || !strings.Contains(r.Err.Error(), "device lost") {
		t.Errorf("model error: %+v", r)
	}
	if r := submit(e, 251).Wait(context.Background()); r.Err == nil || !strings.Contains(r.Err.Error(), "panic") {
		t.Errorf("panic: %+v", r)
	}
	if r := submit(e, 252).Wait(context.Background()); r.Err != nil || r.Finite {
		t.Errorf("not finite: %+v", r)
	}
	if r := submit(e, 7).Wait(context.Background()); r.Err != nil || r.Codes[0] != 7 {
		t.Errorf("after failures: %+v", r)
	}
	if r := e.Submit(context.Background(), make([]byte, 2)).Wait(context.Background()); r.Err == nil {
		t.Error("an image of the wrong size was accepted")
	}
}

func TestCancelAndClose(t *testing.T) {
	m := &echo{block: make(chan struct{})}
	e := engine(t, m, 1, 0)
	ctx, cancel := context.WithCancel(context.Background())
	var futures []Future
	for i := range 3 { // one in the model, two queued
		futures = append(futures, submit(e, byte(i)))
	}
	cancel()
	for range cap(e.jobs) + 1 { // accepted or not, a submit on a cancelled context returns, and so does a wait
		if r := e.Submit(ctx, e.Buffer()).Wait(ctx); !errors.Is(r.Err, context.Canceled) {
			t.Errorf("submit on a cancelled context: %+v", r)
		}
	}
	if r := futures[0].Wait(ctx); !errors.Is(r.Err, context.Canceled) {
		t.Errorf("wait on a cancelled context: %+v", r)
	}
	go Release(t.Name())
	<-e.quit
	close(m.block)
	for i, f := range futures {
		if r := f.Wait(context.Background()); r.Err != nil && !errors.Is(r.Err, ErrClosed) {
			t.Errorf("image %d: %+v", i, r)
		}
	}
	if r := submit(e, 1).Wait(context.Background()); !errors.Is(r.Err, ErrClosed) {
		t.Errorf("submit after close: %+v", r)
	}
}

func TestOpenFailsAndIsTriedAgain(t *testing.T) {
	fail := true
	spec := Spec{Key: t.Name(), ImageBytes: 3, CodesPerImage: 2, Batch: 1, Open: func() (Encoder, error) {
		if fail {
			return nil, errors.New("no such file")
		}
		return new(echo), nil
	}}
	if _, err := Get(spec); err == nil {
		t.Fatal("no error")
	}
	fail = false
	if _, err := Get(spec); err != nil {
		t.Fatal(err)
	}
	Release(t.Name())
}

// TestSubmitDuringClose finds no image without an answer, whatever the order of submit and close.
func TestSubmitDuringClose(t *testing.T) {
	for range 200 {
		e := start(Spec{ImageBytes: 3, CodesPerImage: 2, Batch: 2}, new(echo))
		var wg sync.WaitGroup
		for range 4 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
				defer cancel()
				if r := submit(e, 1).Wait(ctx); errors.Is(r.Err, context.DeadlineExceeded) {
					t.Error("an image got no answer")
				}
			}()
		}
		e.Close()
		wg.Wait()
	}
}
