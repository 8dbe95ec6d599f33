// Package retry is the graph of sower retry, that of encode over the units that are done again:
//
//	work numbers ─ n branches ─ Reshuffle ─ retry.Units ─ Flatten ─ manifest.Write
//
// It writes into the staging folder; the launcher puts in place what the manifest there vouches for.
package retry

import (
	"errors"
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"sower/internal/retry"
	"sower/transforms/manifest"

	transform "sower/transforms/retry"
)

// Options are all that the graph needs.
type Options struct {
	Config   retry.Config
	Branches int
	Manifest manifest.Options
}

// Validate names everything that cannot work, before anything is submitted.
func (o *Options) Validate() error {
	c := &o.Config
	errs := []error{c.Encode.Validate(), o.Manifest.Validate(c.Encode.Output, c.Encode.Plan, c.Encode.Units, o.Branches)}
	if c.Units < 1 || c.Work == "" || c.Corpus == "" {
		errs = append(errs, fmt.Errorf("retry: %d units in %q for corpus %q", c.Units, c.Work, c.Corpus))
	}
	if o.Manifest.Base != "" && (o.Manifest.Base != c.Corpus || o.Manifest.Work != c.Units) {
		errs = append(errs, fmt.Errorf("retry: manifest of %d units over %q, want %d over %q", o.Manifest.Work, o.Manifest.Base, c.Units, c.Corpus))
	}
	return errors.Join(errs...)
}

// Build adds the graph to a pipeline.
func Build(s beam.Scope, o Options) error {
	if err := o.Validate(); err != nil {
		return err
	}
	infos, err := transform.Kind.Work(s, o.Config, o.Config.Units, o.Branches)
	if err != nil {
		return err
	}
	manifest.Write(s, o.Manifest, infos)
	return nil
}
