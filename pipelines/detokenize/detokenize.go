// Package detokenize is the graph of sower detokenize.
package detokenize

import (
	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"sower/internal/detokenize"
	"sower/pipelines/graph"

	transform "sower/transforms/detokenize"
)

// Options are all that the graph needs.
type Options = graph.Options[detokenize.Config]

// Build adds the graph to a pipeline.
func Build(s beam.Scope, o Options) error {
	c := &o.Config
	return graph.Build(s, transform.Kind, o, graph.Run{Output: c.Output, Plan: c.Plan, Units: c.Units}, c.Validate())
}
