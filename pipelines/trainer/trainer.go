// Package trainer has the graphs of sower train-tokenizer: preparing, whose units are the input's, and some rounds of a stage.
package trainer

import (
	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"sower/internal/trainer"
	"sower/pipelines/graph"

	transform "sower/transforms/trainer"
)

// PrepareOptions are all that the graph of preparing needs.
type PrepareOptions = graph.Options[trainer.Preparing]

// Prepare adds that graph to a pipeline.
func Prepare(s beam.Scope, o PrepareOptions) error {
	c := &o.Config
	return graph.Build(s, transform.Prepare, o, graph.Run{Output: c.Output, Plan: c.Plan, Units: c.Units}, c.Validate())
}

// Options are all that the graph of some rounds of a stage needs.
type Options = graph.RoundsOptions[trainer.Config]

// Build adds the graph to a pipeline. The second stage's last round is followed by the results.
func Build(s beam.Scope, o Options) error {
	c := &o.Config
	return graph.BuildRounds(s, transform.Kind, o, graph.Training{Rounds: c.Plan().Rounds(), Workers: c.Workers, Results: c.Stage == 2}, c.Validate())
}
