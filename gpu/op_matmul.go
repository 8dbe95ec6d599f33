package gpu

import (
	"errors"
	"fmt"

	"sower/gpu/driver"
)

// Transposition says how MatMul reads its second operand.
type Transposition bool

// NoTranspose: b is [K N]. TransposeB: b is [N K], as PyTorch keeps the weights of Linear.
const (
	NoTranspose Transposition = false
	TransposeB  Transposition = true
)

// MatMul returns x [.. K] times b. b is a packed weight [N K] (with TransposeB), or a matrix [K N] or [N K], or as many
// matrices [B K N] or [B N K] as x [B M K] has.
func (p *Pass) MatMul(x, b *Tensor, transpose Transposition) *Tensor {
	if !p.want("matmul", F32, x) {
		return placeholder
	}
	var dims [maxRank]int
	shape := dims[:copy(dims[:], x.Shape())]
	last := len(shape) - 1
	if b.Packed() {
		if transpose != TransposeB || b.cols() != x.cols() {
			return p.fail("matmul", fmt.Errorf("want TransposeB and a weight [N %d]", x.cols()), x, b)
		}
		shape[last] = b.Dim(0)
		y := p.alloc("matmul", F32, shape...)
		if p.err == nil {
			p.fail("matmul", p.stream.MatMul(y.view(), y.cols(), x.view(), x.rows(), b.matrix), x, b)
		}
		if p.tracks(y, x) {
			p.note("matmul", y, func(dy *Tensor) error { return p.matMulInput(x, dy, b) })
		}
		return y
	}
	if !p.want("matmul", F32, b) {
		return placeholder
	}
	if b.rank < 2 {
		return p.fail("matmul", fmt.Errorf("the second operand must have two axes or more"), x, b)
	}
	k, n := b.Dim(-2), b.Dim(-1)
	if transpose == TransposeB {
		k, n = n, k
	}
	op := driver.BatchMatMul{Batch: 1, Heads: 1, M: x.rows(), N: n, K: k, TransposeB: bool(transpose)}
	if b.rank > 2 {
		op.Batch, op.M = product(b.dims[:b.rank-2]), x.Dim(-2)
	}
	if k != x.cols() || op.Batch*op.M != x.rows() {
		return p.fail("matmul", fmt.Errorf("inner or batch axes differ"), x, b)
	}
	shape[last] = n
	y := p.alloc("matmul", F32, shape...)
	if p.err != nil {
		return placeholder
	}
	op.A = driver.Strided{Buf: x.buf, Off: x.off, Batch: op.M * k, Row: k}
	op.B = driver.Strided{Buf: b.buf, Off: b.off, Batch: k * n, Row: b.cols()}
	op.C = driver.Strided{Buf: y.buf, Off: y.off, Batch: op.M * n, Row: n}
	p.fail("matmul", p.stream.BatchMatMul(op), x, b)
	if p.tracks(y, x, b) {
		op := op // only this copy is on the heap
		p.note("matmul", y, func(dy *Tensor) error { return p.matMulGrad(op, x, b, dy) })
	}
	return y
}

// matMulInput gives x the gradient dy·w of a product with a packed weight.
func (p *Pass) matMulInput(x, dy, w *Tensor) error {
	return p.addTo(x, func(dx driver.View, accumulate bool) error {
		return p.stream.MatMulInput(dx, dy.view(), w.Dim(0), dy.rows(), w.matrix, accumulate)
	})
}

// matMulGrad gives both factors of a product C = A·B or A·Bᵀ their gradients: dA = dC·Bᵀ or dC·B, and dB = Aᵀ·dC or dCᵀ·A.
func (p *Pass) matMulGrad(op driver.BatchMatMul, x, b, dy *Tensor) error {
	dc := op.C
	dc.Buf, dc.Off = dy.buf, dy.off
	err := p.addTo(x, func(dx driver.View, accumulate bool) error {
		back := driver.BatchMatMul{C: op.A, A: dc, B: op.B, Batch: op.Batch, Heads: 1, M: op.M, N: op.K, K: op.N,
			TransposeB: !op.TransposeB, Accumulate: accumulate}
		back.C.Buf, back.C.Off = dx.Buf, dx.Off
		return p.stream.BatchMatMul(back)
	})
	return errors.Join(err, p.addTo(b, func(db driver.View, accumulate bool) error {
		back := driver.BatchMatMul{C: op.B, A: op.A, B: dc, Batch: op.Batch, Heads: 1, M: op.K, N: op.N, K: op.M, TransposeA: true,
			Accumulate: accumulate}
		if op.TransposeB {
			back.A, back.B, back.M, back.N = dc, op.A, op.N, op.K
		}
		back.C.Buf, back.C.Off = db.Buf, db.Off
		return p.stream.BatchMatMul(back)
	}))
}

// Linear returns x [.. K]·wᵀ + bias for a packed weight w [N K] and a bias [N], which may be nil.
func (p *Pass) Linear(x, w, bias *Tensor) *Tensor { return p.fused(x, w, bias, 0, false, nil) }

