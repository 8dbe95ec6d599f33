package gpu

import (
	"errors"
	"fmt"
	"slices"

	"sower/gpu/driver"
)

// Mode says what a pass is for.
type Mode int

// Inference passes compute results and forget how. Training passes can compute gradients afterwards, and keep every
// intermediate for it; Recompute passes do so, too, but keep only the results of the steps of Layers and compute the rest
// again.
const (
	Inference Mode = iota
	Training
	Recompute
)

// Pass is a sequence of operations on one device. It holds the first error: what follows does nothing and returns
// placeholders, and Close reports it. A pass belongs to one goroutine; several passes may run at once.
type Pass struct {
	dev    *Device
	stream driver.Stream
	linear driver.Linear // nil if the stream cannot, or must not, fuse
	dense  driver.Dense  // so, too
	fuse   bool          // attention, too
	err    error
	closed bool

	tensors []*Tensor // headers; the first used are given out
	used    int
	live    []block // memory given out, in order of allocation
	idle    []block
	serial  uint64 // of the next block
	made    int    // blocks so far, reused or not

	mode   Mode
	silent bool // operations are not noted
	tape   []func()
}

// block is memory of the pass.
type block struct {
	buf    driver.Buffer
	stored DType
	n      int
	// serial is the order in which blocks were given out.
	serial uint64
}

// placeholder is what operations return after an error, so that model code may go on asking for shapes.
var placeholder = &Tensor{dtype: F32, rank: maxRank, dims: [maxRank]int{1, 1, 1, 1}, stride: 1}

// NewPass begins a pass. It never fails: a device that has no more streams makes a pass whose Close says so.
func (d *Device) NewPass(mode Mode) *Pass {
	d.mu.Lock()
	if n := len(d.passes); n > 0 {
		p := d.passes[n-1]
		d.passes = d.passes[:n-1]
		d.mu.Unlock()
		p.closed, p.mode = false, mode
		return p
	}
	closed := d.closed
	d.mu.Unlock()
	p := &Pass{dev: d, mode: mode}
	if closed {
		p.err = errors.New("gpu: new pass: the device is closed")
		return p
	}
	var err error
	if p.stream, err = d.drv.NewStream(); err != nil {
		p.err = fmt.Errorf("gpu: new pass: %w", err)
		return p
	}
	if d.profile != nil {
		p.stream = d.profile.stream(p.stream)
	}
	if !d.composed {
		p.linear, _ = p.stream.(driver.Linear)
		p.dense, _ = p.stream.(driver.Dense)
		p.fuse = true
	}
	return p
}

// Err is the first error so far.
func (p *Pass) Err() error { return p.err }

// Close waits until everything is done, takes back the tensors of the pass and returns its first error. A second Close
// does nothing.
func (p *Pass) Close() error {
	if p.closed {
		return nil
	}
	p.closed = true
	err := p.err
	if p.stream == nil {
		return err
	}
	if e := p.stream.Sync(); err == nil && e != nil {
		err = fmt.Errorf("gpu: close pass: %w", e)
	}
	p.idle = append(p.idle, p.live...)
	p.live, p.used, p.err = p.live[:0], 0, nil
	clear(p.tape)
	p.tape, p.silent = p.tape[:0], false
	d := p.dev
	d.mu.Lock()
	if !d.closed {
		d.passes = append(d.passes, p)
		d.mu.Unlock()
		return err
	}
	d.mu.Unlock()
	return errors.Join(err, p.destroy())
}

// Wait returns when everything so far is done, with the first error.
func (p *Pass) Wait() error {
	if p.err != nil || p.stream == nil {
		return p.err
	}
	if err := p.stream.Sync(); err != nil {
		p.err = fmt.Errorf("gpu: wait: %w", err)
	}
	return p.err
}

// Discard is Close for a pass whose memory will not be wanted again: it goes back to the device. An error that the pass
// holds is not returned again.
func (p *Pass) Discard() error {
	if p.closed || p.stream == nil {
		return nil
	}
	p.closed = true
	p.idle = append(p.idle, p.live...)
	p.live, p.used = nil, 0
	return p.destroy()
}

func (p *Pass) destroy() error {
	for _, b := range p.idle {
		b.buf.Free()
	}
	p.idle = nil
	return p.stream.Close()
}

// Mode is what the pass is for.
func (p *Pass) Mode() Mode { return p.mode }

// Fail records an error of a model, unless there is one already, and returns a placeholder.
func (p *Pass) Fail(err error) *Tensor {
	if p.err == nil {
		p.err = err
	}
	return placeholder
}

// fail records an error of an operation, with the operands that it saw.
func (p *Pass) fail(op string, err error, operands ...*Tensor) *Tensor {
	if p.err == nil && err != nil {
		if len(operands) == 0 {
			p.err = fmt.Errorf("gpu: %s: %w", op, err)
		} else {
			p.err = fmt.Errorf("gpu: %s of %v: %w", op, slices.Clone(operands), err)
		}
	}
	return placeholder
}

// header gives out a tensor without memory.
func (p *Pass) header() *Tensor {
	if p.used == len(p.tensors) {
		p.tensors = append(p.tensors, new(Tensor))
	}
	t := p.tensors[p.used]
	p.used++
	*t = Tensor{}
	return t
}

// alloc gives out a tensor of the pass with undefined contents. It takes the smallest idle block that is large enough,
// but none that would be mostly wasted.
func (p *Pass) alloc(op string, dtype DType, shape ...int) *Tensor {
	if dtype == F32 {
		return p.allocAs(op, F32, driver.Activation, shape...)
	}
	return p.allocAs(op, dtype, dtype, shape...)
}

// allocAs gives out a tensor whose elements the device keeps as stored.
func (p *Pass) allocAs(op string, dtype, stored DType, shape ...int) *Tensor {
	if p.err != nil {
		return placeholder
	}
	if err := checkShape(shape); err != nil {
		return p.fail(op, err)
	}
	n, best := product(shape), -1
	for i, b := range p.idle {
		if b.stored == stored && n <= b.n && b.n <= 4*n && (best < 0 || b.n < p.idle[best].n) {
			best = i
		}
	}
	var b block
	if best >= 0 {
		b = p.idle[best]
		p.idle = slices.Delete(p.idle, best, best+1)
	} else {
		buf, err := p.dev.drv.Alloc(stored, n)
		if err != nil {
			return p.fail(op, err)
		}
		b = block{buf: buf, stored: stored, n: n}
		p.made++
	}
	b.serial = p.serial
	p.serial++
	p.live = append(p.live, b)
	t := p.header()
	t.dtype, t.buf = dtype, b.buf
	t.setShape(shape)
	return t
}

// Layers runs n steps, each of which reads the last one's result and returns its own. For inference, the memory of all
// that a step made is used again after it, save its result; x itself stays. So a deep model needs no more memory than its
// largest layer. For training, see the modes.
func (p *Pass) Layers(n int, x *Tensor, step func(i int, x *Tensor) *Tensor) *Tensor {
	start := p.serial
	for i := range n {
		switch {
		case p.training() && p.mode == Recompute:
			x = p.checkpoint(x, func(x *Tensor) *Tensor { return step(i, x) })
		case p.training():
			x = step(i, x)
		default:
			if x = step(i, x); p.err == nil {
				p.keep(start, x)
			}
		}
		if p.err != nil {
			return placeholder
		}
	}
	return x
}

// Tap shows an intermediate to the function installed by Device.SetTap, and costs nothing without one.
func (p *Pass) Tap(name string, t *Tensor) {
	if f := p.dev.tap.Load(); f != nil && p.err == nil {
		(*f)(p, name, t)
	}
}
