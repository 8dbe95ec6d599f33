// Package detokenize is the Beam half of de-tokenizing: codes to image embeddings. The work is in internal/detokenize, which has never heard of
// Beam.
package detokenize

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"sower/internal/corpus"
	"sower/internal/detokenize"
	"sower/transforms/units"
)

const kind = "detokenize"

func init() { units.Register(kind, work) }

// Units does every unit of cfg's plan, in n branches, and returns a PCollection<string> with one corpus.UnitInfo a unit.
func Units(s beam.Scope, cfg detokenize.Config, n int) (beam.PCollection, error) {
	return units.Work(s, kind, cfg, cfg.Units, n)
}

func work(ctx context.Context, config []byte, unit int) (corpus.UnitInfo, error) {
	var cfg detokenize.Config
	if err := json.Unmarshal(config, &cfg); err != nil {
		return corpus.UnitInfo{}, fmt.Errorf("detokenize: configuration: %w", err)
	}
	return detokenize.Unit(ctx, cfg, unit)
}
