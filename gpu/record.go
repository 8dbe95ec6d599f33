package gpu

import (
	"errors"
	"fmt"

	"sower/gpu/driver"
)

// Recording is a part of a pass that one call runs again: a GPU graph. It lives as long as its pass is open.
type Recording struct {
	pass  *Pass
	graph driver.Graph
}

// CanRecord reports whether Record works on this pass.
func (p *Pass) CanRecord() bool {
	_, ok := p.stream.(driver.Graphs)
	return ok && p.mode == Inference && p.dev.tap.Load() == nil
}

// Record runs work until it finds all its memory among what the pass has, then records it. The tensors that work made in its
// last run, which it may keep outside, stay and are written by every Replay; what it reads must have been made before, and may be
// written again between replays. The recording has not been run when Record returns.
func (p *Pass) Record(work func()) *Recording {
	graphs, ok := p.stream.(driver.Graphs)
	if p.err == nil && !ok {
		p.fail("record", errors.New("this device has no graphs"))
	}
	const most = 8 // allocations settle after two runs
	start := p.serial
	for run := 0; ; run++ {
		if p.err != nil {
			return nil
		}
		before := p.made
		work()
		p.keep(start, nil)
		if p.made == before {
			break
		}
		if run == most {
			p.fail("record", fmt.Errorf("the work took new memory in each of %d runs", most))
		}
	}
	if err := p.stream.Sync(); err != nil { // no error of these runs may be hidden by the recording
		p.fail("record", err)
		return nil
	}
	graph, err := graphs.Capture(func() error {
		work()
		return p.err
	})
	if err != nil {
		p.fail("record", err)
		return nil
	}
	return &Recording{p, graph}
}

// Replay runs the recorded operations.
func (r *Recording) Replay() {
	if r.pass.err == nil {
		r.pass.fail("replay", r.graph.Replay())
	}
}

// Free gives back the recording; its pass is closed separately.
func (r *Recording) Free() {
	if r != nil {
		r.graph.Free()
	}
}
