package lora

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"sower/gpu/models/lm"
)

// Config is what of a model is trained, and how.
type Config struct {
	R       int     // rank
	Alpha   float64 // the change is scaled by Alpha/R, or by Alpha/√R if RSLoRA
	RSLoRA  bool
	Dropout float64 // of the inputs of A
	// Targets are the linear layers that get an adapter: module paths or their last parts, such as "q_proj". Each must match
	// something.
	Targets []string
	// Saved are modules trained whole, Tokens trained rows of tables; see lm.Options.
	Saved  []string
	Tokens map[string][]int32
	// Base is base_model_name_or_path: the folder of the base model, or its name.
	Base string
}

// Validate names everything that is impossible.
func (c Config) Validate() error {
	var errs []error
	if c.R < 1 || !(c.Alpha > 0) || math.IsInf(c.Alpha, 0) {
		errs = append(errs, fmt.Errorf("lora: rank %d and alpha %v, want 1 or more, and more than 0", c.R, c.Alpha))
	}
	if !(c.Dropout >= 0 && c.Dropout < 1) {
		errs = append(errs, fmt.Errorf("lora: dropout %v, want 0 or more and less than 1", c.Dropout))
	}
	if len(c.Targets) == 0 {
		errs = append(errs, errors.New("lora: no target modules"))
	}
	return errors.Join(errs...)
}

// Scale is the factor of B·A.
func (c Config) Scale() float64 {
	if c.RSLoRA {
		return c.Alpha / math.Sqrt(float64(c.R))
	}
	return c.Alpha / float64(c.R)
}

// Options load a base model so that an adapter of this configuration fits: with a vocabulary of rows tokens or more, whose new
// rows come from seed.
func (c Config) Options(rows int, seed uint64) lm.Options {
	return lm.Options{Saved: c.Saved, Tokens: c.Tokens, Rows: rows, Seed: seed}
}

// equal compares configurations as sets, save for Base.
func (c Config) equal(d Config) bool {
	return c.R == d.R && c.Alpha == d.Alpha && c.RSLoRA == d.RSLoRA && sameSet(c.Targets, d.Targets) && sameSet(c.Saved, d.Saved) &&
		maps.EqualFunc(c.Tokens, d.Tokens, sameSet)
}

func sameSet[T int32 | string](a, b []T) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
