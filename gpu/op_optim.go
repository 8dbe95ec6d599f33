package gpu

import (
	"errors"

	"sower/gpu/driver"
)

// SumSquares returns the sum of the squares of t's elements, in float64 and in an order that depends on t's length alone. It
// waits for the device; after an error it is 0.
func (p *Pass) SumSquares(t *Tensor) float64 {
	if !p.want("sum of squares", F32, t) {
		return 0
	}
	sum, err := p.stream.SumSquares(t.view())
	p.fail("sum of squares", err, t)
	return sum
}

// AdamW are the settings of one update; driver.AdamWArgs has the formulas.
type AdamW struct {
	Rate, Beta1, Beta2, Eps, Decay float64
	GradScale                      float64 // of the gradient, before anything else
	Step                           int     // from 1 on
}

// AdamW updates a parameter by its gradient, and its moments m and v, which are of the same length and start as 0.
func (p *Pass) AdamW(t, m, v *Tensor, a AdamW) {
	if !p.want("adamw", F32, t, m, v) {
		return
	}
	if !t.parameter || m.Len() != t.Len() || v.Len() != t.Len() || a.Step < 1 {
		p.fail("adamw", errors.New("want a parameter, moments of its length, and steps from 1 on"), t, m, v)
		return
	}
	p.fail("adamw", p.stream.AdamW(driver.AdamWArgs{P: t.view(), G: t.grad.view(), M: m.view(), V: v.view(), Rate: a.Rate, Beta1: a.Beta1,
		Beta2: a.Beta2, Eps: a.Eps, Decay: a.Decay, GradScale: a.GradScale, Step: a.Step}), t)
}
