// Package trainer is the Beam half of training a tokenizer; the work is in internal/trainer.
package trainer

import (
	"context"

	"sower/internal/corpus"
	"sower/internal/trainer"
	"sower/transforms/rounds"
	"sower/transforms/units"
)

// Prepare does the units of the pictures that training reads.
var Prepare = units.New("prepare", func(ctx context.Context, cfg trainer.Preparing, unit int) (corpus.UnitInfo, error) {
	return cfg.Unit(ctx, unit)
})

// Kind trains a stage in rounds.
var Kind = rounds.New("tokenizer", trainer.Round, func(ctx context.Context, cfg trainer.Config, round int, reports []trainer.Report) (string, error) {
	m, err := trainer.End(ctx, cfg, round, reports)
	if err != nil {
		return "", err
	}
	return m.SHA256, nil
}, trainer.Finish)
