package main

import (
	"errors"
	"testing"

	"sower/internal/rounds"
)

func TestRoundsLine(t *testing.T) {
	p := &rounds.Plan{Steps: 95, StepsPerRound: 10}
	for _, c := range []struct {
		first, steps int
		want         string
	}{
		{0, 0, "tune step 0/95  0%"},
		{0, 19, "tune step 19/95  20%  loss 1  0.50 s/step  38s left"},
		{4, 19, "tune step 59/95  62%  loss 1  0.50 s/step  18s left"},
		{10, 0, "tune step 95/95  100%"},
	} {
		if got := roundsLine("tune", p, c.first, c.steps, 0.5*float64(c.steps), "  loss 1"); got != c.want {
			t.Errorf("%d rounds and %d steps: %q, want %q", c.first, c.steps, got, c.want)
		}
	}
}

// TestCommittedSteps asks the store once, and believes it only when it answers.
func TestCommittedSteps(t *testing.T) {
	p := &rounds.Plan{Steps: 95, StepsPerRound: 10}
	for _, c := range []struct {
		first, done int
		err         error
		want        int
	}{{0, 3, nil, 30}, {2, 3, nil, 10}, {2, 10, nil, 75}, {10, 10, nil, 0}, {2, 0, errors.New("away"), 0}} {
		asked := 0
		steps := committedSteps(p, c.first, func() (int, error) { asked++; return c.done, c.err })
		for range 3 {
			if got := steps(); got != c.want {
				t.Errorf("%d of %d rounds: %d steps, want %d", c.done, c.first, got, c.want)
			}
		}
		if asked != 1 {
			t.Errorf("asked %d times at once", asked)
		}
	}
}
