package cpu

import "sower/gpu/driver"

// Products of large matrices that are not packed as weights are: those of parameters and of their gradients. Factors are packed once
// and shared, where batchTask packs for each block.

// wide is the number of multiply-adds from which packing once pays.
const wide = 1 << 23

// splitSteps is the length of the parts that a long sum is cut into, where the result is small and could not be shared otherwise. The
// cut depends on the sizes alone, and so do the bits.
const splitSteps = 2 * kBlock

// maxSplit bounds the results of the parts, in elements.
const maxSplit = 1 << 22

// parts is the number of parts of a product; 1 does not cut.
func parts(a *driver.BatchMatMul) int {
	n := (a.K + splitSteps - 1) / splitSteps
	if !a.TransposeA || a.Batch*a.Heads != 1 || a.M*a.N*a.K < wide || n < 2 || n*a.M*a.N > maxSplit {
		return 1
	}
	return n
}

// split multiplies parts of k side by side and adds them up in order.
func (s *stream) split(a driver.BatchMatMul, parts int) {
	size := a.M * a.N
	if cap(s.partial) < parts*size {
		s.partial = aligned(parts * size)
	}
	sums := &buffer{f: s.partial[:parts*size]}
	t := &s.batch
	t.kernels = s.exact
	t.BatchMatMul = a
	t.C = driver.Strided{Buf: sums, Batch: size, Row: a.N}
	t.A.Batch, t.B.Batch = splitSteps*a.A.Row, splitSteps*a.B.Row
	t.Batch, t.Accumulate = parts, false
	t.part, t.rows = splitSteps, roundUp(a.M, rowBlock)
	t.set(parts * ((a.N + colBlock - 1) / colBlock))
	s.run(t, t.n, true)
	t.part = 0
	c := a.C.Buf.(*buffer).f[a.C.Off:]
	s.each(a.M, a.N*parts, func(_ *worker, i, end int) {
		for ; i < end; i++ {
			row := c[i*a.C.Row:][:a.N]
			for p := range parts {
				from := sums.f[p*size+i*a.N:][:a.N]
				if p == 0 && !a.Accumulate {
					copy(row, from)
				} else {
					addRow(row, row, from)
				}
			}
		}
	})
}

// panelsTask packs the second factor of a product.
type panelsTask struct {
	pieces
	*kernels
	dst, src   []float32
	stride     int
	n, k       int
	transposed bool
}

// panelsStep is how many columns a piece packs.
const panelsStep = colBlock

func (t *panelsTask) run(w *worker) {
	p, steps := w.packer(t.kernels), t.steps(t.k)
	for i, ok := t.take(); ok; i, ok = t.take() {
		j := i * panelsStep
		n := min(panelsStep, t.n-j)
		p.panels(t.dst[j*steps:], t.src, t.stride, j, n, t.k, t.transposed)
	}
}

// wideMatMul is a product of many rows.
func (s *stream) wideMatMul(a driver.BatchMatMul, k *kernels) {
	t := &s.multiply
	t.bias, t.residual, t.apply = nil, nil, false
	t.y, t.stride, t.accumulate = strided(a.C, 0, 0), a.C.Row, a.Accumulate
	s.multiplyOnce(k, strided(a.A, 0, 0), a.A.Row, a.M, a.K, strided(a.B, 0, 0), a.B.Row, a.N, a.TransposeB)
}

// Dense adds what follows a product to it, block by block.
func (s *stream) Dense(a driver.DenseArgs) error {
	t := &s.multiply
	t.bias, t.residual = nil, nil
	t.y, t.stride, t.f, t.apply = floats(a.Y), a.N, a.F, a.Apply
	for _, o := range []struct {
		to   *[]float32
		from driver.View
	}{{&t.pre, a.Pre}, {&t.bias, a.Bias}, {&t.residual, a.Residual}} {
		if o.from.Buf != nil {
			*o.to = floats(o.from)
		}
	}
	s.multiplyOnce(s.kernels, floats(a.X), a.K, a.M, a.K, floats(a.W), a.K, a.N, true)
	return nil
}

// inCache bounds, in elements, the rows of a block and all of the second factor together, if they are to stay in the L2 cache: 1 MiB.
const inCache = 1 << 18

// multiplyOnce runs s.multiply, which has its results set, on factors x [m k] and b [k n], or [n k] if transposed. The second factor is packed
// once. So is the first, unless its blocks are multiplied by all of the second at a time.
func (s *stream) multiplyOnce(kernels *kernels, x []float32, xStride, m, k int, b []float32, bStride, n int, transposed bool) {
	steps, share := kernels.steps(k), m*n*k >= small
	if need := roundUp(n, kernels.width) * steps; cap(s.panelled) < need {
		s.panelled = aligned(need)
	}
	p := &s.panels
	p.kernels, p.dst, p.src, p.stride, p.n, p.k, p.transposed = kernels, s.panelled, b, bStride, n, k, transposed
	p.set((n + panelsStep - 1) / panelsStep)
	s.run(p, p.n, share)
	t := &s.multiply
	s.once = matrix{kernels: kernels, rows: n, cols: k, k: steps, panels: s.panelled}
	t.m, t.w, t.rows, t.cols = m, &s.once, rowBlock, colBlock
	if tallest := kernels.heights[0]; (rowBlock+n)*steps <= inCache {
		t.src, t.srcStride = x, xStride
		t.rows = max(tallest, min(rowBlock, roundUp(m/(4*s.pool.threads), tallest)))
		t.set((m + t.rows - 1) / t.rows)
	} else {
		s.packAll(kernels, x, xStride, m, k, steps, share)
		t.x = s.pack.dst
		t.set((m + t.rows - 1) / t.rows * ((n + t.cols - 1) / t.cols))
	}
	s.run(t, t.n, share)
	t.src, t.pre, t.accumulate = nil, nil, false
}
