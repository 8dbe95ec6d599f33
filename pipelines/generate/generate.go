// Package generate is the graph of sower generate.
package generate

import (
	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"sower/internal/generate"
	"sower/pipelines/graph"

	transform "sower/transforms/generate"
)

// Options are all that the graph needs.
type Options = graph.Options[generate.Batch]

// Build adds the graph to a pipeline.
func Build(s beam.Scope, o Options) error {
	c := &o.Config
	return graph.Build(s, transform.Kind, o, graph.Run{Output: c.Output, Plan: c.Plan, Units: c.Units}, c.Validate())
}
