// Package encode is the graph of sower encode:
//
//	unit numbers ─ K branches ─ Reshuffle ─ encode.Units ─ Flatten ─ manifest.Write
package encode

import (
	"errors"
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"sower/internal/encode"
	"sower/transforms/manifest"
	"sower/transforms/units"

	encodetransform "sower/transforms/encode"
)

// Options are all that the graph needs.
type Options struct {
	Config   encode.Config
	Branches int // units in work at a time where the runner does not choose that itself
	Manifest manifest.Options
}

// Validate names everything that cannot work, before anything is submitted.
func (o *Options) Validate() error {
	errs := []error{o.Config.Validate()}
	if o.Branches < 1 {
		errs = append(errs, fmt.Errorf("encode: %d branches, want at least 1", o.Branches))
	}
	if o.Config.Units < 1 || o.Config.Units != o.Manifest.Manifest.Units {
		errs = append(errs, fmt.Errorf("encode: %d units in the plan, %d in the manifest", o.Config.Units, o.Manifest.Manifest.Units))
	}
	if o.Config.Plan == "" || o.Config.Output != o.Manifest.Output {
		errs = append(errs, fmt.Errorf("encode: plan %q, output %q and %q", o.Config.Plan, o.Config.Output, o.Manifest.Output))
	}
	return errors.Join(errs...)
}

// Build adds the graph to a pipeline.
func Build(s beam.Scope, o Options) error {
	if err := o.Validate(); err != nil {
		return err
	}
	s = s.Scope("encode")
	var infos []beam.PCollection
	for _, numbers := range units.Branches(s, o.Config.Units, o.Branches) {
		infos = append(infos, encodetransform.Units(s, o.Config, numbers))
	}
	manifest.Write(s, o.Manifest, units.Merge(s, infos))
	return nil
}
