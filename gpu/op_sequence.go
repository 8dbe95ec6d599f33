package gpu

import (
	"errors"
	"fmt"

	"sower/gpu/driver"
)

// Rows returns rows from to from+n of x [.. C], the leading axes taken as one: [n C], as a view.
func (p *Pass) Rows(x *Tensor, from, n int) *Tensor {
	if !p.want("rows", F32, x) {
		return placeholder
	}
	if from < 0 || n < 1 || from+n > x.rows() {
		return p.fail("rows", fmt.Errorf("want rows %d to %d of %d", from, from+n, x.rows()), x)
	}
	c := x.cols()
	y := p.header()
	*y = *x
	y.grad, y.needs, y.parameter = nil, false, false
	y.off += from * c
	y.setShape([]int{n, c})
	if p.tracks(y, x) {
		p.note("rows", y, func(dy *Tensor) error {
			return p.addTo(x, func(dx driver.View, accumulate bool) error {
				if !accumulate {
					if err := p.stream.WriteF32(dx, make([]float32, dx.N)); err != nil {
						return err
					}
				}
				part := driver.View{Buf: dx.Buf, Off: dx.Off + from*c, N: n * c}
				return p.stream.Add(part, part, dy.view())
			})
		})
	}
	return y
}

// Stack puts the rows of tensors [.. C] below each other: [sum of rows, C].
func (p *Pass) Stack(parts ...*Tensor) *Tensor {
	if len(parts) == 0 || !p.want("stack", F32, parts...) {
		return placeholder
	}
	c, rows := parts[0].cols(), 0
	for _, x := range parts {
		if x.cols() != c {
			return p.fail("stack", errors.New("rows of different lengths"), parts...)
		}
		rows += x.rows()
	}
	y := p.alloc("stack", F32, rows, c)
	if p.err != nil {
		return placeholder
	}
	at := func(v driver.View, row, n int) driver.View {
		return driver.View{Buf: v.Buf, Off: v.Off + row*c, N: n * c}
	}
	row := 0
	for _, x := range parts {
		p.fail("stack", p.stream.Copy(at(y.view(), row, x.rows()), c, x.view(), c, x.rows(), c), parts...)
		row += x.rows()
	}
	if p.tracks(y, parts...) {
		p.note("stack", y, func(dy *Tensor) error {
			row := 0
			var errs []error
			for _, x := range parts {
				from, n := row, x.rows()
				errs = append(errs, p.give(x, func(dx driver.View) error { return p.stream.Copy(dx, c, at(dy.view(), from, n), c, n, c) }))
				row += n
			}
			return errors.Join(errs...)
		})
	}
	return y
}

// Mix multiplies each sequence by the same matrix from the left: w [N T] and x [B T C] → [B N C], each of N rows a mixture of
// the T rows.
func (p *Pass) Mix(w, x *Tensor) *Tensor {
	if !p.want("mix", F32, w, x) {
		return placeholder
	}
	if w.rank != 2 || x.rank != 3 || w.Dim(1) != x.Dim(1) {
		return p.fail("mix", fmt.Errorf("want a matrix [N T] and a tensor [B T C]"), w, x)
	}
	b, t, c, n := x.Dim(0), x.Dim(1), x.Dim(2), w.Dim(0)
	y := p.alloc("mix", F32, b, n, c)
	if p.err != nil {
		return placeholder
	}
	matrix := driver.Strided{Buf: w.buf, Off: w.off, Row: t} // the same for every sequence
	sequences := func(buf driver.Buffer, off, rows int) driver.Strided {
		return driver.Strided{Buf: buf, Off: off, Batch: rows * c, Row: c}
	}
	p.fail("mix", p.stream.BatchMatMul(driver.BatchMatMul{C: sequences(y.buf, y.off, n), A: matrix, B: sequences(x.buf, x.off, t), Batch: b, Heads: 1, M: n, N: c, K: t}), w, x)
	if p.tracks(y, w, x) {
		p.note("mix", y, func(dy *Tensor) error {
			err := p.addTo(x, func(dx driver.View, accumulate bool) error {
				return p.stream.BatchMatMul(driver.BatchMatMul{C: sequences(dx.Buf, dx.Off, t), A: matrix, B: sequences(dy.buf, dy.off, n), Batch: b, Heads: 1,
					M: t, N: c, K: n, TransposeA: true, Accumulate: accumulate})
			})
			return errors.Join(err, p.addTo(w, func(dw driver.View, accumulate bool) error {
				// One sequence after the other, as they add to the same matrix.
				for i := range b {
					if err := p.stream.BatchMatMul(driver.BatchMatMul{C: driver.Strided{Buf: dw.Buf, Off: dw.Off, Row: t}, A: driver.Strided{Buf: dy.buf, Off: dy.off + i*n*c, Row: c},
						B: driver.Strided{Buf: x.buf, Off: x.off + i*t*c, Row: c}, Batch: 1, Heads: 1, M: n, N: t, K: c, TransposeB: true, Accumulate: accumulate || i > 0}); err != nil {
						return err
					}
				}
				return nil
			}))
		})
	}
	return y
}

// Through returns value, whose gradient goes to x unchanged and nowhere else: the straight-through estimator of a step that
// has no useful gradient (arXiv 1308.3432). Both have one shape.
func (p *Pass) Through(value, x *Tensor) *Tensor {
	if !p.want("through", F32, value, x) {
		return placeholder
	}
	if value.Len() != x.Len() || value.cols() != x.cols() {
		return p.fail("through", errors.New("shapes differ"), value, x)
	}
	y := p.header()
	*y = *value
	y.grad, y.needs, y.parameter = nil, false, false
	if p.tracks(y, x) {
		p.note("through", y, func(dy *Tensor) error { return p.hand(x, y, dy, true) })
	}
	return y
}
