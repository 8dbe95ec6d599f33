// Package runners maps one Config to the engines that Beam pipelines run on. It is the only place that touches Beam's
// flags. A runner is a folder with one type behind Runner, which registers itself.
package runners

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
)

// Config is what every runner understands; a runner ignores what does not apply to it and refuses what it cannot do.
type Config struct {
	// Parallelism is how many units are in work at a time; 0 lets the runner choose.
	Parallelism int
	// JobName names the job where a runner shows one.
	JobName string
}

// Runner is an engine.
type Runner interface {
	// Names are what --runner takes, the canonical one first.
	Names() []string
	// Check names every option that is wrong or missing, before anything is built.
	Check(Config) error
	// Branches is how many parallel branches a graph should have on this runner.
	Branches(Config) int
	// Run runs a pipeline to its end. A nil error does not prove success: the manifest does.
	Run(context.Context, *beam.Pipeline, Config) error
}

var registered = map[string]Runner{}

// Register adds a runner under all its names; a name taken twice panics.
func Register(r Runner) {
	for _, name := range r.Names() {
		key := strings.ToLower(name)
		if registered[key] != nil {
			panic(fmt.Sprintf("runners: two runners are named %q", name))
		}
		registered[key] = r
	}
}

// Lookup finds a runner by any of its names.
func Lookup(name string) (Runner, error) {
	if r := registered[strings.ToLower(name)]; r != nil {
		return r, nil
	}
	return nil, fmt.Errorf("runners: no runner %q (have: %s)", name, strings.Join(Names(), ", "))
}

// Names lists the canonical names.
func Names() []string {
	var out []string
	for _, r := range registered {
		out = append(out, r.Names()[0])
	}
	sort.Strings(out)
	return slices.Compact(out)
}

// Cause finds what a DoFn said in the text that Beam wraps around it: plan, bundle and instruction are of no use to
// whoever ran the command, and stand in the logs.
func Cause(err error) error {
	const mark = "] failed:\n"
	text := err.Error()
	i := strings.LastIndex(text, mark)
	if i < 0 {
		return err
	}
	return errors.New(strings.TrimSpace(text[i+len(mark):]))
}
