// Package tune is the Beam half of tuning a language model; the work is in internal/tune.
package tune

import (
	"context"

	"sower/internal/tune"
	"sower/transforms/rounds"
)

// Kind trains adapters in rounds.
var Kind = rounds.New("tune", tune.Round, func(ctx context.Context, cfg tune.Config, round int, reports []tune.Report) (string, error) {
	m, err := tune.End(ctx, cfg, round, reports)
	if err != nil {
		return "", err
	}
	return m.SHA256, nil
}, tune.Finish)
