package cpu

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// task is an operation cut into pieces. run takes pieces off a counter until none is left; several threads run it at once.
type task interface{ run(w *worker) }

// worker is one thread's scratch memory.
type worker struct {
	scratch []float32
	edge    [maxHeight * maxWidth]float32 // a tile at the edge of a result
	pack    packer
}

// The largest tile of all kernels.
const maxHeight, maxWidth = 12, 32

// packer packs for kernels, with the worker's memory.
func (w *worker) packer(k *kernels) *packer {
	w.pack.kernels = k
	return &w.pack
}

// floats returns n elements with undefined contents, good until the next call.
func (w *worker) floats(n int) []float32 {
	if cap(w.scratch) < n {
		w.scratch = aligned(n)
	}
	return w.scratch[:n]
}

// job is a task that helpers may join.
type job struct {
	task    task
	helpers atomic.Int32
}

// pool shares a fixed number of threads among all callers. Whoever computes, caller or helper, holds one of the tokens:
// with many callers each works alone on its own operation, with one caller the helpers join it, and never do more than
// the given number of threads compute. A helper that finds no work spins for some 50 µs, because the operations of a
// pass follow each other closely and waking a thread costs about as much as a small product, and then sleeps.
type pool struct {
	threads int
	tokens  chan struct{}

	start sync.Once
	ended sync.WaitGroup
	stop  chan struct{}

	version  atomic.Uint32 // counts the jobs opened
	sleepers atomic.Int32
	wake     chan struct{}

	mu   sync.Mutex
	open []*job
	turn int
}

func newPool(threads int) *pool {
	p := &pool{threads: threads, tokens: make(chan struct{}, threads), stop: make(chan struct{}),
		wake: make(chan struct{}, threads)}
	for range threads {
		p.tokens <- struct{}{}
	}
	return p
}

// run runs a task to its end; w and j belong to the caller.
func (p *pool) run(w *worker, j *job, t task, share bool) {
	<-p.tokens
	if share && p.threads > 1 {
		p.start.Do(p.startHelpers)
		j.task = t
		p.mu.Lock()
		p.open = append(p.open, j)
		p.mu.Unlock()
		p.version.Add(1)
		for range min(int(p.sleepers.Load()), p.threads-1) {
			select {
			case p.wake <- struct{}{}:
			default:
			}
		}
		t.run(w)
		p.finish(j)
		for i := 0; j.helpers.Load() > 0; i++ { // each is at its last piece
			if i > 1000 {
				runtime.Gosched()
			}
		}
		j.task = nil
	} else {
		t.run(w)
	}
	p.tokens <- struct{}{}
}

// finish closes a job to helpers. All its pieces have been taken.
func (p *pool) finish(j *job) {
	p.mu.Lock()
	if i := slices.Index(p.open, j); i >= 0 {
		p.open = slices.Delete(p.open, i, i+1)
	}
	p.mu.Unlock()
}

func (p *pool) startHelpers() {
	for range p.threads - 1 {
		p.ended.Go(p.help)
	}
}

// help is the life of a helper.
func (p *pool) help() {
	const spin = 20000 // loads of version, with a yield at every 64th
	var w worker
	seen := p.version.Load() - 1
	for idle := 0; ; idle++ {
		if v := p.version.Load(); v != seen {
			seen, idle = v, 0
			for p.assist(&w) {
			}
			continue
		}
		if idle < spin {
			if idle%64 == 63 {
				runtime.Gosched()
			}
			continue
		}
		idle = 0
		p.sleepers.Add(1)
		if p.version.Load() == seen { // else a job was opened before its caller could see this sleeper
			select {
			case <-p.wake:
			case <-p.stop:
				return
			}
		}
		p.sleepers.Add(-1)
	}
}

// assist joins an open job, if there is one and a token to work with.
func (p *pool) assist(w *worker) bool {
	select {
	case <-p.tokens:
	default:
		return false
	}
	defer func() { p.tokens <- struct{}{} }()
	p.mu.Lock()
	if len(p.open) == 0 {
		p.mu.Unlock()
		return false
	}
	p.turn++
	j := p.open[p.turn%len(p.open)]
	j.helpers.Add(1)
	p.mu.Unlock()
	j.task.run(w)
	p.finish(j)
	j.helpers.Add(-1)
	return true
}

func (p *pool) close() {
	close(p.stop)
	p.start.Do(func() {})
	p.ended.Wait()
}
