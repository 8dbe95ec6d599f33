package gpu

import (
	"errors"
	"fmt"

	"sower/gpu/driver"
)

// WriteF32 copies values into t, from element off on. The slice may be changed as soon as it returns.
func (p *Pass) WriteF32(t *Tensor, off int, values []float32) {
	if v, ok := p.part("write", t, F32, off, len(values)); ok {
		p.fail("write", p.stream.WriteF32(v, values))
	}
}

// WriteU8 copies bytes to the start of t. The slice may be changed as soon as it returns.
func (p *Pass) WriteU8(t *Tensor, values []byte) {
	if v, ok := p.part("write", t, U8, 0, len(values)); ok {
		p.fail("write", p.stream.WriteU8(v, values))
	}
}

// ReadF32 copies t into dst, whose length must be that of t.
func (p *Pass) ReadF32(t *Tensor, dst []float32) {
	if v, ok := p.whole("read", t, F32, len(dst)); ok {
		p.fail("read", p.stream.ReadF32(dst, v))
	}
}

// ReadU8 copies t into dst, whose length must be that of t.
func (p *Pass) ReadU8(t *Tensor, dst []byte) {
	if v, ok := p.whole("read", t, U8, len(dst)); ok {
		p.fail("read", p.stream.ReadU8(dst, v))
	}
}

// ReadI32 copies t into dst, whose length must be that of t.
func (p *Pass) ReadI32(t *Tensor, dst []int32) {
	if v, ok := p.whole("read", t, I32, len(dst)); ok {
		p.fail("read", p.stream.ReadI32(dst, v))
	}
}

// Bytes brings host bytes into the pass as a U8 tensor.
func (p *Pass) Bytes(src []byte, shape ...int) *Tensor {
	t := p.alloc("bytes", U8, shape...)
	if v, ok := p.whole("bytes", t, U8, len(src)); ok {
		p.fail("bytes", p.stream.WriteU8(v, src))
	}
	return t
}

// Floats brings host values into the pass as an F32 tensor.
func (p *Pass) Floats(src []float32, shape ...int) *Tensor {
	t := p.alloc("floats", F32, shape...)
	if v, ok := p.whole("floats", t, F32, len(src)); ok {
		p.fail("floats", p.stream.WriteF32(v, src))
	}
	return t
}

// IDs brings host ids into the pass as an I32 tensor.
func (p *Pass) IDs(src []int32, shape ...int) *Tensor {
	t := p.alloc("ids", I32, shape...)
	if v, ok := p.whole("ids", t, I32, len(src)); ok {
		p.fail("ids", p.stream.WriteI32(v, src))
	}
	return t
}

func (p *Pass) whole(op string, t *Tensor, dtype DType, n int) (driver.View, bool) {
	if p.err == nil && n != t.Len() {
		p.fail(op, fmt.Errorf("%d elements on the host, want %d", n, t.Len()), t)
	}
	return p.part(op, t, dtype, 0, n)
}

func (p *Pass) part(op string, t *Tensor, dtype DType, off, n int) (driver.View, bool) {
	switch {
	case p.err != nil:
	case !t.dense() || t.dtype != dtype:
		p.fail(op, fmt.Errorf("want a dense tensor of %v", dtype), t)
	case off < 0 || off+n > t.Len():
		p.fail(op, fmt.Errorf("elements %d to %d are out of range", off, off+n), t)
	default:
		return driver.View{Buf: t.buf, Off: t.off + off, N: n}, true
	}
	return driver.View{}, false
}

// Reshape returns x with other axes and the same elements.
func (p *Pass) Reshape(x *Tensor, shape ...int) *Tensor {
	if !p.want("reshape", F32, x) {
		return placeholder
	}
	if err := checkShape(shape); err != nil || product(shape) != x.Len() {
		if err == nil {
			err = fmt.Errorf("%d elements, want %d", product(shape), x.Len())
		}
		return p.fail("reshape", err, x)
	}
	t := p.header()
	*t = *x
	t.grad, t.needs, t.parameter = nil, false, false
	t.setShape(shape)
	if p.tracks(t, x) {
		p.note("reshape", t, func(dy *Tensor) error { return p.hand(x, t, dy, true) })
	}
	return t
}

