// Package generate is the Beam half of generating for the rows of a corpus. The work is in internal/generate, which has never heard of
// Beam.
package generate

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"sower/internal/corpus"
	"sower/internal/generate"
	"sower/transforms/units"
)

const kind = "generate"

func init() { units.Register(kind, work) }

// Units does every unit of cfg's plan, in n branches, and returns a PCollection<string> with one corpus.UnitInfo a unit.
func Units(s beam.Scope, cfg generate.Batch, n int) (beam.PCollection, error) {
	return units.Work(s, kind, cfg, cfg.Units, n)
}

func work(ctx context.Context, config []byte, unit int) (corpus.UnitInfo, error) {
	var cfg generate.Batch
	if err := json.Unmarshal(config, &cfg); err != nil {
		return corpus.UnitInfo{}, fmt.Errorf("generate: configuration: %w", err)
	}
	return generate.Unit(ctx, cfg, unit)
}
