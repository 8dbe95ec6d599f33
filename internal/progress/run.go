// Package progress counts what a run does while it does it, and shows it: a live line on a terminal, one line every ten
// seconds elsewhere.
package progress

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"sower/schemas"
)

// Stage is a kind of work whose time is summed over all workers.
type Stage int

// The stages of encoding, in order of flow.
const (
	Read    Stage = iota // fetching and parsing input
	Prepare              // hashing, decoding and resizing
	Encode               // inside the model
	Write                // Parquet and commit
	stages
)

var stageNames = [stages]string{"read", "prepare", "encode", "write"}

// Run is the live count of one run in one process. Workers find it by id, so a launcher in the same process can watch.
type Run struct {
	// Ctx ends when the launcher wants the run to stop; workers of other processes have a context that never ends.
	Ctx context.Context

	rows, encoded, bytes, units, resumed, resumedRows atomic.Int64
	stage                                             [stages]atomic.Int64
	working                                           sync.WaitGroup
	engine                                            atomic.Pointer[Engine]

	mu       sync.Mutex
	rejected map[schemas.Reason]int64
	recent   window
}

var runs struct {
	sync.Mutex
	byID map[string]*Run
}

// Start registers a run of this process. End it with Forget.
func Start(ctx context.Context, id string) *Run {
	r := &Run{Ctx: ctx, rejected: map[schemas.Reason]int64{}}
	runs.Lock()
	defer runs.Unlock()
	if runs.byID == nil {
		runs.byID = map[string]*Run{}
	}
	runs.byID[id] = r
	return r
}

// Lookup finds a run by id; in a worker process, where the launcher is elsewhere, it makes one.
func Lookup(id string) *Run {
	runs.Lock()
	r := runs.byID[id]
	runs.Unlock()
	if r == nil {
		r = Start(context.Background(), id)
	}
	return r
}

// Forget drops a run from the register.
func Forget(id string) {
	runs.Lock()
	defer runs.Unlock()
	delete(runs.byID, id)
}

// Row counts one finished row; reason is "" for an encoded one. It reports the share of failures among the last rows
// and how many rows that covers.
func (r *Run) Row(reason schemas.Reason) (failed float64, of int) {
	r.rows.Add(1)
	if reason == "" {
		r.encoded.Add(1)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if reason != "" {
		r.rejected[reason]++
	}
	return r.recent.add(reason != "" && !reason.Filter())
}

// Bytes counts input bytes that are done with.
func (r *Run) Bytes(n int64) { r.bytes.Add(n) }

// Unit counts a finished unit; one that an earlier run committed brings its rows along.
func (r *Run) Unit(resumed bool, c schemas.Counts, bytes int64) {
	r.units.Add(1)
	if !resumed {
		return
	}
	r.resumed.Add(1)
	r.resumedRows.Add(c.In)
	r.rows.Add(c.In)
	r.encoded.Add(c.Encoded)
	r.bytes.Add(bytes)
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, v := range c.Rejected {
		r.rejected[schemas.Reason(k)] += v
	}
}

// Engine is how well a GPU was used. Idle is the time in which no batch was inside the model: it waited for pictures.
type Engine struct {
	Busy, Idle            time.Duration
	Images, Batches, Room int64 // Room: what the batches could have held
}

// Changes is a number that grows with whatever the run counts.
func (r *Run) Changes() int64 {
	return r.rows.Load() + r.bytes.Load() + r.units.Load()
}

// SetEngine says how the GPU was used so far.
func (r *Run) SetEngine(e Engine) { r.engine.Store(&e) }

// Engine is nil where no GPU computed in this process.
func (r *Run) Engine() *Engine { return r.engine.Load() }

// Spend adds the time since began to a stage.
func (r *Run) Spend(s Stage, began time.Time) { r.Add(s, time.Since(began)) }

// Add adds time to a stage.
func (r *Run) Add(s Stage, d time.Duration) { r.stage[s].Add(int64(d)) }

// Working marks a worker as busy until the returned function is called; Drain waits for all of them.
func (r *Run) Working() (done func()) {
	r.working.Add(1)
	return sync.OnceFunc(r.working.Done)
}

// Drain waits until no worker is busy, at most for limit, and reports whether that came true.
func (r *Run) Drain(limit time.Duration) bool {
	idle := make(chan struct{})
	go func() { r.working.Wait(); close(idle) }()
	select {
	case <-idle:
		return true
	case <-time.After(limit):
		return false
	}
}

// Snapshot is the state of a run at one moment.
type Snapshot struct {
	Rows, Encoded, Bytes, Units int64
	Resumed, ResumedRows        int64 // units and rows of earlier runs
	Rejected                    map[schemas.Reason]int64
	Stages                      map[string]float64 // seconds
}

// Snapshot reads the counts.
func (r *Run) Snapshot() Snapshot {
	s := Snapshot{Rows: r.rows.Load(), Encoded: r.encoded.Load(), Bytes: r.bytes.Load(), Units: r.units.Load(), Resumed: r.resumed.Load(), ResumedRows: r.resumedRows.Load(),
		Rejected: map[schemas.Reason]int64{}, Stages: map[string]float64{}}
	for i, name := range stageNames {
		s.Stages[name] = time.Duration(r.stage[i].Load()).Seconds()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, v := range r.rejected {
		s.Rejected[k] = v
	}
	return s
}

// RejectedTotal sums over the reasons.
func (s Snapshot) RejectedTotal() int64 {
	var n int64
	for _, v := range s.Rejected {
		n += v
	}
	return n
}

// windowRows is how many of the last rows the failure rate looks at.
const windowRows = 1000

// window is a ring of the last rows' fates.
type window struct {
	fate   [windowRows]bool
	next   int
	filled int
	failed int
}

func (w *window) add(failed bool) (rate float64, of int) {
	if w.filled == windowRows && w.fate[w.next] {
		w.failed--
	}
	w.fate[w.next] = failed
	w.next = (w.next + 1) % windowRows
	w.filled = min(w.filled+1, windowRows)
	if failed {
		w.failed++
	}
	return float64(w.failed) / float64(w.filled), w.filled
}
