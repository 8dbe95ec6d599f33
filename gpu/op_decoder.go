package gpu

import (
	"errors"
	"fmt"

	"sower/gpu/driver"
)

// RMSNorm returns x/sqrt(mean(x²)+eps)·weight for each row of x [.. C], weight [C].
func (p *Pass) RMSNorm(x, weight *Tensor, eps float32) *Tensor {
	if !p.want("rms norm", F32, x, weight) {
		return placeholder
	}
	if weight.Len() != x.cols() {
		return p.fail("rms norm", fmt.Errorf("want a weight [%d]", x.cols()), x, weight)
	}
	y := p.alloc("rms norm", F32, x.Shape()...)
	if p.err == nil {
		p.fail("rms norm", p.stream.RMSNorm(y.view(), x.view(), weight.view(), x.cols(), eps), x)
	}
	if p.tracks(y, x, weight) {
		p.note("rms norm", y, func(dy *Tensor) error {
			dweight := p.gradOf(weight)
			return p.norm(x, func(dx driver.View) error {
				return p.stream.RMSNormGrad(dx, dweight, dy.view(), x.view(), weight.view(), x.cols(), eps)
			})
		})
	}
	return y
}

// Rotate turns pairs of channels by angles that grow with the position (rotary embedding, arXiv 2104.09864, in the form
// that pairs channel i of a head with i + D/2): x [.. heads·D], positions I32 with one for each row, cos and sin tables
// [P D/2].
func (p *Pass) Rotate(x, positions, cos, sin *Tensor, heads int) *Tensor {
	if !p.want("rotate", F32, x, cos, sin) || !p.want("rotate", I32, positions) {
		return placeholder
	}
	if heads < 1 || x.cols()%(2*heads) != 0 || positions.Len() != x.rows() || cos.cols() != x.cols()/heads/2 || sin.Len() != cos.Len() {
		return p.fail("rotate", fmt.Errorf("want x [.. %d·D], a position for each row, tables [P D/2]", heads), x, positions, cos, sin)
	}
	width := x.cols() / heads
	y := p.alloc("rotate", F32, x.Shape()...)
	if p.err == nil {
		p.fail("rotate", p.stream.Rotate(y.view(), x.view(), positions.view(), cos.view(), sin.view(), heads, width, false), x, positions)
	}
	if p.tracks(y, x) {
		p.note("rotate", y, func(dy *Tensor) error {
			return p.give(x, func(dx driver.View) error {
				return p.stream.Rotate(dx, dy.view(), positions.view(), cos.view(), sin.view(), heads, width, true)
			})
		})
	}
	return y
}

// Gate returns SiLU(g)·u, the middle of SwiGLU (arXiv 2002.05202).
func (p *Pass) Gate(g, u *Tensor) *Tensor {
	if !p.want("gate", F32, g, u) {
		return placeholder
	}
	if g.Len() != u.Len() || g.cols() != u.cols() {
		return p.fail("gate", errors.New("shapes differ"), g, u)
	}
	y := p.alloc("gate", F32, g.Shape()...)
	if p.err == nil {
		p.fail("gate", p.stream.Gate(y.view(), g.view(), u.view()), g, u)
	}
	if p.tracks(y, g, u) {
		p.note("gate", y, func(dy *Tensor) error {
			dg, du := p.alloc("gradient", F32, g.Shape()...), p.alloc("gradient", F32, g.Shape()...)
			if p.err != nil {
				return nil // kept in the pass
			}
			err := p.stream.GateGrad(dg.view(), du.view(), dy.view(), g.view(), u.view())
			return errors.Join(err, p.take(g, dg), p.take(u, du))
		})
	}
	return y
}

// take makes a tensor of the pass the gradient of t, adds it to that, or gives it back if t needs none.
func (p *Pass) take(t, grad *Tensor) error {
	switch {
	case !t.needs:
		p.release(grad)
		return nil
	case t.grad == nil:
		t.grad = grad
		return nil
	}
	defer p.release(grad)
	return p.stream.Add(t.grad.view(), t.grad.view(), grad.view())
}

// Scale returns a·x.
func (p *Pass) Scale(x *Tensor, a float32) *Tensor {
	if !p.want("scale", F32, x) {
		return placeholder
	}
	y := p.scaled(x, a)
	if p.tracks(y, x) {
		p.note("scale", y, func(dy *Tensor) error {
			if p.err != nil {
				return nil
			}
			return p.take(x, p.scaled(dy, a))
		})
	}
	return y
}

func (p *Pass) scaled(x *Tensor, a float32) *Tensor {
	y := p.alloc("scale", F32, x.Shape()...)
	if p.err != nil {
		return placeholder
	}
	if err := p.stream.WriteF32(y.view(), make([]float32, y.Len())); err != nil {
		return p.fail("scale", err, x)
	}
	p.fail("scale", p.stream.Axpy(y.view(), x.view(), a), x)
	return y
}

