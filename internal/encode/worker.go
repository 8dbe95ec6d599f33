package encode

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"sower/gpu"
	"sower/gpu/resident"
	"sower/internal/blob"
	"sower/internal/pixels"
	"sower/internal/progress"
)

// Worker is what a process keeps between units of one run: opened stores and the resident model.
type Worker struct {
	cfg    Config
	run    *progress.Run
	input  *blob.Bucket
	output *blob.Bucket
	engine *resident.Engine // nil for the null model
	filter pixels.Filter
	// codes is the constant row of the null model.
	codes []uint16
	// began and before are the time and the engine's totals when this worker came.
	began  time.Time
	before resident.Stats
	// billed is the time in the model that the run's counters have.
	billed atomic.Int64
}

var workers struct {
	sync.Mutex
	byConfig map[string]*Worker
}

// GetWorker returns the process's worker for a configuration; every bundle of a run shares one.
func GetWorker(ctx context.Context, cfg Config) (*Worker, error) {
	key, err := json.Marshal(cfg)
	if err != nil {
		return nil, fmt.Errorf("encode: configuration: %w", err)
	}
	workers.Lock()
	defer workers.Unlock()
	if w := workers.byConfig[string(key)]; w != nil {
		return w, nil
	}
	w, err := newWorker(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if workers.byConfig == nil {
		workers.byConfig = map[string]*Worker{}
	}
	workers.byConfig[string(key)] = w
	return w, nil
}

// Forget closes the stores of a run's workers in this process. The model stays resident.
func Forget(runID string) {
	workers.Lock()
	defer workers.Unlock()
	for k, w := range workers.byConfig {
		if w.cfg.RunID == runID {
			w.input.Close()
			w.output.Close()
			delete(workers.byConfig, k)
		}
	}
}

func newWorker(ctx context.Context, cfg Config) (w *Worker, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	w = &Worker{cfg: cfg, run: progress.Lookup(cfg.RunID), filter: pixels.Filter(cfg.Identity.Resize)}
	if w.input, err = blob.OpenBucket(ctx, cfg.Input); err != nil {
		return nil, err
	}
	if w.output, err = blob.OpenBucket(ctx, cfg.Output); err != nil {
		return nil, err
	}
	if w.engine, w.codes, err = engineOf(cfg); w.engine != nil {
		w.began, w.before = time.Now(), w.engine.Stats()
		w.billed.Store(int64(w.before.Busy))
	}
	return w, err
}

// pool is the process's decoding: as many goroutines as cores, whatever the number of units in work, and a bound on the
// pixels that are decoded at a time.
var pool = struct {
	once   sync.Once
	tasks  chan func()
	memory *semaphore.Weighted // there before the pool starts: a sample decodes without the pool
}{memory: semaphore.NewWeighted(decodeMemory)}

// decodeMemory bounds the bytes of decoded pixels in flight; one larger picture is let through alone.
const decodeMemory = 1 << 30

// do hands a task to the pool, and waits while all its goroutines are busy.
func do(ctx context.Context, task func()) error {
	pool.once.Do(func() {
		pool.tasks = make(chan func())
		for range runtime.GOMAXPROCS(0) {
			go func() {
				for t := range pool.tasks {
					t()
				}
			}()
		}
	})
	select {
	case pool.tasks <- task:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// join returns a context that ends with either of two.
func join(ctx, other context.Context) (context.Context, context.CancelFunc) {
	joined, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(other, func() { cancel(context.Cause(other)) })
	return joined, func() { stop(); cancel(nil) }
}

// bill adds the time that the model has worked since the last bill to the run's counters. Runs that share a resident
// model in one process share its time.
func (w *Worker) bill() {
	if w.engine == nil {
		return
	}
	s := w.engine.Stats()
	busy := int64(s.Busy)
	w.run.Add(progress.Encode, time.Duration(busy-w.billed.Swap(busy)))
	if gpu.OnGPU(w.cfg.Device) {
		used := s.Busy - w.before.Busy
		w.run.SetEngine(progress.Engine{Busy: used, Idle: max(0, time.Since(w.began)-used), Images: s.Images - w.before.Images, Batches: s.Batches - w.before.Batches,
			Room: s.Room - w.before.Room})
	}
}

// spend is progress.Run.Spend for a deferred call.
func (w *Worker) spend(s progress.Stage, began time.Time) { w.run.Spend(s, began) }
