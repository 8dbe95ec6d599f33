package gpu

import (
	"errors"
	"fmt"

	"sower/gpu/driver"
)

// Training: a pass of mode Training notes, for each operation whose operands lead back to a parameter, how its gradient is
// computed, and Backward runs these notes in reverse. Gradients of parameters add up until ZeroGrad; those of other
// tensors live in the pass, and only as long as they are needed.

// NewParameter makes an F32 tensor to be trained: it stays until Free, and has a gradient, which starts as 0.
func (d *Device) NewParameter(values []float32, shape ...int) (*Tensor, error) {
	t, err := d.FromSlice(values, shape...)
	if err != nil {
		return nil, err
	}
	if t.grad, err = d.FromSlice(make([]float32, len(values)), shape...); err != nil {
		t.Free()
		return nil, err
	}
	t.needs, t.parameter = true, true
	return t, nil
}

// Grad is the gradient of a parameter, nil for other tensors.
func (t *Tensor) Grad() *Tensor {
	if !t.parameter {
		return nil
	}
	return t.grad
}

// training reports whether operations are noted.
func (p *Pass) training() bool { return p.mode != Inference && !p.silent }

// tracks reports whether y, made of operands, needs a gradient, and marks it so.
func (p *Pass) tracks(y *Tensor, operands ...*Tensor) bool {
	if !p.training() || p.err != nil {
		return false
	}
	for _, t := range operands {
		if t != nil && t.needs {
			y.needs = true
			return true
		}
	}
	return false
}

// note adds the gradient of y to the tape: back is called with that gradient, unless nothing led to one.
func (p *Pass) note(op string, y *Tensor, back func(dy *Tensor) error) {
	p.tape = append(p.tape, func() {
		if y.grad == nil || p.err != nil {
			return
		}
		dy := y.grad
		p.fail("gradient of "+op, back(dy))
		if y.grad == dy { // not given on to an operand
			p.release(dy)
		}
		y.grad = nil
	})
}

// give adds a gradient to that of t, if t needs one. write fills a view of t's size.
func (p *Pass) give(t *Tensor, write func(dst driver.View) error) error {
	if t == nil || !t.needs || p.err != nil {
		return nil
	}
	if t.grad == nil {
		g := p.alloc("gradient", F32, t.Shape()...)
		if p.err != nil {
			return nil // kept in the pass
		}
		t.grad = g
		return write(g.view())
	}
	g := p.alloc("gradient", F32, t.Shape()...)
	if p.err != nil {
		return nil
	}
	defer p.release(g)
	if err := write(g.view()); err != nil {
		return err
	}
	return p.stream.Add(t.grad.view(), t.grad.view(), g.view())
}

// addTo is give for operations that can add: write fills the view, or adds to it.
func (p *Pass) addTo(t *Tensor, write func(dst driver.View, accumulate bool) error) error {
	if t == nil || !t.needs || p.err != nil {
		return nil
	}
	accumulate := t.grad != nil
	if !accumulate {
		g := p.alloc("gradient", F32, t.Shape()...)
		if p.err != nil {
			return nil
		}
		t.grad = g
	}
	return write(t.grad.view(), accumulate)
}

// hand gives dy itself to t. With last, dy is not used after: it may become the gradient of t.
func (p *Pass) hand(t, y, dy *Tensor, last bool) error {
	if t == nil || !t.needs || p.err != nil {
		return nil
	}
	if t.grad == nil && last {
		g := p.header()
		*g = *dy
		g.setShape(t.Shape())
		t.grad, y.grad = g, nil
		return nil
	}
	if t.grad != nil {
		return p.stream.Add(t.grad.view(), t.grad.view(), dy.view())
	}
	return p.give(t, func(dst driver.View) error { return p.stream.Copy(dst, dst.N, dy.view(), dst.N, 1, dst.N) })
}

// sumRows gives t the sum of the rows of dy, of t's length each.
func (p *Pass) sumRows(t, dy *Tensor) error {
	return p.addTo(t, func(dst driver.View, accumulate bool) error {
		if !accumulate {
			if err := p.stream.WriteF32(dst, make([]float32, dst.N)); err != nil {
				return err
			}
		}
		return p.stream.SumRows(dst, dy.view(), dst.N)
	})
}

// gradOf is the gradient of a parameter that an operation adds to, or a view without a buffer. Weights of norms are
// parameters or fixed, never results.
func (p *Pass) gradOf(t *Tensor) driver.View {
	if t == nil || !t.parameter {
		return driver.View{}
	}
	return t.grad.view()
}

// norm is give for an operation that adds to gradients of parameters, too, and so must run even where x needs none.
func (p *Pass) norm(x *Tensor, write func(dx driver.View) error) error {
	if x.needs {
		return p.give(x, write)
	}
	unused := p.alloc("gradient", F32, x.Shape()...)
	if p.err != nil {
		return nil
	}
	defer p.release(unused)
	return write(unused.view())
}

