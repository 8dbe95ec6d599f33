// Package interleave is the graph of sower interleave:
//
//	unit numbers ─ K branches ─ Reshuffle ─ interleave.Units ─ Flatten ─ manifest.Write
package interleave

import (
	"errors"
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"sower/internal/interleave"
	"sower/transforms/manifest"
	"sower/transforms/units"

	interleavetransform "sower/transforms/interleave"
)

// Options are all that the graph needs.
type Options struct {
	Config   interleave.Config
	Branches int
	Manifest manifest.Options
}

// Validate names everything that cannot work, before anything is submitted.
func (o *Options) Validate() error {
	errs := []error{o.Config.Validate()}
	if o.Branches < 1 || o.Config.Units < 1 || o.Config.Units != o.Manifest.Manifest.Units {
		errs = append(errs, fmt.Errorf("interleave: %d branches, %d units in the plan, %d in the manifest", o.Branches, o.Config.Units, o.Manifest.Manifest.Units))
	}
	return errors.Join(errs...)
}

// Build adds the graph to a pipeline.
func Build(s beam.Scope, o Options) error {
	if err := o.Validate(); err != nil {
		return err
	}
	s = s.Scope("interleave")
	var infos []beam.PCollection
	for _, numbers := range units.Branches(s, o.Config.Units, o.Branches) {
		infos = append(infos, interleavetransform.Units(s, o.Config, numbers))
	}
	manifest.Write(s, o.Manifest, units.Merge(s, infos))
	return nil
}
