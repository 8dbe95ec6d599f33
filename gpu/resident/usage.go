package resident

import (
	"sync"
	"time"
)

// usage counts what an engine does.
type usage struct {
	batch int64 // images of a full batch

	mu       sync.Mutex
	stats    Stats
	inside   int       // lanes in the model
	since    time.Time // when the first of them entered
	lastWork time.Time // when the last one left
}

// Stats are an engine's totals so far.
type Stats struct {
	Images, Batches int64
	Room            int64         // images that the batches could have held
	Busy            time.Duration // in which at least one batch was inside the model
}

// Stats reads the totals.
func (u *usage) Stats() Stats {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.stats
	if u.inside > 0 {
		s.Busy += time.Since(u.since)
	}
	return s
}

// begin and end are called around a batch.
func (u *usage) begin() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.inside == 0 {
		u.since = time.Now()
	}
	u.inside++
}

func (u *usage) end(images int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.stats.Images += int64(images)
	u.stats.Batches++
	u.stats.Room += u.batch
	u.lastWork = time.Now()
	if u.inside--; u.inside == 0 {
		u.stats.Busy += u.lastWork.Sub(u.since)
	}
}

// idle is how long no batch has been inside the model.
func (u *usage) idle() time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.inside > 0 || u.lastWork.IsZero() {
		return 0
	}
	return time.Since(u.lastWork)
}

// load returns the model, loaded again if it was idle for too long, and what ends its use.
func (e *Engine) load() (Encoder, func(), error) {
	e.loaded.RLock()
	if e.model != nil {
		return e.model, e.loaded.RUnlock, nil
	}
	e.loaded.RUnlock()
	e.loaded.Lock()
	if e.model == nil {
		model, err := e.spec.Open()
		if err != nil {
			e.loaded.Unlock()
			return nil, nil, err
		}
		e.model = model
	}
	e.loaded.Unlock()
	return e.load()
}

// unload frees the model, if it is loaded, when no lane uses it.
func (e *Engine) unload() error {
	e.loaded.Lock()
	defer e.loaded.Unlock()
	if e.model == nil {
		return nil
	}
	model := e.model
	e.model = nil
	return model.Close()
}

// watch unloads the model when no image has come for the idle time.
func (e *Engine) watch() {
	tick := time.NewTicker(max(e.spec.Idle/4, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-e.quit:
			return
		case <-tick.C:
			if e.idle() >= e.spec.Idle && len(e.jobs) == 0 {
				_ = e.unload() // what is lost here is lost memory, which the next load would report
			}
		}
	}
}
