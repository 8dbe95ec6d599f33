// Package encode is the Beam half of encoding: image-text pairs to codes. The work is in internal/encode, which has never heard of
// Beam.
package encode

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"sower/internal/corpus"
	"sower/internal/encode"
	"sower/transforms/units"
)

const kind = "encode"

func init() { units.Register(kind, work) }

// Units does every unit of cfg's plan, in n branches, and returns a PCollection<string> with one corpus.UnitInfo a unit.
func Units(s beam.Scope, cfg encode.Config, n int) (beam.PCollection, error) {
	return units.Work(s, kind, cfg, cfg.Units, n)
}

func work(ctx context.Context, config []byte, unit int) (corpus.UnitInfo, error) {
	var cfg encode.Config
	if err := json.Unmarshal(config, &cfg); err != nil {
		return corpus.UnitInfo{}, fmt.Errorf("encode: configuration: %w", err)
	}
	w, err := encode.GetWorker(ctx, cfg)
	if err != nil {
		return corpus.UnitInfo{}, err
	}
	return w.Unit(ctx, unit)
}
