// Package resident keeps loaded models alive for a whole process: one engine a model and device, however many workers
// ask for it, with batches that form across them. Results come back as futures, so a caller keeps its own order and
// nothing but its own images can fail it.
package resident

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// Encoder is a loaded model that turns images into codes.
type Encoder interface {
	// Encode writes the codes of n images. rgb is [n S S 3], codes [n Q]; finite[i] is set to false when the model made a NaN
	// or an infinity of image i, whose codes are then meaningless. Results must not depend on n or on the neighbours.
	Encode(rgb []byte, n int, codes []uint16, finite []bool) error
	Close() error
}

// Spec says what to load and how to batch.
type Spec struct {
	// Key identifies the model and the device in this process: weights digest and device name.
	Key string
	// ImageBytes is 3*S*S, CodesPerImage Q, Batch the most images of one call.
	ImageBytes, CodesPerImage, Batch int
	// MaxWait is how long an incomplete batch waits for company. Where batching gains nothing it is 0.
	MaxWait time.Duration
	// Open loads the model; it is called once, and again only after it failed.
	Open func() (Encoder, error)
	// Lanes is how many batches are in work at a time; 0 is 1. With two, one batch is copied to a GPU and its codes back while
	// another is computed. Encode is called from as many goroutines.
	Lanes int
	// Idle is how long the model stays loaded when no image comes; 0 is forever. The next image loads it again.
	Idle time.Duration
}

// Result is what became of one image.
type Result struct {
	Codes []uint16
	// Finite is false when the model made a NaN or an infinity of the image.
	Finite bool
	Err    error // the engine failed: nothing is known about the image
}

// Future is a result to come.
type Future <-chan Result

// ErrClosed is the result of images that were submitted to a closed engine.
var ErrClosed = errors.New("resident: engine is closed")

type job struct {
	rgb []byte
	out chan Result
}

// Engine is one resident model.
type Engine struct {
	spec Spec
	jobs chan job
	quit chan struct{}
	done chan struct{}
	bufs sync.Pool
	// loaded is held for reading while the model computes. The model is nil after an idle time.
	loaded sync.RWMutex
	model  Encoder
	usage
	// submits is held for reading while an image is handed over, so that close knows when none can slip in any more.
	submits sync.RWMutex

	collect sync.Mutex // one lane at a time fills its batch, so that batches are as full as can be
}

// Get returns the engine of spec.Key, loading the model if this process has none. Callers that come while it loads wait
// for it.
func Get(spec Spec) (*Engine, error) {
	return Shared(spec.Key, func() (*Engine, error) {
		model, err := spec.Open()
		if err != nil {
			return nil, err
		}
		return start(spec, model), nil
	})
}

func start(spec Spec, model Encoder) *Engine {
	spec.Batch = max(spec.Batch, 1)
	e := &Engine{spec: spec, model: model, usage: usage{batch: int64(spec.Batch)}, jobs: make(chan job, 2*spec.Batch*max(spec.Lanes, 1)), quit: make(chan struct{}), done: make(chan struct{})}
	e.bufs.New = func() any { b := make([]byte, spec.ImageBytes); return &b }
	var lanes sync.WaitGroup
	for range max(spec.Lanes, 1) {
		lanes.Go(e.loop)
	}
	if spec.Idle > 0 {
		lanes.Go(e.watch)
	}
	go func() {
		lanes.Wait()
		close(e.done)
	}()
	return e
}

// Close ends the engine and frees the model. Images that wait are answered with ErrClosed. Engines from Get are closed by
// Release.
func (e *Engine) Close() error {
	close(e.quit)
	<-e.done
	e.submits.Lock()
	e.drain()
	e.submits.Unlock()
	return e.unload()
}

// Buffer returns memory for one image. Submit takes it back.
func (e *Engine) Buffer() []byte { return *(e.bufs.Get().(*[]byte)) }

// Discard gives back a buffer that is not submitted after all.
func (e *Engine) Discard(rgb []byte) { e.bufs.Put(&rgb) }

