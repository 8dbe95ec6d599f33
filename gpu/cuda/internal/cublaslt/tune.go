//go:build cuda && linux && cgo

package cublaslt

import (
	"errors"
	"slices"

	"gorgonia.org/cu"
)

// Timing is an algorithm with the time that one product took.
type Timing struct {
	Algorithm
	Milliseconds float32 // the least of several runs
}

// Tune times the candidates for m rows with the given operands on s, fastest first, and pins the fastest that also does
// small numbers of rows. workspace is the bytes at o.Workspace. Y is overwritten. It waits for the stream.
func (l *Library) Tune(k Kind, m int, o Operands, workspace int, s cu.Stream) ([]Timing, error) {
	all, err := l.Candidates(k, m, workspace)
	if err != nil {
		return nil, err
	}
	var begin, end cu.Event
	if err := l.context.Do(func() (err error) {
		if begin, err = cu.MakeEvent(cu.DefaultEvent); err == nil {
			end, err = cu.MakeEvent(cu.DefaultEvent)
		}
		return err
	}); err != nil {
		return nil, err
	}
	defer l.context.Do(func() error { return errors.Join(cu.DestroyEvent(&begin), cu.DestroyEvent(&end)) })
	var timings []Timing
	for _, a := range all {
		if !l.good(k, m, workspace, a) {
			continue
		}
		ms, err := l.time(k, m, a, o, s, begin, end)
		if Unsupported(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		timings = append(timings, Timing{a, ms})
	}
	if len(timings) == 0 {
		return nil, ErrNoAlgorithm
	}
	slices.SortStableFunc(timings, func(a, b Timing) int {
		switch {
		case a.Milliseconds < b.Milliseconds:
			return -1
		case a.Milliseconds > b.Milliseconds:
			return 1
		}
		return 0
	})
	l.Pin(k, timings[0].Algorithm)
	return timings, nil
}

func (l *Library) time(k Kind, m int, a Algorithm, o Operands, s cu.Stream, begin, end cu.Event) (least float32, err error) {
	p, err := l.make(k, m, a)
	if err != nil {
		return 0, err
	}
	defer p.Close()
	const warm, runs = 2, 5
	for i := range warm + runs {
		if err := errors.Join(l.context.Record(begin, s), p.Run(o, s), l.context.Record(end, s), l.context.StreamSync(s)); err != nil {
			return 0, err
		}
		ms, err := l.context.Elapsed(begin, end)
		if err != nil {
			return 0, err
		}
		if i == warm || i > warm && ms < least {
			least = ms
		}
	}
	return least, nil
}
