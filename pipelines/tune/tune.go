// Package tune is the graph of sower tune, for some rounds of a run:
//
//	Begin ─ round 0: Deal ─ Reshuffle ─ Train ─ GroupByKey ─ Commit ─ round 1: … ─ Finish
//
// Runs of more than MaxRounds rounds are several graphs, one after the other, over the same commits.
package tune

import (
	"errors"
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"sower/internal/tune"
	"sower/schemas"

	transform "sower/transforms/tune"
)

// MaxRounds bounds the rounds of a graph: its size grows with them.
const MaxRounds = 50

// Options are all that the graph needs.
type Options struct {
	Config   tune.Config
	From, To int // rounds [From, To)
	Manifest schemas.Manifest
}

// Validate names everything that cannot work, before anything is submitted.
func (o *Options) Validate() error {
	errs := []error{o.Config.Validate()}
	if o.From < 0 || o.From > o.To || o.To > o.Config.Rounds() || o.To-o.From > MaxRounds {
		errs = append(errs, fmt.Errorf("tune: a graph of rounds %d to %d of %d, want at most %d", o.From, o.To, o.Config.Rounds(), MaxRounds))
	}
	return errors.Join(errs...)
}

// Build adds the graph to a pipeline. The run's last round is followed by its results.
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
	if o.To < o.Config.Rounds() {
		return nil
	}
	return t.Finish(o.Manifest)
}
