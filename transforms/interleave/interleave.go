// Package interleave is the Beam half of interleaving: codes and texts to training sequences. The work is in internal/interleave, which has never heard of
// Beam.
package interleave

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"sower/internal/corpus"
	"sower/internal/interleave"
	"sower/transforms/units"
)

const kind = "interleave"

func init() { units.Register(kind, work) }

// Units does every unit of cfg's plan, in n branches, and returns a PCollection<string> with one corpus.UnitInfo a unit.
func Units(s beam.Scope, cfg interleave.Config, n int) (beam.PCollection, error) {
	return units.Work(s, kind, cfg, cfg.Units, n)
}

func work(ctx context.Context, config []byte, unit int) (corpus.UnitInfo, error) {
	var cfg interleave.Config
	if err := json.Unmarshal(config, &cfg); err != nil {
		return corpus.UnitInfo{}, fmt.Errorf("interleave: configuration: %w", err)
	}
	t, err := interleave.GetTask(ctx, cfg)
	if err != nil {
		return corpus.UnitInfo{}, err
	}
	return t.Unit(ctx, unit)
}