// LinearGELU returns GELU(x·wᵀ + bias).
func (p *Pass) LinearGELU(x, w, bias *Tensor) *Tensor {
	return p.fused(x, w, bias, driver.GELU, true, nil)
}

// LinearTanh returns tanh(x·wᵀ + bias).
func (p *Pass) LinearTanh(x, w, bias *Tensor) *Tensor {
	return p.fused(x, w, bias, driver.Tanh, true, nil)
}

// LinearReLU returns max(x·wᵀ + bias, 0).
func (p *Pass) LinearReLU(x, w, bias *Tensor) *Tensor {
	return p.fused(x, w, bias, driver.ReLU, true, nil)
}

// LinearAdd returns x·wᵀ + bias + residual, a layer and the connection around it.
func (p *Pass) LinearAdd(x, w, bias, residual *Tensor) *Tensor {
	return p.fused(x, w, bias, 0, false, residual)
}

func (p *Pass) fused(x, w, bias *Tensor, f driver.Func, apply bool, residual *Tensor) *Tensor {
	if p.dense != nil && p.err == nil && !w.Packed() && w.rank == 2 {
		return p.trainedLayer(x, w, bias, f, apply, residual)
	}
	if p.linear == nil || p.err != nil || !w.Packed() || apply && p.training() {
		return p.composed(x, w, bias, f, apply, residual)
	}
	if !p.want("linear", F32, x) || bias != nil && !p.want("linear", F32, bias) ||
		residual != nil && !p.want("linear", F32, residual) {
		return placeholder
	}
	var dims [maxRank]int
	shape := dims[:copy(dims[:], x.Shape())]
	shape[len(shape)-1] = w.Dim(0)
	n := product(shape)
	if w.cols() != x.cols() || bias != nil && bias.Len() != w.Dim(0) || residual != nil && residual.Len() != n {
		return p.composed(x, w, bias, f, apply, residual) // which says what is wrong
	}
	y := p.alloc("linear", F32, shape...)
	if p.err != nil {
		return placeholder
	}
	var biasView, residualView driver.View
	if bias != nil {
		biasView = bias.view()
	}
	if residual != nil {
		residualView = residual.view()
	}
	p.fail("linear", p.linear.Linear(y.view(), x.view(), x.rows(), w.matrix, biasView, f, apply, residualView), x, w)
	if p.tracks(y, x, bias, residual) {
		p.note("linear", y, func(dy *Tensor) error {
			return errors.Join(p.matMulInput(x, dy, w), p.sumRows(bias, dy), p.hand(residual, y, dy, true))
		})
	}
	return y
}

// trainedLayer is fused for a weight that is not packed: in one operation forward, and with the gradient of f in place.
func (p *Pass) trainedLayer(x, w, bias *Tensor, f driver.Func, apply bool, residual *Tensor) *Tensor {
	if !p.want("linear", F32, x, w) || bias != nil && !p.want("linear", F32, bias) || residual != nil && !p.want("linear", F32, residual) {
		return placeholder
	}
	var dims [maxRank]int
	shape := dims[:copy(dims[:], x.Shape())]
	m, n, k := x.rows(), w.Dim(0), x.cols()
	shape[len(shape)-1] = n
	if w.cols() != k || bias != nil && bias.Len() != n || residual != nil && residual.Len() != m*n {
		return p.composed(x, w, bias, f, apply, residual) // which says what is wrong
	}
	y := p.alloc("linear", F32, shape...)
	if p.err != nil {
		return placeholder
	}
	args := driver.DenseArgs{Y: y.view(), X: x.view(), W: w.view(), M: m, N: n, K: k, F: f, Apply: apply}
	if bias != nil {
		args.Bias = bias.view()
	}
	if residual != nil {
		args.Residual = residual.view()
	}
	tracked := p.tracks(y, x, w, bias, residual)
	var pre *Tensor
	if tracked && apply {
		if pre = p.alloc("linear", F32, shape...); p.err != nil {
			return placeholder
		}
		args.Pre = pre.view()
	}
	p.fail("linear", p.dense.Dense(args), x, w)
	if tracked {
		op := driver.BatchMatMul{Batch: 1, Heads: 1, M: m, N: n, K: k, TransposeB: true, A: driver.Strided{Buf: x.buf, Off: x.off, Row: k},
			B: driver.Strided{Buf: w.buf, Off: w.off, Row: k}, C: driver.Strided{Buf: y.buf, Off: y.off, Row: n}}
		p.note("linear", y, func(dy *Tensor) error {
			if pre != nil {
				if err := p.stream.ApplyGrad(f, dy.view(), dy.view(), pre.view()); err != nil {
					return err
				}
				p.release(pre)
			}
			return errors.Join(p.matMulGrad(op, x, w, dy), p.sumRows(bias, dy), p.hand(residual, y, dy, true))
		})
	}
	return y
}

func (p *Pass) composed(x, w, bias *Tensor, f driver.Func, apply bool, residual *Tensor) *Tensor {
	y := p.MatMul(x, w, TransposeB)
	if bias != nil {
		y = p.AddBias(y, bias)
	}
	if apply {
		y = p.apply(f, y)
	}
	if residual != nil {
		y = p.Add(y, residual)
	}
	return y
}
