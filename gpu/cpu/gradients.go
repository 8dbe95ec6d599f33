package cpu

import (
	"errors"
	"math"

	"sower/gpu/driver"
)

// inputTask computes dx (+)= dy·w in blocks of columns of dx. The weight is packed for sums over its columns; each block
// turns the part that it needs around, 8x8 elements at a time and kBlock rows after each other, which costs a few percent
// of the products and a little of the cache.
type inputTask struct {
	pieces
	dx, dy     []float32 // dy packed
	m, cols    int       // cols of a block
	w          *matrix
	accumulate bool
}

func (t *inputTask) run(w *worker) {
	k := t.w.kernels
	steps := k.steps(t.w.rows)
	for i, ok := t.take(); ok; i, ok = t.take() {
		j0 := i * t.cols
		n := min(t.cols, t.w.cols-j0)
		for p := 0; p < steps; p += kBlock {
			end := min(p+kBlock, steps)
			panels := w.floats(roundUp(n, k.width) * (end - p))
			t.w.turn(panels, j0, n, p, end)
			for i0 := 0; i0 < t.m; i0 += rowBlock {
				w.multiplySpan(k, t.dx[j0:], t.w.cols, t.dy, steps, i0, min(i0+rowBlock, t.m), panels, p, end-p, 0, n, p, end, false, t.accumulate || p > 0)
			}
		}
	}
}

// turn packs columns [j0, j0+n) of rows [from, to) of the matrix as panels whose steps are these rows. from is a multiple of
// the width; what is beyond the last row is 0.
func (m *matrix) turn(panels []float32, j0, n, from, to int) {
	width := m.width
	for j := 0; j < n; j += width {
		panel := panels[j*(to-from):][:width*(to-from)]
		cols := min(width, n-j)
		for r := from; r < min(to, m.rows); r += width {
			// A square of the matrix: from [cols of k][width of rows] to [rows][width of columns].
			turnSquare(panel[(r-from)*width:], m.panels[r*m.k+(j0+j)*width:], min(width, m.rows-r), cols, width)
		}
		if to > m.rows {
			clear(panel[(m.rows-from)*width:])
		}
	}
}

// turnSquare writes to[r][c] = from[c][r] for rows x cols elements, both of the given width, and zeros for c ≥ cols.
func turnSquare(to, from []float32, rows, cols, width int) {
	c := 0
	if rows == width {
		for ; c+8 <= cols && transposeEight(to[c:], from[c*width:], width, rows, width) == rows; c += 8 {
		}
	}
	for ; c < width; c++ {
		for r := range rows {
			v := float32(0)
			if c < cols {
				v = from[c*width+r]
			}
			to[r*width+c] = v
		}
	}
}

func (s *stream) MatMulInput(dx, dy driver.View, stride, m int, w driver.Matrix, accumulate bool) error {
	weight := w.(*matrix)
	if weight.pairs {
		return errors.New("cpu: gradients of weights in bfloat16; train in float32")
	}
	steps := weight.steps(weight.rows)
	share := m*weight.rows*weight.cols >= small
	s.packAll(weight.kernels, floats(dy), stride, m, weight.rows, steps, share)
	t := &s.input
	t.dx, t.dy, t.m, t.w, t.accumulate = floats(dx), s.pack.dst, m, weight, accumulate
	// As many panels at a time as the cache has room for, but so that threads end together.
	panels, best := (weight.cols+weight.width-1)/weight.width, 0
	for n := 1; n <= 3; n++ {
		blocks := (panels + n - 1) / n
		if each := (blocks + s.pool.threads - 1) / s.pool.threads * n; best == 0 || each <= best {
			best, t.cols = each, n*weight.width
		}
	}
	t.set((weight.cols + t.cols - 1) / t.cols)
	s.run(t, t.n, share)
	return nil
}

// SumRows shares columns, not rows: each sum runs over the rows in order.
func (s *stream) SumRows(y, x driver.View, cols int) error {
	to, from := floats(y), floats(x)
	const strip = 64
	s.each((cols+strip-1)/strip, strip*len(from)/cols, func(_ *worker, a, b int) {
		lo, hi := a*strip, min(b*strip, cols)
		for r := 0; r < len(from); r += cols {
			addRow(to[lo:hi], to[lo:hi], from[r+lo:r+hi])
		}
	})
	return nil
}

func (s *stream) ApplyGrad(f driver.Func, dx, dy, x driver.View) error {
	to, from, in := floats(dx), floats(dy), floats(x)
	s.chunks(len(to), func(i, end int) {
		applyGradRow(f, to[i:end], from[i:end], in[i:end])
	})
	return nil
}

func applyGradRow(f driver.Func, dx, dy, x []float32) {
	switch f {
	case driver.GELU:
		geluGradRow(dx, dy, x)
	case driver.Tanh:
		tanhGradRow(dx, dy, x)
	case driver.ReLU:
		reluGradRow(dx, dy, x)
	default:
		applyGradPlain(f, dx, dy, x)
	}
}

// tanhGradRow has the derivative 1 - tanh².
func tanhGradRow(dx, dy, x []float32) {
	var t [256]float32
	for len(x) > 0 {
		n := min(len(x), len(t))
		tanhRow(t[:n], x[:n])
		for i, v := range t[:n] {
			dx[i] = float32(float64(dy[i]) * (1 - float64(v)*float64(v)))
		}
		dx, dy, x = dx[n:], dy[n:], x[n:]
	}
}