// Split3 returns the three thirds of the last axis, [.. 3C] → 3 x [.. C], as views: queries, keys and values of a fused
// projection. Only Attention takes such views.
func (p *Pass) Split3(x *Tensor) (a, b, c *Tensor) {
	if !p.want("split", F32, x) {
		return placeholder, placeholder, placeholder
	}
	if x.cols()%3 != 0 {
		p.fail("split", fmt.Errorf("the last axis has %d elements, want a multiple of 3", x.cols()), x)
		return placeholder, placeholder, placeholder
	}
	var thirds [3]*Tensor
	for i := range thirds {
		t := p.header()
		*t = *x
		t.grad, t.needs, t.parameter = nil, false, false
		t.dims[t.rank-1] /= 3
		t.off += i * t.cols()
		thirds[i] = t
	}
	if p.tracks(thirds[0], x) {
		thirds[1].needs, thirds[2].needs = true, true
		parts := []*Tensor{thirds[0], thirds[1], thirds[2]}
		p.tape = append(p.tape, func() { p.fail("gradient of split", p.join(x, parts)) })
	}
	return thirds[0], thirds[1], thirds[2]
}

// join puts the gradients of the parts of x side by side.
func (p *Pass) join(x *Tensor, parts []*Tensor) error {
	err := p.give(x, func(dx driver.View) error {
		width := x.cols() / len(parts)
		for i, t := range parts {
			dst := driver.View{Buf: dx.Buf, Off: dx.Off + i*width, N: dx.N - i*width}
			src, stride := driver.View{}, width
			if t.grad != nil {
				src = t.grad.view()
			} else { // nothing came of this part
				zero := p.alloc("gradient", F32, width)
				p.WriteF32(zero, 0, make([]float32, width))
				src, stride = zero.view(), 0
			}
			if p.err != nil {
				return nil // kept in the pass
			}
			if err := p.stream.Copy(dst, x.cols(), src, stride, x.rows(), width); err != nil {
				return err
			}
		}
		return nil
	})
	for _, t := range parts {
		if t.grad != nil {
			p.release(t.grad)
			t.grad = nil
		}
	}
	return err
}

// Repeat stacks n copies of x: [.. ] → [n ..]; an x of three axes must have 1 as its first, which is dropped.
func (p *Pass) Repeat(x *Tensor, n int) *Tensor {
	if !p.want("repeat", F32, x) {
		return placeholder
	}
	shape := x.Shape()
	if len(shape) == 3 && shape[0] == 1 {
		shape = shape[1:]
	}
	var dims [maxRank]int
	dims[0] = n
	rank := 1 + copy(dims[1:], shape)
	y := p.alloc("repeat", F32, dims[:rank]...)
	if p.err == nil {
		p.fail("repeat", p.stream.Copy(y.view(), x.Len(), x.view(), 0, n, x.Len()), x)
	}
	if p.tracks(y, x) {
		p.note("repeat", y, func(dy *Tensor) error { return p.sumRows(x, dy) })
	}
	return y
}

// Prepend puts the same row before each sequence: first with C elements, x [B T C] → [B T+1 C].
func (p *Pass) Prepend(first, x *Tensor) *Tensor {
	if !p.want("prepend", F32, first, x) {
		return placeholder
	}
	if x.rank != 3 || first.Len() != x.Dim(2) {
		return p.fail("prepend", fmt.Errorf("want a row of C elements and a tensor [B T C]"), first, x)
	}
	b, t, c := x.Dim(0), x.Dim(1), x.Dim(2)
	y := p.alloc("prepend", F32, b, t+1, c)
	if p.err != nil {
		return placeholder
	}
	whole := (t + 1) * c
	p.fail("prepend", p.stream.Copy(y.view(), whole, first.view(), 0, b, c), first, x)
	rest := driver.View{Buf: y.buf, Off: y.off + c, N: y.Len() - c}
	p.fail("prepend", p.stream.Copy(rest, whole, x.view(), t*c, b, t*c), first, x)
	if p.tracks(y, first, x) {
		p.note("prepend", y, func(dy *Tensor) error {
			rest := driver.View{Buf: dy.buf, Off: dy.off + c, N: dy.Len() - c}
			err := p.give(x, func(dx driver.View) error { return p.stream.Copy(dx, t*c, rest, whole, b, t*c) })
			heads := p.alloc("gradient", F32, b, c)
			if p.err != nil {
				return err
			}
			defer p.release(heads)
			return errors.Join(err, p.stream.Copy(heads.view(), c, dy.view(), whole, b, c), p.sumRows(first, heads))
		})
	}
	return y
}

// want checks that operands are dense and of a type.
func (p *Pass) want(op string, dtype DType, operands ...*Tensor) bool {
	if p.err != nil {
		return false
	}
	for _, t := range operands {
		if t.dtype != dtype || !t.dense() {
			p.fail(op, fmt.Errorf("operands must be dense tensors of %v", dtype), operands...)
			return false
		}
	}
	return true
}
