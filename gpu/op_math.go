package gpu

import (
	"errors"
	"fmt"

	"sower/gpu/driver"
)

// Add returns a + b, of equal shapes, or with the axes of b the last ones of a: [B T C] + [T C] adds to each of B.
func (p *Pass) Add(a, b *Tensor) *Tensor {
	if !p.want("add", F32, a, b) {
		return placeholder
	}
	shape := b.Shape()
	for len(shape) > 1 && shape[0] == 1 { // leading axes of 1, as in published position tables, do not count
		shape = shape[1:]
	}
	tail := a.Shape()[max(0, a.rank-len(shape)):]
	if product(tail) != product(shape) || len(tail) < len(shape) || tail[0] != shape[0] {
		return p.fail("add", fmt.Errorf("the second does not end the axes of the first"), a, b)
	}
	y := p.alloc("add", F32, a.Shape()...)
	if p.err == nil {
		p.fail("add", p.stream.Add(y.view(), a.view(), b.view()), a, b)
	}
	if p.tracks(y, a, b) {
		p.note("add", y, func(dy *Tensor) error {
			if b.Len() == a.Len() {
				return errors.Join(p.hand(b, y, dy, false), p.hand(a, y, dy, true))
			}
			return errors.Join(p.sumRows(b, dy), p.hand(a, y, dy, true))
		})
	}
	return y
}

// AddBias returns x [.. C] + bias [C].
func (p *Pass) AddBias(x, bias *Tensor) *Tensor {
	if p.err == nil && (bias.rank != 1 || bias.Len() != x.cols()) {
		return p.fail("add bias", fmt.Errorf("want a bias [%d]", x.cols()), x, bias)
	}
	return p.Add(x, bias)
}

// GELU returns x·Φ(x), the exact (erf) form.
func (p *Pass) GELU(x *Tensor) *Tensor { return p.apply(driver.GELU, x) }

// Tanh returns the hyperbolic tangent.
func (p *Pass) Tanh(x *Tensor) *Tensor { return p.apply(driver.Tanh, x) }

// SiLU returns x/(1+exp(-x)).
func (p *Pass) SiLU(x *Tensor) *Tensor { return p.apply(driver.SiLU, x) }

// ReLU returns max(x, 0).
func (p *Pass) ReLU(x *Tensor) *Tensor { return p.apply(driver.ReLU, x) }

func (p *Pass) apply(f driver.Func, x *Tensor) *Tensor {
	if !p.want(f.String(), F32, x) {
		return placeholder
	}
	y := p.alloc(f.String(), F32, x.Shape()...)
	if p.err == nil {
		p.fail(f.String(), p.stream.Apply(f, y.view(), x.view()), x)
	}
	if p.tracks(y, x) {
		p.note(f.String(), y, func(dy *Tensor) error {
			return p.give(x, func(dx driver.View) error { return p.stream.ApplyGrad(f, dx, dy.view(), x.view()) })
		})
	}
	return y
}

// LayerNorm normalizes each row of x [.. C] to mean 0 and variance 1 and returns it times weight [C] plus bias [C].
func (p *Pass) LayerNorm(x, weight, bias *Tensor, eps float32) *Tensor {
	if !p.want("layer norm", F32, x, weight, bias) {
		return placeholder
	}
	if weight.Len() != x.cols() || bias.Len() != x.cols() {
		return p.fail("layer norm", fmt.Errorf("want weight and bias [%d]", x.cols()), x, weight, bias)
	}
	y := p.alloc("layer norm", F32, x.Shape()...)
	if p.err == nil {
		p.fail("layer norm", p.stream.LayerNorm(y.view(), x.view(), weight.view(), bias.view(), x.cols(), eps), x)
	}
	if p.tracks(y, x, weight, bias) {
		p.note("layer norm", y, func(dy *Tensor) error {
			dweight, dbias := p.gradOf(weight), p.gradOf(bias)
			return p.norm(x, func(dx driver.View) error {
				return p.stream.LayerNormGrad(dx, dweight, dbias, dy.view(), x.view(), weight.view(), x.cols(), eps)
			})
		})
	}
	return y
}

// Mask says which keys a query sees.
type Mask bool

// The masks. Causal: query i of Tq sees keys 0 to Tk-Tq+i.
const (
	Full   Mask = false
	Causal Mask = true
)

// Softmax returns exp(scale·x)/sum along the last axis of x; scale must be positive. With Causal, x is [.. Tq Tk], and
// what a query does not see is 0.
func (p *Pass) Softmax(x *Tensor, scale float32, mask Mask) *Tensor {
	if !p.want("softmax", F32, x) {
		return placeholder
	}
	causal := 0
	if mask == Causal {
		if x.rank < 2 || x.Dim(-2) > x.Dim(-1) {
			return p.fail("softmax", fmt.Errorf("a causal mask wants [.. Tq Tk] with Tq ≤ Tk"), x)
		}
		causal = x.Dim(-2)
	}
	if !(scale > 0) {
		return p.fail("softmax", fmt.Errorf("scale %v, want more than 0", scale), x)
	}
	y := p.alloc("softmax", F32, x.Shape()...)
	if p.err == nil {
		p.fail("softmax", p.stream.Softmax(y.view(), x.view(), x.cols(), scale, causal), x)
	}
	if p.tracks(y, x) {
		p.note("softmax", y, func(dy *Tensor) error {
			return p.give(x, func(dx driver.View) error { return p.stream.SoftmaxGrad(dx, dy.view(), y.view(), y.cols(), scale) })
		})
	}
	return y
}
