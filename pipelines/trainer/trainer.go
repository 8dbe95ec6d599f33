// Package trainer has the graphs of sower train-tokenizer: preparing, whose units are the input's, and some rounds of a stage:
//
//	Begin ─ round 0: Deal ─ Reshuffle ─ Train ─ GroupByKey ─ Commit ─ round 1: … ─ Finish (after the second stage)
//
// Runs of more than MaxRounds rounds are several graphs, one after the other, over the same commits.
package trainer

import (
	"errors"
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"sower/internal/trainer"
	"sower/pipelines/graph"
	"sower/schemas"

	transform "sower/transforms/trainer"
)

// PrepareOptions are all that the graph of preparing needs.
type PrepareOptions = graph.Options[trainer.Preparing]

// Prepare adds that graph to a pipeline.
func Prepare(s beam.Scope, o PrepareOptions) error {
	c := &o.Config
	return graph.Build(s, transform.Prepare, o, graph.Run{Output: c.Output, Plan: c.Plan, Units: c.Units}, c.Validate())
}

// MaxRounds bounds the rounds of a graph: its size grows with them.
const MaxRounds = 50

// Options are all that the graph of some rounds of a stage needs.
type Options struct {
	Config   trainer.Config
	From, To int // rounds [From, To)
	Manifest schemas.Manifest
}

// Validate names everything that cannot work, before anything is submitted.
func (o *Options) Validate() error {
	errs := []error{o.Config.Validate()}
	if n := o.Config.Plan().Rounds(); o.From < 0 || o.From > o.To || o.To > n || o.To-o.From > MaxRounds {
		errs = append(errs, fmt.Errorf("trainer: a graph of rounds %d to %d of %d, want at most %d", o.From, o.To, n, MaxRounds))
	}
	return errors.Join(errs...)
}

// Build adds the graph to a pipeline. The second stage's last round is followed by the results.
func Build(s beam.Scope, o Options) error {
	if err := o.Validate(); err != nil {
		return err
	}
	t, err := transform.Kind.Begin(s, o.Config)
	if err != nil {
		return err
	}
	for r := o.From; r < o.To; r++ {
		t.Round(r, o.Config.Workers)
	}
	if o.Config.Stage == 1 || o.To < o.Config.Plan().Rounds() {
		return nil
	}
	return t.Finish(o.Manifest)
}
