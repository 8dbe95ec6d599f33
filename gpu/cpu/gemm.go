package cpu

import (
	"sync/atomic"

	"sower/gpu/driver"
)

// Block sizes: the rows' block of k (363 KiB), a panel's (44 KiB with AVX2, 88 with AVX-512) and the block of C (66 KiB) stay
// in L2, from where they come fast enough. Long blocks of k pay for what a tile does once, to load and store C. kBlock is
// the same for all kernels, and so is what they round.
const (
	kBlock   = 704
	rowBlock = 132 // a multiple of the tallest tiles, 6 and 12
	colBlock = 128 // a multiple of every width of a panel
)

// small is the number of multiply-adds below which sharing a product costs more than it gains, about 10 µs.
const small = 1 << 19

// kStep is the length of the block of k that starts at step p: kBlock, but the last two share what is left. It depends on
// the length of k alone, so that the order of summation does.
func kStep(p, steps int) int {
	switch left := steps - p; {
	case left <= kBlock:
		return left
	case left < 2*kBlock:
		return roundUp(left/2, 4)
	}
	return kBlock
}

// multiplyBlock writes c = rows [i0, i1) of packed a times columns [j0, j1) of panels b, or adds that to c. c begins at row 0 and column 0; a
// group of rows begins at i0 and a panel at j0.
func (w *worker) multiplyBlock(k *kernels, c []float32, stride int, a []float32, i0, i1 int, b []float32, j0, j1, steps int,
	accumulate bool) {
	w.multiplySpan(k, c, stride, a, steps, i0, i1, b, 0, steps, j0, j1, 0, steps, true, accumulate)
}

// multiplySpan is multiplyBlock for steps [from, to) of k, of which rows of a have aSteps, and panels of b bSteps from bFrom
// on. Unless their blocks are to be balanced, they begin at multiples of kBlock: then leaving out steps whose elements
// of a are 0 changes no bit.
func (w *worker) multiplySpan(k *kernels, c []float32, stride int, a []float32, aSteps, i0, i1 int, b []float32, bFrom, bSteps, j0, j1,
	from, to int, balanced, accumulate bool) {
	for p := from; p < to; {
		kc := min(kBlock-p%kBlock, to-p)
		if balanced {
			kc = kStep(p, to)
		}
		for j := j0; j < j1; j += k.width {
			panel := b[j*bSteps+(p-bFrom)*k.width:][:kc*k.width]
			var next []float32
			if j+k.width < j1 {
				next = b[(j+k.width)*bSteps+(p-bFrom)*k.width:][:kc*k.width]
			}
			cols, vectors := min(k.width, j1-j), 2
			if cols <= k.width/2 {
				vectors = 1
			}
			for i := i0; i < i1; {
				h := k.height(i1 - i)
				rows := a[i*aSteps+p*h:][:kc*h]
				if cols == k.width || cols == k.width/2 {
					k.tile(h, vectors, kc/4, rows, panel, c[i*stride+j:], stride, p > from || accumulate, next)
				} else {
					edge := w.edge[:]
					k.tile(h, vectors, kc/4, rows, panel, edge, k.width, false, next)
					for r := range h {
						row, sums := c[(i+r)*stride+j:][:cols], edge[r*k.width:][:cols]
						if p == from && !accumulate {
							copy(row, sums)
							continue
						}
						for q, v := range sums {
							row[q] += v
						}
					}
				}
				i += h
				next = next[min(4*kc, len(next)):] // what a tile fetches
			}
		}
		p += kc
	}
}

// pieces is a counter that threads take work from.
type pieces struct {
	n    int
	next atomic.Int64
}

func (p *pieces) set(n int) {
	p.n = n
	p.next.Store(0)
}

// take returns the next piece, or false when there is none.
func (p *pieces) take() (int, bool) {
	i := int(p.next.Add(1)) - 1
	return i, i < p.n
}

// packTask packs the rows of x for a product.
type packTask struct {
	pieces
	*kernels
	dst, src   []float32
	stride     int // of src
	k, m, step int
}

