// Package tune is the graph of sower tune, for some rounds of a run.
package tune

import (
	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"sower/internal/tune"
	"sower/pipelines/graph"

	transform "sower/transforms/tune"
)

// Options are all that the graph needs.
type Options = graph.RoundsOptions[tune.Config]

// Build adds the graph to a pipeline. The run's last round is followed by its results.
func Build(s beam.Scope, o Options) error {
	c := &o.Config
	return graph.BuildRounds(s, transform.Kind, o, graph.Training{Rounds: c.Rounds(), Workers: c.Workers, Results: true}, c.Validate())
}
