package gpu

import (
	"cmp"
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
	if p.tracks(y, q, k, v) {
		args := args // only this copy is on the heap
		p.note("attention", y, func(dy *Tensor) error { return p.attentionGrad(args, q, k, v, dy) })
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
	return driver.Strided{Buf: t.buf, Off: t.off, Batch: cmp.Or(t.batch, t.Dim(1)*t.stride), Head: d, Row: t.stride}
}

// attentionGrad gives q, k and v their gradients. Those that need none are computed all the same.
func (p *Pass) attentionGrad(args driver.AttentionArgs, q, k, v, dy *Tensor) error {
	grads := [3]*Tensor{}
	for i, t := range [...]*Tensor{q, k, v} {
		grads[i] = p.alloc("gradient", F32, t.Shape()...)
	}
	if p.err != nil {
		return nil // kept in the pass
	}
	d := args.Width
	err := p.stream.AttentionGrad(driver.AttentionGradArgs{AttentionArgs: args, DY: byHead(dy, d), DQ: byHead(grads[0], d),
		DK: byHead(grads[1], d), DV: byHead(grads[2], d)})
	for i, t := range [...]*Tensor{q, k, v} {
		switch {
		case err != nil || !t.needs:
			p.release(grads[i])
		case t.grad == nil:
			t.grad = grads[i]
		default: // one tensor in several roles
			err = p.stream.Add(t.grad.view(), t.grad.view(), grads[i].view())
			p.release(grads[i])
		}
	}
	return err
}

// CausalAttention is Attention of language models: q [B Tq heads·D], k and v [B Tk kvHeads·D] → [B Tq heads·D]. Query i
// sees keys starts[i] to Tk-Tq+i: starts, I32 [B Tq] or nil for 0, leaves out padding and, in rows of several documents,
// all but its own. A query that sees nothing gets zeros. Query head h reads key head h/(heads/kvHeads). Keys and values may be
// views made by Append.
func (p *Pass) CausalAttention(q, k, v *Tensor, heads, kvHeads int, starts *Tensor) *Tensor {
	if !p.want("causal attention", F32, q) || starts != nil && !p.want("causal attention", I32, starts) {
		return placeholder
	}
	fail := func(err error) *Tensor { return p.fail("causal attention", err, q, k, v) }
	if heads < 1 || kvHeads < 1 || heads%kvHeads != 0 || k.Packed() || v.Packed() || k.dtype != F32 || v.dtype != F32 || q.rank != 3 || k.rank != 3 || v.rank != 3 || q.Dim(2)%heads != 0 {
		return fail(fmt.Errorf("want q [B Tq %d·D], k and v [B Tk %d·D]", heads, kvHeads))
	}
	b, tq, tk, d := q.Dim(0), q.Dim(1), k.Dim(1), q.Dim(2)/heads
	if k.Dim(0) != b || v.Dim(0) != b || v.Dim(1) != tk || k.Dim(2) != kvHeads*d || v.Dim(2) != kvHeads*d || tq > tk {
		return fail(fmt.Errorf("want k and v [%d Tk %d] with Tk ≥ %d", b, kvHeads*d, tq))
	}
	args := driver.AttentionArgs{Q: byHead(q, d), K: byHead(k, d), V: byHead(v, d), Batch: b, Heads: heads, KVHeads: kvHeads, Tq: tq, Tk: tk,
		Width: d, Scale: float32(1 / math.Sqrt(float64(d))), Causal: true}
	if starts != nil {
		if starts.Len() != b*tq {
			return fail(fmt.Errorf("%d starts, want %d", starts.Len(), b*tq))
		}
		args.Starts = starts.view()
	}
	y := p.alloc("causal attention", F32, b, tq, heads*d)
	if p.err != nil {
		return placeholder
	}
	args.Y = byHead(y, d)
	p.fail("causal attention", p.stream.Attention(args), q, k, v)
	if p.tracks(y, q, k, v) {
		args := args // only this copy is on the heap
		p.note("causal attention", y, func(dy *Tensor) error { return p.attentionGrad(args, q, k, v, dy) })
	}
	return y
}