func (t *packTask) run(w *worker) {
	p := w.packer(t.kernels)
	for i, ok := t.take(); ok; i, ok = t.take() {
		r := i * t.step
		p.rows(t.dst[r*t.steps(t.k):], t.src[r*t.stride:], t.stride, min(t.step, t.m-r), t.k)
	}
}

// multiplyTask computes y = f(x·wᵀ + bias) + residual in blocks.
type multiplyTask struct {
	pieces
	y, x           []float32 // x packed, or nil: then a piece is a block of rows, of which it packs src
	src            []float32
	srcStride      int
	stride         int       // elements from row to row of y
	pre            []float32 // what f is applied to, rows as those of y, or nil
	m, rows, cols  int       // rows and cols of a block
	w              *matrix
	bias, residual []float32 // nil if there is none
	f              driver.Func
	apply          bool
	accumulate     bool
}

func (t *multiplyTask) run(w *worker) {
	if t.src != nil {
		t.runRows(w)
		return
	}
	down := (t.m + t.rows - 1) / t.rows
	for i, ok := t.take(); ok; i, ok = t.take() {
		i0, j0 := i%down*t.rows, i/down*t.cols
		i1, j1 := min(i0+t.rows, t.m), min(j0+t.cols, t.w.rows)
		w.multiplyBlock(t.w.kernels, t.products(), t.stride, t.x, i0, i1, t.w.panels, j0, j1, t.w.k, t.accumulate)
		t.finish(i0, i1, j0, j1)
	}
}

// runRows packs a block of rows and multiplies it by all of w while both are in the cache.
func (t *multiplyTask) runRows(w *worker) {
	p := w.packer(t.w.kernels)
	for i, ok := t.take(); ok; i, ok = t.take() {
		i0 := i * t.rows
		i1 := min(i0+t.rows, t.m)
		packed := w.floats(t.rows * t.w.k)
		p.rows(packed, t.src[i0*t.srcStride:], t.srcStride, i1-i0, t.w.cols)
		for j0 := 0; j0 < t.w.rows; j0 += t.cols {
			j1 := min(j0+t.cols, t.w.rows)
			w.multiplyBlock(t.w.kernels, t.products()[i0*t.stride:], t.stride, packed, 0, i1-i0, t.w.panels, j0, j1, t.w.k, t.accumulate)
			t.finish(i0, i1, j0, j1)
		}
	}
}

// products is where x·wᵀ goes.
func (t *multiplyTask) products() []float32 {
	if t.pre != nil {
		return t.pre
	}
	return t.y
}

// finish does what follows the products of a block, while it is in the cache.
func (t *multiplyTask) finish(i0, i1, j0, j1 int) {
	if t.bias == nil && !t.apply && t.residual == nil {
		return
	}
	sums := t.products()
	for r := i0; r < i1; r++ {
		from, to := r*t.stride+j0, r*t.stride+j1
		row, y := sums[from:to], t.y[from:to]
		if t.bias != nil {
			addRow(row, row, t.bias[j0:j1])
		}
		if t.apply {
			applyRow(t.f, y, row)
		}
		if t.residual != nil {
			addRow(y, y, t.residual[r*t.w.rows+j0:r*t.w.rows+j1])
		}
	}
}

func (s *stream) MatMul(y driver.View, stride int, x driver.View, m int, w driver.Matrix) error {
	return s.linear(y, stride, x, m, w.(*matrix), driver.View{}, 0, false, driver.View{})
}

func (s *stream) Linear(y, x driver.View, m int, w driver.Matrix, bias driver.View, f driver.Func, apply bool,
	residual driver.View) error {
	return s.linear(y, w.(*matrix).rows, x, m, w.(*matrix), bias, f, apply, residual)
}

// packAll packs m rows of k elements, stride apart, into s.pack.dst.
func (s *stream) packAll(kernels *kernels, x []float32, stride, m, k, steps int, share bool) {
	if need := m * steps; cap(s.packed) < need {
		s.packed = aligned(need)
	}
	t, tallest := &s.pack, kernels.heights[0]
	t.kernels, t.dst, t.src, t.k, t.m = kernels, s.packed[:m*steps], x, k, m
	t.stride = stride
	t.step = max(tallest, min(rowBlock, roundUp(m/(2*s.pool.threads), tallest)))
	t.set((m + t.step - 1) / t.step)
	s.run(t, t.n, share)
}

