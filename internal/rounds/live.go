package rounds

import (
	"sync"
	"time"
)

// Live is what a run in this process is doing, for whoever shows it: S is what a step measured, V a validation. A nil one, of a
// run that nobody shows, takes figures and drops them.
type Live[S, V any] struct {
	mu    sync.Mutex
	began time.Time
	now   Now[S, V]
}

// Now is a run's figures at a moment.
type Now[S, V any] struct {
	Steps      int   // of this process
	Done       int64 // what they worked through, in the model's unit: tokens, pairs
	Last       S     // of the last step, zero before the first
	Validation *V    // the last one, or nil
	Seconds    float64
}

// Stepped adds a step and what it worked through.
func (l *Live[S, V]) Stepped(s S, done int64) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now.Steps++
	l.now.Done += done
	l.now.Last = s
}

// Validated keeps the last validation.
func (l *Live[S, V]) Validated(v *V) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now.Validation = v
}

// Now is a copy of the figures.
func (l *Live[S, V]) Now() Now[S, V] {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now
	now.Seconds = time.Since(l.began).Seconds()
	return now
}

// Lives are the runs of this process that somebody shows.
type Lives[S, V any] struct {
	mu    sync.Mutex
	byRun map[string]*Live[S, V]
}

// Watch makes a run's figures available until Unwatch.
func (w *Lives[S, V]) Watch(run string) *Live[S, V] {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byRun == nil {
		w.byRun = map[string]*Live[S, V]{}
	}
	l := &Live[S, V]{began: time.Now()}
	w.byRun[run] = l
	return l
}

// Unwatch forgets a run.
func (w *Lives[S, V]) Unwatch(run string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.byRun, run)
}

// Of finds a run's figures: nil in a worker process, where nobody watches.
func (w *Lives[S, V]) Of(run string) *Live[S, V] {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.byRun[run]
}