// reluGradRow takes no branch, as signs follow no pattern: a float is more than 0 where its bits, as an integer, are.
func reluGradRow(dx, dy, x []float32) {
	dx, dy = dx[:len(x)], dy[:len(x)]
	for i, v := range x {
		b := int32(math.Float32bits(v))
		dx[i] = math.Float32frombits(math.Float32bits(dy[i]) & uint32((-b&^b)>>31))
	}
}

// normRows is how many rows' gradients to the weight are added up before they are added to one another: the sums depend on the number of
// rows alone.
const normRows = 64

// normGrad is the gradient of both norms. Each chunk of rows sums up what it gives to the parameters; then the chunks are added in order.
func (s *stream) normGrad(dx, dweight, dbias, dy, x, weight driver.View, cols int, eps float32, centered bool) {
	to, from, in, w := floats(dx), floats(dy), floats(x), floats(weight)
	rows := len(in) / cols
	chunks := (rows + normRows - 1) / normRows
	if cap(s.partial) < 2*chunks*cols {
		s.partial = aligned(2 * chunks * cols)
	}
	sums := s.partial[:2*chunks*cols] // [chunks][2][cols]
	s.each(chunks, normRows*cols, func(_ *worker, c, end int) {
		for ; c < end; c++ {
			part := sums[2*c*cols:][:2*cols]
			clear(part)
			for r := c * normRows; r < min((c+1)*normRows, rows); r++ {
				d, y, x := to[r*cols:][:cols], from[r*cols:][:cols], in[r*cols:][:cols]
				switch {
				case centered:
					layerNormGradRow(d, y, x, w, part[:cols], part[cols:], eps)
				case dweight.Buf != nil:
					rmsNormGradRow(d, y, x, w, part[:cols], eps)
				default:
					rmsNormGradRow(d, y, x, w, nil, eps)
				}
			}
		}
	})
	for i, view := range []driver.View{dweight, dbias} {
		if view.Buf == nil {
			continue
		}
		sum := floats(view)
		for c := range chunks {
			addRow(sum, sum, sums[(2*c+i)*cols:][:cols])
		}
	}
}

func (s *stream) LayerNormGrad(dx, dweight, dbias, dy, x, weight driver.View, cols int, eps float32) error {
	s.normGrad(dx, dweight, dbias, dy, x, weight, cols, eps, true)
	return nil
}

func (s *stream) RMSNormGrad(dx, dweight, dy, x, weight driver.View, cols int, eps float32) error {
	s.normGrad(dx, dweight, driver.View{}, dy, x, weight, cols, eps, false)
	return nil
}

func (s *stream) SoftmaxGrad(dx, dy, y driver.View, cols int, scale float32) error {
	to, from, p := floats(dx), floats(dy), floats(y)
	s.each(len(p)/cols, cols, func(_ *worker, r, end int) {
		for i := r * cols; i < end*cols; i += cols {
			softmaxGradRow(to[i:i+cols], from[i:i+cols], p[i:i+cols], scale)
		}
	})
	return nil
}

func (s *stream) GateGrad(dg, du, dy, g, u driver.View) error {
	a, b, c, d, e := floats(dg), floats(du), floats(dy), floats(g), floats(u)
	s.chunks(len(a), func(i, end int) { gateGradRow(a[i:end], b[i:end], c[i:end], d[i:end], e[i:end]) })
	return nil
}

// CrossEntropy takes the logarithm of the sum from the largest probability, which is 1/Σ exp(logit - largest).
func (s *stream) CrossEntropy(a driver.CrossEntropyArgs) error {
	labels, logits, loss := ids(a.Labels), floats(a.Logits), floats(a.Loss)
	for i, label := range labels {
		if err := checkLabel(i, label, a.Cols); err != nil {
			return err
		}
	}
	s.each(len(labels), a.Cols, func(_ *worker, i, end int) {
		for ; i < end; i++ {
			row, label := logits[i*a.Cols:][:a.Cols], labels[i]
			if label == driver.Ignored {
				clear(row)
				loss[i] = 0
				continue
			}
			at := 0
			for j, v := range row {
				if v > row[at] {
					at = j
				}
			}
			most, wanted := float64(row[at]), float64(row[label])
			softmaxRow(row, 1)
			loss[i] = float32(float64(a.Scale) * (most - math.Log(float64(row[at])) - wanted))
			if a.Scale != 1 {
				for j := range row {
					row[j] *= a.Scale
				}
			}
			row[label] -= a.Scale
		}
	})
	return nil
}

// SumSquares adds up pieces of a fixed size.
func (s *stream) SumSquares(x driver.View) (float64, error) {
	const chunk = 4096
	from := floats(x)
	parts := make([]float64, (len(from)+chunk-1)/chunk)
	s.each(len(parts), chunk, func(_ *worker, i, end int) {
		for ; i < end; i++ {
			parts[i] = sumSquares(from[i*chunk : min((i+1)*chunk, len(from))])
		}
	})
	sum := 0.0
	for _, v := range parts {
		sum += v
	}
	return sum, nil
}

// sumSquares keeps eight sums, so that additions do not wait for each other.
func sumSquares(x []float32) float64 {
	var sums [8]float64
	for ; len(x) >= len(sums); x = x[len(sums):] {
		for i := range sums {
			v := float64(x[i])
			sums[i] += v * v
		}
	}
	for i, v := range x {
		sums[i] += float64(v) * float64(v)
	}
	return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]))
}

func (s *stream) AdamW(a driver.AdamWArgs) error {
	p, g, m, v := floats(a.P), floats(a.G), floats(a.M), floats(a.V)
	s.chunks(len(p), func(i, end int) { adamW(p[i:end], g[i:end], m[i:end], v[i:end], a) })
	return nil
}
