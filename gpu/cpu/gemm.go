package cpu

import (
	"sync/atomic"

	"sower/gpu/driver"
)

// Block sizes: a block of k of one panel of B (16 KiB with AVX2) stays in the L1 cache while the rows pass by, the rows'
// block (135 KiB) and the block of C (101 KiB) in L2. kBlock is the same for all kernels, and so is what they round.
const (
	kBlock   = 256
	rowBlock = 132 // a multiple of the tallest tiles, 6 and 12
	colBlock = 192 // a multiple of every width of a panel
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

// multiplyBlock writes c = rows [i0, i1) of packed a times columns [j0, j1) of panels b. c begins at row 0 and column 0; a
// group of rows begins at i0 and a panel at j0.
func (w *worker) multiplyBlock(k *kernels, c []float32, stride int, a []float32, i0, i1 int, b []float32, j0, j1, steps int) {
	for p := 0; p < steps; {
		kc := kStep(p, steps)
		for j := j0; j < j1; j += k.width {
			panel := b[j*steps+p*k.width:][:kc*k.width]
			var next []float32
			if j+k.width < j1 {
				next = b[(j+k.width)*steps+p*k.width:][:kc*k.width]
			}
			cols, vectors := min(k.width, j1-j), 2
			if cols <= k.width/2 {
				vectors = 1
			}
			for i := i0; i < i1; {
				h := k.height(i1 - i)
				rows := a[i*steps+p*h:][:kc*h]
				if cols == k.width || cols == k.width/2 {
					k.tile(h, vectors, kc/4, rows, panel, c[i*stride+j:], stride, p > 0, next)
				} else {
					edge := w.edge[:]
					k.tile(h, vectors, kc/4, rows, panel, edge, k.width, false, next)
					for r := range h {
						to, from := c[(i+r)*stride+j:][:cols], edge[r*k.width:][:cols]
						if p == 0 {
							copy(to, from)
							continue
						}
						for q := range to {
							to[q] += from[q]
						}
					}
				}
				i += h
				next = next[min(k.fetch, len(next)):]
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
	k, m, step int
}

func (t *packTask) run(w *worker) {
	p := w.packer(t.kernels)
	for i, ok := t.take(); ok; i, ok = t.take() {
		r := i * t.step
		p.rows(t.dst[r*t.steps(t.k):], t.src[r*t.k:], t.k, min(t.step, t.m-r), t.k)
	}
}

// multiplyTask computes y = f(x·wᵀ + bias) + residual in blocks.
type multiplyTask struct {
	pieces
	y, x           []float32 // x packed
	m, rows, cols  int       // rows and cols of a block
	w              *matrix
	bias, residual []float32 // nil if there is none
	f              driver.Func
	apply          bool
}

func (t *multiplyTask) run(w *worker) {
	down := (t.m + t.rows - 1) / t.rows
	for i, ok := t.take(); ok; i, ok = t.take() {
		i0, j0 := i%down*t.rows, i/down*t.cols
		i1, j1 := min(i0+t.rows, t.m), min(j0+t.cols, t.w.rows)
		w.multiplyBlock(t.w.kernels, t.y, t.w.rows, t.x, i0, i1, t.w.panels, j0, j1, t.w.k)
		if t.bias == nil && !t.apply && t.residual == nil {
			continue
		}
		for r := i0; r < i1; r++ { // while the block is in the cache
			row := t.y[r*t.w.rows+j0 : r*t.w.rows+j1]
			if t.bias != nil {
				addRow(row, row, t.bias[j0:j1])
			}
			if t.apply {
				applyRow(t.f, row, row)
			}
			if t.residual != nil {
				addRow(row, row, t.residual[r*t.w.rows+j0:r*t.w.rows+j1])
			}
		}
	}
}

func (s *stream) MatMul(y, x driver.View, m int, w driver.Matrix) error {
	return s.Linear(y, x, m, w, driver.View{}, 0, false, driver.View{})
}

func (s *stream) Linear(y, x driver.View, m int, w driver.Matrix, bias driver.View, f driver.Func, apply bool,
	residual driver.View) error {
	weight := w.(*matrix)
	share := m*weight.rows*weight.cols >= small
	if need := m * weight.k; cap(s.packed) < need {
		s.packed = aligned(need)
	}
	tallest := weight.heights[0]
	s.pack.kernels, s.pack.dst, s.pack.src = weight.kernels, s.packed[:m*weight.k], floats(x)
	s.pack.k, s.pack.m = weight.cols, m
	s.pack.step = max(tallest, min(rowBlock, roundUp(m/(2*s.pool.threads), tallest)))
	s.pack.set((m + s.pack.step - 1) / s.pack.step)
	s.run(&s.pack, s.pack.n, share)

	t := &s.multiply
	t.y, t.x, t.m, t.w = floats(y), s.pack.dst, m, weight
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

// batchTask multiplies many matrices; a piece is a block of columns of one of them.
type batchTask struct {
	pieces
	*kernels
	driver.BatchMatMul
}

func (t *batchTask) run(w *worker) {
	across := (t.N + colBlock - 1) / colBlock
	steps, p := t.steps(t.K), w.packer(t.kernels)
	for i, ok := t.take(); ok; i, ok = t.take() {
		batch, head, j0 := i/across/t.Heads, i/across%t.Heads, i%across*colBlock
		n := min(colBlock, t.N-j0)
		a, b, c := strided(t.A, batch, head), strided(t.B, batch, head), strided(t.C, batch, head)
		scratch := w.floats((roundUp(n, t.width) + rowBlock) * steps)
		panels, rows := scratch[:roundUp(n, t.width)*steps], scratch[roundUp(n, t.width)*steps:]
		p.panels(panels, b, t.B.Row, j0, n, t.K, t.TransposeB)
		for i0 := 0; i0 < t.M; i0 += rowBlock {
			m := min(rowBlock, t.M-i0)
			p.rows(rows, a[i0*t.A.Row:], t.A.Row, m, t.K)
			w.multiplyBlock(t.kernels, c[i0*t.C.Row+j0:], t.C.Row, rows, 0, m, panels, 0, n, steps)
		}
	}
}

func (s *stream) BatchMatMul(a driver.BatchMatMul) error {
	t := &s.batch
	t.kernels, t.BatchMatMul = s.kernels, a
	t.set(a.Batch * a.Heads * ((a.N + colBlock - 1) / colBlock))
	s.run(t, t.n, a.Batch*a.Heads*a.M*a.N*a.K >= small)
	return nil
}
