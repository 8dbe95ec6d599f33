package cpu

import (
	"math"

	"sower/gpu/driver"
)

// rowKind says which operation a rowsTask runs.
type rowKind uint8

const (
	kindAdd rowKind = iota
	kindApply
	kindLayerNorm
	kindSoftmax
)

// rowsTask runs an operation on rows of cols elements; a piece is a number of rows.
type rowsTask struct {
	pieces
	kind               rowKind
	cols, count, step  int // elements of a row, rows, rows of a piece
	y, x, weight, bias []float32
	f                  driver.Func
	number             float32 // eps or scale
	causal             int
}

func (t *rowsTask) run(*worker) {
	for i, ok := t.take(); ok; i, ok = t.take() {
		for r := i * t.step; r < min((i+1)*t.step, t.count); r++ {
			y, x := t.y[r*t.cols:][:t.cols], t.x[r*t.cols:][:t.cols]
			switch t.kind {
			case kindAdd:
				b := t.bias
				if len(b) != t.cols { // not repeated
					b = b[r*t.cols:]
				}
				addRow(y, x, b[:t.cols])
			case kindApply:
				applyRow(t.f, y, x)
			case kindLayerNorm:
				layerNormRow(y, x, t.weight, t.bias, t.number)
			case kindSoftmax:
				copy(y, x)
				seen := t.cols
				if t.causal > 0 {
					seen += r%t.causal + 1 - t.causal
				}
				softmaxRow(y[:seen], t.number)
				clear(y[seen:])
			}
		}
	}
}

// runRows shares rows among the threads in pieces of some 16 Ki elements.
func (s *stream) runRows(t *rowsTask, elements int) error {
	t.count = elements / t.cols
	t.step = max(1, 1<<14/t.cols)
	t.set((t.count + t.step - 1) / t.step)
	s.run(t, t.n, true)
	return nil
}

// flat chooses a row length for an elementwise operation on n elements: any will do.
func flat(n int) int {
	for _, cols := range [...]int{4096, 1408, 1024, 768, 64} {
		if n%cols == 0 {
			return cols
		}
	}
	return n
}

func (s *stream) Add(y, a, b driver.View) error {
	t := &s.rows
	t.kind, t.y, t.x, t.bias, t.cols = kindAdd, floats(y), floats(a), floats(b), b.N
	if a.N == b.N {
		t.cols = flat(a.N)
	}
	return s.runRows(t, a.N)
}

func (s *stream) Apply(f driver.Func, y, x driver.View) error {
	t := &s.rows
	t.kind, t.f, t.y, t.x, t.cols = kindApply, f, floats(y), floats(x), flat(x.N)
	return s.runRows(t, x.N)
}

// copyTask copies rows; a piece is a number of them.
type copyTask struct {
	pieces
	to, from             []float32
	toStride, fromStride int
	rows, cols, step     int
}

func (t *copyTask) run(*worker) {
	for i, ok := t.take(); ok; i, ok = t.take() {
		for r := i * t.step; r < min((i+1)*t.step, t.rows); r++ {
			to := t.to[r*t.toStride:]
			copy(to[:min(t.cols, len(to))], t.from[r*t.fromStride:]) // the last row may be shorter
		}
	}
}

// Copy shares large copies: one thread does not fill the bandwidth of memory.
func (s *stream) Copy(dst driver.View, dstStride int, src driver.View, srcStride int, rows, cols int) error {
	t, elements := &s.copies, rows*cols
	t.to, t.from, t.toStride, t.fromStride, t.rows, t.cols = floats(dst), floats(src), dstStride, srcStride, rows, cols
	if rows == 1 {
		const chunk = 4096
		t.to, t.from = t.to[:cols], t.from[:cols]
		t.toStride, t.fromStride, t.rows, t.cols = chunk, chunk, (cols+chunk-1)/chunk, chunk
	}
	t.step = max(1, 1<<14/t.cols)
	t.set((t.rows + t.step - 1) / t.step)
	s.run(t, t.n, elements >= 1<<15)
	return nil
}

func applyRow(f driver.Func, y, x []float32) {
	switch f {
	case driver.GELU:
		geluRow(y, x)
	case driver.Tanh:
		tanhRow(y, x)
	case driver.ReLU:
		reluPlain(y, x)
	case driver.SiLU:
		siluPlain(y, x)
	}
}

func (s *stream) LayerNorm(y, x, weight, bias driver.View, cols int, eps float32) error {
	t := &s.rows
	t.kind, t.y, t.x, t.weight, t.bias = kindLayerNorm, floats(y), floats(x), floats(weight), floats(bias)
	t.cols, t.number = cols, eps
	return s.runRows(t, x.N)
}

func (s *stream) Softmax(y, x driver.View, cols int, scale float32, causal int) error {
	t := &s.rows
	t.kind, t.y, t.x, t.cols, t.number, t.causal = kindSoftmax, floats(y), floats(x), cols, scale, causal
	return s.runRows(t, x.N)
}

// nearestTask finds the nearest rows of a table; a piece is as many rows of x as a tile has. The products with all of the table never go to
// memory: each tile is compared as soon as it is made, panels in ascending order, so that ties keep the lowest number.
type nearestTask struct {
	pieces
	ids      []int32
	x, norms []float32
	m        int
	table    *matrix
}

func (t *nearestTask) run(w *worker) {
	k, steps, width := t.table.cols, t.table.k, t.table.width
	tall := t.table.heights[0]
	p := w.packer(t.table.kernels)
	for i, ok := t.take(); ok; i, ok = t.take() {
		r0 := i * tall
		h := min(tall, t.m-r0)
		scratch := w.floats(tall * (steps + width))
		packed, dot := scratch[:h*steps], scratch[tall*steps:]
		p.rows(packed, t.x[r0*k:], k, h, k)
		var length, best [maxHeight]float32
		var at [maxHeight]int32
		for r := range h {
			best[r] = float32(math.Inf(1))
			for _, v := range t.x[(r0+r)*k:][:k] {
				length[r] += v * v
			}
		}
		for j := 0; j < t.table.rows; j += width {
			w.multiplyBlock(t.table.kernels, dot, width, packed, 0, h, t.table.panels[j*steps:], 0, width, steps, false)
			norms := t.norms[j:min(j+width, len(t.norms))]
			for r := range h {
				for q, norm := range norms {
					if d := (length[r] + norm) - 2*dot[r*width+q]; d < best[r] {
						best[r], at[r] = d, int32(j+q)
					}
				}
			}
		}
		copy(t.ids[r0:], at[:h])
	}
}

func (s *stream) Nearest(y, x driver.View, table driver.Matrix, norms driver.View) error {
	t := &s.nearest
	t.ids, t.x, t.norms, t.table = ids(y), floats(x), floats(norms), table.(*matrix)
	t.m = len(t.ids)
	tall := t.table.heights[0]
	t.set((t.m + tall - 1) / tall)
	s.run(t, t.n, t.m*t.table.rows*t.table.cols >= small)
	return nil
}
