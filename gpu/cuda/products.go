//go:build cuda && linux && cgo

package cuda

import (
	"errors"

	"sower/gpu/cuda/kernels"
	"sower/gpu/driver"
)

// fewBlocks is how many blocks of large tiles leave too much of a GPU idle for them to pay.
const fewBlocks = 100

// multiply launches one product with the tile that suits its size; which one does not show in the bits.
func (s *stream) multiply(p *kernels.ProductArgs, form kernels.Form, small, large []kernels.Product) error {
	if p.M == 0 || p.N == 0 || p.Batch == 0 || p.Heads == 0 {
		return nil
	}
	k, many := &large[form], int(p.Batch)*int(p.Heads)
	if m := int(p.M); m <= small[form].TileM || k.Blocks(m, int(p.N))*many < fewBlocks {
		k = &small[form]
	}
	return run(s, k.Kernel, [3]uint32{uint32(k.Blocks(int(p.M), int(p.N)) * many), 1, 1}, k.Threads, k.Shared, p)
}

// multiplyF32 computes in float32, whatever operands are stored as.
func (s *stream) multiplyF32(p *kernels.ProductArgs, form kernels.Form) error {
	return s.multiply(p, form, kernels.SmallF32[:], kernels.LargeF32[:])
}

// multiply16 computes on tensor cores, of operands that are both of type t and meet what package kernels says of them.
func (s *stream) multiply16(p *kernels.ProductArgs, form kernels.Form, t uint32) error {
	if t == kernels.F16 {
		return s.multiply(p, form, kernels.SmallF16[:], kernels.LargeF16[:])
	}
	return s.multiply(p, form, kernels.SmallBF16[:], kernels.LargeBF16[:])
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }

// operand16 is x [rows cols], rows apart by the given number of elements, as tensor cores take it: itself where its type
// and place allow that, else a copy in scratch. Either way the result's rows are cols apart if cols is a multiple of 8, so
// that what is chosen by that does not depend on the place. It returns the number of elements from row to row, and where
// more bytes of scratch begin that the caller wants.
func (s *stream) operand16(x kernels.Ref, rows, cols, apart int, t uint32, more int) (a kernels.Ref, row int, rest uint64, err error) {
	direct := x.Type == t && x.Ptr%16 == 0 && apart%8 == 0 && cols%8 == 0
	ld := roundUp(cols, 8)
	bytes := roundUp(rows*ld*2, 256)
	if direct {
		bytes = 0
	}
	var ptr uint64
	if bytes+more > 0 {
		if ptr, err = s.scratch(bytes + more); err != nil {
			return a, 0, 0, err
		}
	}
	if direct {
		return x, apart, ptr, nil
	}
	args := kernels.PadRowsArgs{Y: kernels.Ref{Ptr: ptr, Type: t}, X: x, Rows: int64(rows), Cols: int64(cols), XRow: int64(apart), YRow: int64(ld)}
	return args.Y, ld, ptr + uint64(bytes), run(s, kernels.PadRows, flat(rows*ld/8), flatThreads, 0, &args)
}

// ref is the first element of a weight.
func (m *matrix) ref() kernels.Ref { return kernels.Ref{Ptr: m.ptr, Type: m.typ} }

func (s *stream) MatMul(y driver.View, stride int, x driver.View, m int, w driver.Matrix) error {
	return s.linear(kernels.ProductArgs{C: ref(y), CRow: int64(stride)}, ref(x), m, w.(*matrix))
}

// Linear has the bits of MatMul, Add, Apply and Add: after each step the sum is rounded to the type of y, in registers.
func (s *stream) Linear(y, x driver.View, m int, w driver.Matrix, bias driver.View, f driver.Func, apply bool, residual driver.View) error {
	weight := w.(*matrix)
	p := kernels.ProductArgs{C: ref(y), CRow: int64(weight.rows), Bias: ref(bias), Residual: ref(residual), ResidualRow: int64(weight.rows)}
	if apply {
		p.F = 1 + uint32(f)
	}
	return s.linear(p, ref(x), m, weight)
}

// linear completes and launches a product x·wᵀ.
func (s *stream) linear(p kernels.ProductArgs, x kernels.Ref, m int, w *matrix) error {
	if m == 0 {
		return nil
	}
	p.A, p.ARow, p.B, p.BRow = x, int64(w.cols), w.ref(), int64(w.ld)
	p.M, p.N, p.K, p.Batch, p.Heads = int32(m), int32(w.rows), int32(w.cols), 1, 1
	switch w.typ {
	case kernels.F32:
		return s.multiplyF32(&p, kernels.NT)
	case kernels.E4M3:
		return s.multiplyE4M3(&p, w)
	}
	way := s.way(&p)
	more := 0
	if way.plan != nil {
		more = way.plan.Workspace + sumBytes(&p)
	}
	var row int
	var rest uint64
	var err error
	if p.A, row, rest, err = s.operand16(x, m, w.cols, w.cols, w.typ, more); err != nil {
		return err
	}
	p.ARow = int64(row)
	switch {
	case way.plan != nil:
		return s.multiplyLt(&p, way.plan, rest)
	case way.hopper != nil:
		return s.multiplyHopper(&p, way.hopper)
	}
	return s.multiply16(&p, kernels.NT, w.typ)
}

func (s *stream) MatMulInput(dx, dy driver.View, stride, m int, w driver.Matrix, accumulate bool) error {
	if m == 0 {
		return nil
	}
	weight := w.(*matrix)
	p := kernels.ProductArgs{C: ref(dx), CRow: int64(weight.cols), A: ref(dy), ARow: int64(stride), B: weight.ref(), BRow: int64(weight.ld),
		M: int32(m), N: int32(weight.cols), K: int32(weight.rows), Batch: 1, Heads: 1}
	if accumulate {
		p.Accumulate = 1
	}
	switch weight.typ {
	case kernels.F32:
		return s.multiplyF32(&p, kernels.NN)
	case kernels.E4M3:
		return errors.New("cuda: gradients through a weight of 8 bits; train in bfloat16")
	}
	a, row, _, err := s.operand16(p.A, m, weight.rows, stride, weight.typ, 0)
	if err != nil {
		return err
	}
	p.A, p.ARow = a, int64(row)
	return s.multiply16(&p, kernels.NN, weight.typ)
}

// BatchMatMul computes in float32. Operands of products that are not gradients are first rounded to the precision of the
// device, as those of MatMul are.
func (s *stream) BatchMatMul(b driver.BatchMatMul) error {
	p := kernels.ProductArgs{C: refStrided(b.C), A: refStrided(b.A), B: refStrided(b.B),
		CRow: int64(b.C.Row), CBatch: int64(b.C.Batch), CHead: int64(b.C.Head), ARow: int64(b.A.Row), ABatch: int64(b.A.Batch),
		AHead: int64(b.A.Head), BRow: int64(b.B.Row), BBatch: int64(b.B.Batch), BHead: int64(b.B.Head),
		M: int32(b.M), N: int32(b.N), K: int32(b.K), Batch: int32(b.Batch), Heads: int32(b.Heads)}
	if b.Accumulate {
		p.Accumulate = 1
	}
	if !b.TransposeA && !b.Accumulate {
		p.Narrow = s.dev.precision
	}
	switch {
	case b.TransposeA:
		return s.multiplyF32(&p, kernels.TN)
	case b.TransposeB:
		return s.multiplyF32(&p, kernels.NT)
	}
	return s.multiplyF32(&p, kernels.NN)
}
