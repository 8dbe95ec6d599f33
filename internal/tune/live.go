package tune

import (
	"sync"
	"time"

	"sower/internal/rounds"
)

// Live is what a run in this process is doing, for whoever shows it.
type Live struct {
	mu     sync.Mutex
	began  time.Time
	tokens int64
	last   Step
	steps  int
	valid  *Validation
}

var lives rounds.Watched[Live]

// Watch makes the figures of a run of this process available until Unwatch.
func Watch(run string) *Live { return lives.Watch(run, &Live{began: time.Now()}) }

// Unwatch forgets a run.
func Unwatch(run string) { lives.Unwatch(run) }

func (l *Live) stepped(s Step) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = s
	l.steps++
	l.tokens += s.Tokens
}

func (l *Live) validated(v *Validation) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.valid = v
}

// Now are a run's figures: the steps of this process, the last one, the tokens a second so far, the last validation or nil.
func (l *Live) Now() (steps int, last Step, rate float64, v *Validation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.steps, l.last, float64(l.tokens) / max(time.Since(l.began).Seconds(), 1e-3), l.valid
}
