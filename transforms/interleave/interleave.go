// Package interleave is the Beam half of interleaving: codes and texts to training sequences. The work is in internal/interleave, which has never heard of
// Beam.
package interleave

import (
	"context"

	"sower/internal/corpus"
	"sower/internal/interleave"
	"sower/transforms/units"
)

// Kind does the units of sower interleave.
var Kind = units.New("interleave", func(ctx context.Context, cfg interleave.Config, unit int) (corpus.UnitInfo, error) {
	t, err := interleave.GetTask(ctx, cfg)
	if err != nil {
		return corpus.UnitInfo{}, err
	}
	return t.Unit(ctx, unit)
})
