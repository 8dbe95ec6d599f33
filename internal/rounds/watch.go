package rounds

import "sync"

// Watched are the runs of this process that somebody shows, each with its figures, a *L.
type Watched[L any] struct {
	mu    sync.Mutex
	byRun map[string]*L
}

// Watch keeps a run's figures until Unwatch.
func (w *Watched[L]) Watch(run string, l *L) *L {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byRun == nil {
		w.byRun = map[string]*L{}
	}
	w.byRun[run] = l
	return l
}

// Unwatch forgets a run.
func (w *Watched[L]) Unwatch(run string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.byRun, run)
}

// Of finds a run's figures: nil in a worker process, where nobody watches.
func (w *Watched[L]) Of(run string) *L {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.byRun[run]
}
