// Package graph is the two graphs that pipelines share: of the units of a plan,
//
//	unit numbers ─ n branches ─ Reshuffle ─ Work ─ Flatten ─ manifest.Write
//
// and of training in rounds,
//
//	Begin ─ round 0: Deal ─ Reshuffle ─ Train ─ GroupByKey ─ Commit ─ round 1: … ─ Finish
package graph

import (
	"errors"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"sower/transforms/manifest"
	"sower/transforms/units"
)

// Options are all that such a graph needs, with the configuration C of its kind of work.
type Options[C any] struct {
	Config   C
	Branches int // units in work at a time where the runner does not choose that itself
	Manifest manifest.Options
}

// Run is what a configuration says of its run: the output, the plan in it, and how many units that has.
type Run struct {
	Output, Plan string
	Units        int
}

// Build adds the graph to a pipeline, unless something cannot work: then it names all of it, valid, the configuration's own errors, among
// them.
func Build[C any](s beam.Scope, kind units.Kind[C], o Options[C], r Run, valid error) error {
	if err := errors.Join(valid, o.Manifest.Validate(r.Output, r.Plan, r.Units, o.Branches)); err != nil {
		return err
	}
	infos, err := kind.Work(s, o.Config, r.Units, o.Branches)
	if err != nil {
		return err
	}
	manifest.Write(s, o.Manifest, infos)
	return nil
}
