package optim

import (
	"errors"
	"fmt"
	"math"
)

// Shape is how a learning rate falls after its warm-up.
type Shape string

// The shapes: half a cosine, a straight line, or not at all.
const (
	Cosine   Shape = "cosine"
	Linear   Shape = "linear"
	Constant Shape = "constant"
)

// Schedule is the learning rate of each update: it rises from 0 to Base over Warmup updates, of which the first has rate 0, and
// falls towards Floor·Base at update Total, which is the one after the last.
type Schedule struct {
	Shape  Shape   `json:"shape"`
	Base   float64 `json:"base"`
	Warmup int     `json:"warmup"`
	Total  int     `json:"total"`
	Floor  float64 `json:"floor"`
}

// Validate names everything that is impossible.
func (s Schedule) Validate() error {
	var errs []error
	if s.Shape != Cosine && s.Shape != Linear && s.Shape != Constant {
		errs = append(errs, fmt.Errorf("optim: schedule %q, want %s, %s or %s", s.Shape, Cosine, Linear, Constant))
	}
	if !(s.Base >= 0) || math.IsInf(s.Base, 0) || !(s.Floor >= 0 && s.Floor <= 1) {
		errs = append(errs, fmt.Errorf("optim: schedule with rate %v and floor %v, want 0 or more, and 0 to 1", s.Base, s.Floor))
	}
	if s.Warmup < 0 || s.Total < 1 || s.Warmup > s.Total {
		errs = append(errs, fmt.Errorf("optim: schedule of %d updates with %d of warm-up, want 1 or more, and no more than that", s.Total, s.Warmup))
	}
	return errors.Join(errs...)
}

// Rate is that of update number step = 0, 1, …:
//
//	Base·step/Warmup                                      step < Warmup
//	Base·½((1+Floor) + (1-Floor)·cos(π·t))                Cosine, t = (step-Warmup)/(Total-Warmup), at most 1
//	Base·(1 - (1-Floor)·t)                                Linear
func (s Schedule) Rate(step int) float64 {
	if step < s.Warmup {
		return s.Base * float64(step) / float64(s.Warmup)
	}
	t := min(1, float64(step-s.Warmup)/float64(max(1, s.Total-s.Warmup)))
	switch s.Shape {
	case Cosine:
		return s.Base * 0.5 * ((1 + s.Floor) + float64((1-s.Floor)*math.Cos(math.Pi*t)))
	case Linear:
		return s.Base * (1 - float64((1-s.Floor)*t))
	}
	return s.Base
}
