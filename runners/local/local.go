// Package local runs pipelines in this process, on Beam's Prism.
package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism" // registers "prism"

	"sower/runners"
)

func init() { runners.Register(local{}) }

type local struct{}

// maxBundles is how many bundles Prism works at a time.
const maxBundles = 8

func (local) Names() []string {
	return []string{"local", "direct", "DirectRunner", "prism", "PrismRunner"}
}

func (local) Check(c runners.Config) error {
	if c.Parallelism < 0 || c.Parallelism > maxBundles {
		return fmt.Errorf("local: --parallelism %d: want 0 (choose) to %d, the most that the local runner works at a time", c.Parallelism, maxBundles)
	}
	return nil
}

// Place is the launcher itself.
func (local) Place(runners.Config) runners.Place { return runners.InProcess }

// Branches is two for a small machine: while one unit is committed the other keeps the model busy.
func (local) Branches(c runners.Config) int {
	if c.Parallelism > 0 {
		return c.Parallelism
	}
	return min(max(2, runtime.GOMAXPROCS(0)), maxBundles)
}

// Run starts Prism in this process, once, and runs the pipeline on it. ctx must be cancelled to end a run early, never by
// a deadline: Prism ends the program when its context has one.
func (l local) Run(ctx context.Context, p *beam.Pipeline, c runners.Config) error {
	if _, has := ctx.Deadline(); has {
		return fmt.Errorf("local: the context has a deadline, which Prism does not survive: cancel it instead")
	}
	if err := l.Check(c); err != nil {
		return err
	}
	removeLeftovers()
	_, err := beam.Run(ctx, "prism", p)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil {
		return fmt.Errorf("local: %w", runners.Cause(err))
	}
	return nil
}

// removeLeftovers deletes the empty files that in-process runs of Beam 2.77 leave in the temporary folder, once they are
// too old to be another running process's.
func removeLeftovers() {
	files, _ := filepath.Glob(filepath.Join(os.TempDir(), "beamloopbackworker-*"))
	for _, f := range files {
		if st, err := os.Stat(f); err == nil && st.Size() == 0 && time.Since(st.ModTime()) > 10*time.Minute {
			os.Remove(f)
		}
	}
}