func (s *stream) linear(y driver.View, stride int, x driver.View, m int, weight *matrix, bias driver.View, f driver.Func, apply bool,
	residual driver.View) error {
	share := m*weight.rows*weight.cols >= small
	s.packAll(weight.kernels, floats(x), weight.cols, m, weight.cols, weight.k, share)
	t := &s.multiply
	t.y, t.stride, t.x, t.m, t.w = floats(y), stride, s.pack.dst, m, weight
	t.bias, t.residual, t.f, t.apply = nil, nil, f, apply
	if bias.Buf != nil {
		t.bias = floats(bias)
	}
	if residual.Buf != nil {
		t.residual = floats(residual)
	}
	t.rows, t.cols = rowBlock, colBlock
	blocks := func() int { return (m + t.rows - 1) / t.rows * ((weight.rows + t.cols - 1) / t.cols) }
	for share && blocks() < 3*s.pool.threads && t.cols > 2*weight.width {
		t.cols = roundUp(t.cols/2, weight.width)
	}
	t.set(blocks())
	s.run(t, t.n, share)
	return nil
}

// batchTask multiplies many matrices; a piece is a block of rows and columns of one of them.
type batchTask struct {
	pieces
	rows int // of a block
	part int // 0, or the steps of k that a matrix of the batch has of one long product
	*kernels
	driver.BatchMatMul
}

func (t *batchTask) run(w *worker) {
	across, down := (t.N+colBlock-1)/colBlock, (t.M+t.rows-1)/t.rows
	steps, p := t.steps(t.K), w.packer(t.kernels)
	for i, ok := t.take(); ok; i, ok = t.take() {
		matrix, block := i/(across*down), i%(across*down)
		batch, head, first, j0 := matrix/t.Heads, matrix%t.Heads, block/across*t.rows, block%across*colBlock
		n, last := min(colBlock, t.N-j0), min(first+t.rows, t.M)
		a, b, c := strided(t.A, batch, head), strided(t.B, batch, head), strided(t.C, batch, head)
		k := t.K
		if t.part > 0 {
			k = min(t.part, t.K-batch*t.part)
			steps = t.steps(k)
		}
		scratch := w.floats((roundUp(n, t.width) + rowBlock) * steps)
		panels, rows := scratch[:roundUp(n, t.width)*steps], scratch[roundUp(n, t.width)*steps:]
		p.panels(panels, b, t.B.Row, j0, n, k, t.TransposeB)
		for i0 := first; i0 < last; i0 += rowBlock {
			m := min(rowBlock, last-i0)
			if t.TransposeA {
				p.columnsAsRows(rows, a[i0:], t.A.Row, m, k)
			} else {
				p.rows(rows, a[i0*t.A.Row:], t.A.Row, m, k)
			}
			w.multiplyBlock(t.kernels, c[i0*t.C.Row+j0:], t.C.Row, rows, 0, m, panels, 0, n, steps, t.Accumulate)
		}
	}
}

func (s *stream) BatchMatMul(a driver.BatchMatMul) error {
	t := &s.batch
	t.kernels, t.BatchMatMul = s.kernels, a
	if a.TransposeA || a.Accumulate {
		t.kernels = s.exact
	}
	if n := parts(&a); n > 1 {
		s.split(a, n)
		return nil
	}
	if a.Batch*a.Heads == 1 && !a.TransposeA && a.M >= 2*rowBlock && a.M*a.N*a.K >= wide {
		s.wideMatMul(a, t.kernels)
		return nil
	}
	// Each piece packs what it multiplies, so rows are cut only where there would be too few pieces.
	t.rows = roundUp(a.M, rowBlock)
	pieces := func() int {
		return a.Batch * a.Heads * ((a.N + colBlock - 1) / colBlock) * ((a.M + t.rows - 1) / t.rows)
	}
	for t.rows > rowBlock && pieces() < 3*s.pool.threads {
		t.rows = roundUp(t.rows/2, rowBlock)
	}
	t.set(pieces())
	s.run(t, t.n, a.Batch*a.Heads*a.M*a.N*a.K >= small)
	return nil
}
