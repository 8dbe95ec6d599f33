package resident

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

// An engine that nobody uses gives its model back and loads it again for the next image; a load that fails is that image's
// error alone.
func TestIdle(t *testing.T) {
	var opened, closed atomic.Int32
	e, err := Get(Spec{Key: t.Name(), ImageBytes: 3, CodesPerImage: 2, Batch: 4, Lanes: 2, Idle: 20 * time.Millisecond, Open: func() (Encoder, error) {
		if opened.Add(1) == 2 {
			return nil, errors.New("no memory")
		}
		return &counted{closed: &closed}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer Release(t.Name())
	encode := func() error { return submit(e, 7).Wait(context.Background()).Err }
	if err := encode(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); closed.Load() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the model stays loaded")
		}
	}
	if err := encode(); err == nil {
		t.Error("the failed load is not reported")
	}
	if err := encode(); err != nil {
		t.Error(err)
	}
	if opened.Load() < 3 {
		t.Errorf("opened %d times", opened.Load())
	}
}

type counted struct {
	echo
	closed *atomic.Int32
}

func (c *counted) Close() error { c.closed.Add(1); return nil }

// TestLanes has two batches inside the model at a time, each full, and counts the time once.
func TestLanes(t *testing.T) {
	m := &echo{block: make(chan struct{})}
	e, err := Get(Spec{Key: t.Name(), ImageBytes: 3, CodesPerImage: 2, Batch: 4, Lanes: 2, MaxWait: time.Minute, Open: func() (Encoder, error) { return m, nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer Release(t.Name())
	began := time.Now()
	var all []Future
	for i := range 16 {
		all = append(all, submit(e, byte(i)))
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		e.mu.Lock()
		inside := e.inside
		e.mu.Unlock()
		if inside == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d batches in the model, want 2", inside)
		}
	}
	close(m.block)
	for i, f := range all {
		if r := f.Wait(context.Background()); r.Err != nil || r.Codes[0] != uint16(i) {
			t.Errorf("image %d: %+v", i, r)
		}
	}
	s := e.Stats()
	if s.Images != 16 || s.Batches != 4 || s.Room != 16 || s.Busy <= 0 || s.Busy > time.Since(began) {
		t.Errorf("%+v", s)
	}
}
