// Package evaluate is the Beam half of evaluation: image-text pairs to what a tokenizer makes of them. The work is in internal/evaluate, which has never heard of
// Beam.
package evaluate

import (
	"context"

	"sower/internal/corpus"
	"sower/internal/evaluate"
	"sower/transforms/units"
)

// Kind does the units of sower evaluate.
var Kind = units.New("evaluate", func(ctx context.Context, cfg evaluate.Config, unit int) (corpus.UnitInfo, error) {
	return cfg.Unit(ctx, unit)
})
