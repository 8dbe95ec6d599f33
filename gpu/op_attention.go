package gpu

import (
	"fmt"
	"math"

	"sower/gpu/driver"
)

// Attention returns softmax(q·kᵀ/√D)·v for each head: q [B Tq E], k and v [B Tk E] → [B Tq E], heads being consecutive
// groups of D = E/heads channels. Operands may be views made by Split3.
func (p *Pass) Attention(q, k, v *Tensor, heads int, mask Mask) *Tensor {
	if p.err != nil {
		return placeholder
	}
	for _, t := range [...]*Tensor{q, k, v} {
		if t.dtype != F32 || t.Packed() || t.rank != 3 || t.Dim(0) != q.Dim(0) || t.Dim(2) != q.Dim(2) ||
			t != q && t.Dim(1) != k.Dim(1) {
			return p.fail("attention", fmt.Errorf("want q [B Tq E], k and v [B Tk E]"), q, k, v)
		}
	}
	b, tq, tk, e := q.Dim(0), q.Dim(1), k.Dim(1), q.Dim(2)
	if heads < 1 || e%heads != 0 {
		return p.fail("attention", fmt.Errorf("%d channels do not split into %d heads", e, heads), q, k, v)
	}
	if mask == Causal && tq > tk {
		return p.fail("attention", fmt.Errorf("a causal mask wants Tq ≤ Tk"), q, k, v)
	}
	y := p.alloc("attention", F32, b, tq, e)
	if p.err != nil {
		return placeholder
	}
	d := e / heads
	args := driver.AttentionArgs{Y: byHead(y, d), Q: byHead(q, d), K: byHead(k, d), V: byHead(v, d), Batch: b, Heads: heads,
		Tq: tq, Tk: tk, Width: d, Scale: float32(1 / math.Sqrt(float64(d))), Causal: bool(mask)}
	if p.fuse {
		p.fail("attention", p.stream.Attention(args), q, k, v)
	} else {
		p.composedAttention(args)
	}
	return y
}

// composedAttention is Attention in three operations, with the scores in memory.
func (p *Pass) composedAttention(a driver.AttentionArgs) {
	scores := p.alloc("attention", F32, a.Batch, a.Heads, a.Tq, a.Tk)
	if p.err != nil {
		return
	}
	s := driver.Strided{Buf: scores.buf, Batch: a.Heads * a.Tq * a.Tk, Head: a.Tq * a.Tk, Row: a.Tk}
	p.fail("attention", p.stream.BatchMatMul(driver.BatchMatMul{C: s, A: a.Q, B: a.K, Batch: a.Batch, Heads: a.Heads,
		M: a.Tq, N: a.Tk, K: a.Width, TransposeB: true}))
	probabilities := p.Softmax(scores, a.Scale, Mask(a.Causal))
	s.Buf = probabilities.buf
	if p.err == nil {
		p.fail("attention", p.stream.BatchMatMul(driver.BatchMatMul{C: a.Y, A: s, B: a.V, Batch: a.Batch, Heads: a.Heads,
			M: a.Tq, N: a.Width, K: a.Tk}))
	}
}

// byHead sees [B T E] as [B heads T d].
func byHead(t *Tensor, d int) driver.Strided {
	return driver.Strided{Buf: t.buf, Off: t.off, Batch: t.Dim(1) * t.stride, Head: d, Row: t.stride}
}
