// Package generate is the graph of sower generate:
//
//	unit numbers ─ n branches ─ Reshuffle ─ generate.Units ─ Flatten ─ manifest.Write
package generate

import (
	"errors"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"sower/internal/generate"
	"sower/transforms/manifest"

	transform "sower/transforms/generate"
)

// Options are all that the graph needs.
type Options struct {
	Config   generate.Batch
	Branches int // units in work at a time where the runner does not choose that itself
	Manifest manifest.Options
}

// Validate names everything that cannot work, before anything is submitted.
func (o *Options) Validate() error {
	return errors.Join(o.Config.Validate(), o.Manifest.Validate(o.Config.Output, o.Config.Plan, o.Config.Units, o.Branches))
}

// Build adds the graph to a pipeline.
func Build(s beam.Scope, o Options) error {
	if err := o.Validate(); err != nil {
		return err
	}
	infos, err := transform.Units(s, o.Config, o.Branches)
	if err != nil {
		return err
	}
	manifest.Write(s, o.Manifest, infos)
	return nil
}