// Submit hands over one image, [S S 3] bytes from Buffer, and returns at once unless two batches are already waiting.
// The future always gets exactly one result, unless ctx ends before the image is accepted: then that is its result.
func (e *Engine) Submit(ctx context.Context, rgb []byte) Future {
	out := make(chan Result, 1) // buffered: the loop never waits for a caller
	if len(rgb) != e.spec.ImageBytes {
		out <- Result{Err: fmt.Errorf("resident: image of %d bytes, want %d", len(rgb), e.spec.ImageBytes)}
		return out
	}
	e.submits.RLock()
	defer e.submits.RUnlock()
	select {
	case <-e.quit: // first of all: select below would choose at random
		out <- Result{Err: ErrClosed}
		return out
	default:
	}
	select {
	case e.jobs <- job{rgb, out}:
	case <-e.quit:
		out <- Result{Err: ErrClosed}
	case <-ctx.Done():
		out <- Result{Err: ctx.Err()}
	}
	return out
}

// Wait returns the result of a future, or ctx's error when that comes first.
func (f Future) Wait(ctx context.Context) Result {
	select {
	case r := <-f:
		return r
	default:
	}
	select {
	case r := <-f:
		return r
	case <-ctx.Done():
		return Result{Err: ctx.Err()}
	}
}

func (e *Engine) loop() {
	batch := make([]job, 0, e.spec.Batch)
	rgb := make([]byte, e.spec.Batch*e.spec.ImageBytes)
	codes := make([]uint16, e.spec.Batch*e.spec.CodesPerImage)
	finite := make([]bool, e.spec.Batch)
	for {
		var open bool
		if batch, open = e.next(batch); !open {
			return
		}
		for i, j := range batch {
			copy(rgb[i*e.spec.ImageBytes:], j.rgb)
			e.Discard(j.rgb)
		}
		n := len(batch)
		e.begin()
		err := e.encode(rgb[:n*e.spec.ImageBytes], n, codes[:n*e.spec.CodesPerImage], finite[:n])
		e.end(n)
		for i, j := range batch {
			r := Result{Finite: finite[i], Err: err}
			if err == nil {
				r.Codes = append([]uint16(nil), codes[i*e.spec.CodesPerImage:(i+1)*e.spec.CodesPerImage]...)
			}
			j.out <- r
		}
	}
}

// next collects a batch; it reports false when the engine closes.
func (e *Engine) next(batch []job) ([]job, bool) {
	e.collect.Lock()
	defer e.collect.Unlock()
	select {
	case j := <-e.jobs:
		return e.fill(append(batch[:0], j)), true
	case <-e.quit:
		return batch, false
	}
}

// fill adds what is waiting, and what comes within MaxWait.
func (e *Engine) fill(batch []job) []job {
	var timeout <-chan time.Time
	for len(batch) < e.spec.Batch {
		select {
		case j := <-e.jobs:
			batch = append(batch, j)
			continue
		default:
		}
		if e.spec.MaxWait <= 0 {
			return batch
		}
		if timeout == nil {
			t := time.NewTimer(e.spec.MaxWait)
			defer t.Stop()
			timeout = t.C
		}
		select {
		case j := <-e.jobs:
			batch = append(batch, j)
		case <-timeout:
			return batch
		case <-e.quit:
			return batch
		}
	}
	return batch
}

// drain answers what was submitted before the engine closed.
func (e *Engine) drain() {
	for {
		select {
		case j := <-e.jobs:
			j.out <- Result{Err: ErrClosed}
		default:
			return
		}
	}
}

// encode calls the model; a panic there is an error of this batch, not the end of the process.
func (e *Engine) encode(rgb []byte, n int, codes []uint16, finite []bool) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("resident: encode %d images: panic: %v\n%s", n, p, debug.Stack())
		}
	}()
	model, unlock, err := e.load()
	if err != nil {
		return fmt.Errorf("resident: load the model again after %v without images: %w", e.spec.Idle, err)
	}
	defer unlock()
	if err := model.Encode(rgb, n, codes, finite); err != nil {
		return fmt.Errorf("resident: encode %d images: %w", n, err)
	}
	return nil
}
