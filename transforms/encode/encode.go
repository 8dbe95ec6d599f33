// Package encode is the Beam half of encoding: image-text pairs to codes. The work is in internal/encode, which has never heard of
// Beam.
package encode

import (
	"context"

	"sower/internal/corpus"
	"sower/internal/encode"
	"sower/transforms/units"
)

// Kind does the units of sower encode.
var Kind = units.New("encode", func(ctx context.Context, cfg encode.Config, unit int) (corpus.UnitInfo, error) {
	w, err := encode.GetWorker(ctx, cfg)
	if err != nil {
		return corpus.UnitInfo{}, err
	}
	return w.Unit(ctx, unit)
})