// release takes the memory of a tensor of the pass back before its end.
func (p *Pass) release(t *Tensor) {
	for i := len(p.live) - 1; i >= 0; i-- {
		if p.live[i].buf == t.buf {
			p.idle = append(p.idle, p.live[i])
			p.live = append(p.live[:i], p.live[i+1:]...)
			return
		}
	}
}

// Pull adds dy to the gradient of y, for a loss with several terms whose gradients to intermediates are known: Backward then
// starts from all of them. It does nothing to what leads back to no parameter.
func (p *Pass) Pull(y, dy *Tensor) {
	switch {
	case p.err != nil || !y.needs:
	case !p.training():
		p.fail("pull", errors.New("the pass is for inference; begin it with gpu.Training"))
	case !p.want("pull", F32, dy) || dy.Len() != y.Len():
		p.fail("pull", fmt.Errorf("want a gradient %v", y.Shape()), y, dy)
	default:
		p.fail("pull", p.give(y, func(dst driver.View) error { return p.stream.Copy(dst, dst.N, dy.view(), dst.N, 1, dst.N) }))
	}
}

// Backward computes the gradients of parameters: of the sum of y's elements, each times that of dy, or times 1 if dy is
// nil, and of what Pull named. A y of nil is what Pull named alone. A pass does it once.
func (p *Pass) Backward(y, dy *Tensor) {
	if p.err != nil {
		return
	}
	switch {
	case !p.training():
		p.fail("backward", errors.New("the pass is for inference; begin it with gpu.Training"))
		return
	case y == nil:
		p.replay()
		return
	case !y.needs:
		p.fail("backward", errors.New("nothing that led to this tensor is a parameter"), y)
		return
	case dy != nil && (!p.want("backward", F32, dy) || dy.Len() != y.Len()):
		p.fail("backward", fmt.Errorf("want a gradient %v", y.Shape()), y, dy)
		return
	}
	if dy == nil {
		ones := make([]float32, y.Len())
		for i := range ones {
			ones[i] = 1
		}
		dy = p.alloc("backward", F32, y.Shape()...)
		if p.err != nil {
			return
		}
		p.WriteF32(dy, 0, ones)
	}
	p.Pull(y, dy)
	p.replay()
}

// replay runs the tape in reverse and empties it.
func (p *Pass) replay() {
	for i := len(p.tape) - 1; i >= 0; i-- {
		p.tape[i]()
		p.tape[i] = nil
	}
	p.tape = p.tape[:0]
}

// ZeroGrad sets the gradient of a parameter to 0.
func (p *Pass) ZeroGrad(t *Tensor) {
	if p.err == nil && t.parameter {
		p.WriteF32(t.grad, 0, make([]float32, t.Len()))
	}
}

// Constant returns the result of what leads to no parameter, or must not: nothing of it is noted, and memory that was needed on
// the way is used again.
func (p *Pass) Constant(make func() *Tensor) *Tensor {
	start, silent := p.serial, p.silent
	p.silent = true
	y := make()
	p.silent = silent
	if p.err != nil {
		return placeholder
	}
	p.keep(start, y)
	return y
}

// checkpoint runs a step without notes and gives its memory back, save the result; Backward runs the step again, with
// notes, before it goes through them (gradient checkpointing, arXiv 1604.06174). The step must compute the same again.
func (p *Pass) checkpoint(x *Tensor, step func(x *Tensor) *Tensor) *Tensor {
	start, silent := p.serial, p.silent
	p.silent = true
	y := step(x)
	p.silent = silent
	if p.err != nil {
		return placeholder
	}
	p.keep(start, y)
	y.needs = true
	p.note("checkpoint", y, func(dy *Tensor) error {
		outer, start := p.tape, p.serial
		p.tape = nil
		again := p.header()
		*again = *x
		again.grad = nil
		z := step(again)
		if p.err == nil && z.needs {
			// dy's memory is the inner step's from here on.
			g := p.header()
			*g = *dy
			z.grad, y.grad = g, nil
			p.replay()
		}
		p.tape = outer
		switch {
		case p.err != nil:
		case again.grad == nil:
			p.keep(start, nil)
		case x.grad == nil:
			x.grad = again.grad
			p.keep(start, x.grad)
		default:
			if err := p.stream.Add(x.grad.view(), x.grad.view(), again.grad.view()); err != nil {
				return err
			}
			p.release(again.grad)
			p.keep(start, nil)
		}
		return nil
	})
	return y
}

// keep gives back the memory of everything that was made since the serial number start, save that of y.
func (p *Pass) keep(start uint64, y *Tensor) {
	kept := p.live[:0]
	for _, b := range p.live {
		if b.serial < start || y != nil && b.buf == y.buf {
			kept = append(kept, b)
		} else {
			p.idle = append(p.idle, b)
		}
	}
	p.live = kept
}
