package main

import (
	"context"
	"fmt"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"sower/internal/progress"
	"sower/internal/rounds"
	"sower/pipelines/graph"
)

// lookEvery is how often the progress of a run elsewhere is looked up in its store.
const lookEvery = 5 * time.Second

// runRounds runs what is left of a run of rounds, as many graphs as that takes. cancel ends the work of this process when a graph fails.
func (f *runFlags) runRounds(ctx context.Context, what string, first, total int, build func(s beam.Scope, from, to int) error, done func() (int, error), cancel context.CancelCauseFunc) error {
	for from := first; ; from += graph.MaxRounds {
		to := min(from+graph.MaxRounds, total)
		p, s := beam.NewPipelineWithRoot()
		if err := build(s, from, to); err != nil {
			return err
		}
		if err := f.chosen.Run(ctx, p, f.config); err != nil {
			cancel(err)
			return err
		}
		// A runner may call a cancelled job a success: what is committed counts.
		n, err := done()
		if err != nil {
			return err
		}
		if n < to {
			return errorf("%s: the job ended after %d of %d rounds without an error: it was cancelled; run the same command again to go on", what, n, total)
		}
		if to == total {
			return nil
		}
	}
}

// committedSteps counts the steps that a run made since its first rounds were found done, by the rounds that are committed: what is known of
// workers elsewhere. A store that does not answer leaves the count as it was.
func committedSteps(p *rounds.Plan, first int, done func() (int, error)) func() int {
	var looked time.Time
	steps := 0
	return func() int {
		if time.Since(looked) < lookEvery {
			return steps
		}
		if n, err := done(); err == nil {
			steps = max(0, min(n*p.StepsPerRound, p.Steps)-min(first*p.StepsPerRound, p.Steps))
		}
		looked = time.Now()
		return steps
	}
}

// roundsLine is one state of a run of rounds in words; figures stand between the count and the time left, which the steps of this start give.
func roundsLine(what string, p *rounds.Plan, first, steps int, seconds float64, figures string) string {
	done := min(first*p.StepsPerRound, p.Steps) + steps
	line := fmt.Sprintf("%s step %d/%d  %.0f%%", what, done, p.Steps, 100*float64(done)/float64(p.Steps))
	if steps == 0 {
		return line
	}
	each := seconds / float64(steps)
	return fmt.Sprintf("%s%s  %.2f s/step  %s left", line, figures, each, progress.Span(each*float64(p.Steps-done)))
}