// Dropout zeroes a share of the elements of x and scales the others by 1/(1-rate); which, follows from seed alone. A rate of
// 0 returns x.
func (p *Pass) Dropout(x *Tensor, seed uint64, rate float32) *Tensor {
	if rate == 0 || p.err != nil {
		return x
	}
	if !p.want("dropout", F32, x) {
		return placeholder
	}
	if !(rate > 0 && rate < 1) {
		return p.fail("dropout", fmt.Errorf("rate %v, want 0 or more and less than 1", rate), x)
	}
	y := p.alloc("dropout", F32, x.Shape()...)
	if p.err == nil {
		p.fail("dropout", p.stream.Dropout(y.view(), x.view(), seed, rate), x)
	}
	if p.tracks(y, x) {
		p.note("dropout", y, func(dy *Tensor) error {
			return p.give(x, func(dx driver.View) error { return p.stream.Dropout(dx, dy.view(), seed, rate) })
		})
	}
	return y
}

// ReplaceRows returns x [.. C] with row to[i], counted over all but the last axis, replaced by row from[i] of rows [N C]:
// the embeddings of trained tokens in place of the table's. No row is replaced twice.
func (p *Pass) ReplaceRows(x, rows *Tensor, to, from []int32) *Tensor {
	if len(to) == 0 || p.err != nil {
		return x
	}
	if !p.want("replace rows", F32, x, rows) {
		return placeholder
	}
	if rows.cols() != x.cols() || len(to) != len(from) {
		return p.fail("replace rows", fmt.Errorf("want rows [N %d] and as many targets as sources", x.cols()), x, rows)
	}
	y := p.alloc("replace rows", F32, x.Shape()...)
	dst, src := p.IDs(to, len(to)), p.IDs(from, len(from))
	if p.err != nil {
		return placeholder
	}
	c := x.cols()
	p.fail("replace rows", errors.Join(p.stream.Copy(y.view(), x.Len(), x.view(), x.Len(), 1, x.Len()),
		p.stream.ScatterRows(y.view(), rows.view(), dst.view(), src.view(), c)), x, rows)
	if p.tracks(y, x, rows) {
		p.note("replace rows", y, func(dy *Tensor) error {
			err := p.addRows(rows, dy, src, dst)
			if x.needs && err == nil {
				// What was replaced leads nowhere.
				zero, first := p.alloc("gradient", F32, 1, c), p.IDs(make([]int32, len(to)), len(to))
				if p.err != nil {
					return nil // kept in the pass
				}
				err = errors.Join(p.stream.WriteF32(zero.view(), make([]float32, c)),
					p.stream.ScatterRows(dy.view(), zero.view(), dst.view(), first.view(), c))
			}
			return errors.Join(err, p.hand(x, y, dy, true))
		})
	}
	return y
}

// addRows adds rows from of dy to rows to of the gradient of t.
func (p *Pass) addRows(t, dy, to, from *Tensor) error {
	return p.addTo(t, func(dst driver.View, accumulate bool) error {
		if !accumulate {
			if err := p.stream.WriteF32(dst, make([]float32, dst.N)); err != nil {
				return err
			}
		}
		return p.stream.AddRows(dst, dy.view(), to.view(), from.view(), t.cols())
	})
}

// LowRank returns y + scale·(x·aᵀ)·bᵀ, a low-rank change (LoRA, arXiv 2106.09685) of a linear layer whose result is y
// [.. N]: x [.. K], a [R K], b [N R]. It writes into y, which must not be used otherwise.
func (p *Pass) LowRank(y, x, a, b *Tensor, scale float32) *Tensor {
	u := p.Scale(p.MatMul(x, a, TransposeB), scale) // [.. R]
	if !p.want("low rank", F32, y, x, a, b) {
		return placeholder
	}
	if b.rank != 2 || b.cols() != a.Dim(0) || b.Dim(0) != y.cols() || y.rows() != x.rows() {
		return p.fail("low rank", fmt.Errorf("want b [%d %d]", y.cols(), a.Dim(0)), y, x, a, b)
	}
	op := driver.BatchMatMul{Batch: 1, Heads: 1, M: y.rows(), N: y.cols(), K: b.cols(), TransposeB: true, Accumulate: true}
	op.A = driver.Strided{Buf: u.buf, Off: u.off, Row: op.K}
	op.B = driver.Strided{Buf: b.buf, Off: b.off, Row: op.K}
	op.C = driver.Strided{Buf: y.buf, Off: y.off, Row: op.N}
	p.fail("low rank", p.stream.BatchMatMul(op), y, x, a, b)
	z := p.header()
	*z = *y
	z.grad, z.needs, z.parameter = nil, false, false
	if p.tracks(z, y, u, b) {
		p.note("low rank", z, func(dz *Tensor) error {
			return errors.Join(p.matMulGrad(op, u, b, dz), p.hand(y, z, dz, true))
		})
	}
	return z
}
