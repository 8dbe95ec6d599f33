package drivertest

import (
	"fmt"
	"math"

	"sower/gpu/driver"
)

// rounding is what float32 sums of k products of normal numbers may be off by, as a share of the largest result.
func rounding(k int) float64 { return 3e-7 * (1 + math.Sqrt(float64(k))/4) }

// sizes are M, N, K around tiles, blocks and vectors.
var sizes = [][3]int{
	{1, 1, 1}, {1, 16, 4}, {6, 16, 8}, {7, 17, 5}, {5, 15, 3}, {12, 33, 9}, {13, 40, 515}, {133, 64, 256}, {32, 32, 768},
	{65, 200, 300}, {257, 88, 257}, {300, 193, 1000},
}

// small are sizes for what repeats them often.
var small = [][3]int{{1, 1, 1}, {6, 16, 8}, {7, 17, 5}, {13, 40, 515}, {32, 33, 64}, {65, 200, 260}}

func matMul(s *suite) {
	for _, size := range sizes {
		m, n, k := size[0], size[1], size[2]
		what := fmt.Sprint("M N K ", size)
		x, w := s.values(m*k), s.parameters(n*k)
		packed := s.matrix(n, k, w)
		run := func(x []float32) []float32 {
			y := s.empty(len(x) / k * n)
			s.must(s.MatMul(y, n, s.put(x), len(x)/k, packed))
			return s.get(y)
		}
		y := run(x)
		s.near(what, y, s.product(x, w, m, n, k, true), rounding(k))
		s.rowwise(what, k, x, y, run)
	}
}

// operand is v, rounded to what the device multiplies.
func (s *suite) operand(v []float32) []float32 {
	if s.narrow == nil {
		return v
	}
	r := make([]float32, len(v))
	for i, x := range v {
		r[i] = s.narrow(x)
	}
	return r
}

// product is A [m k]·B of what the device multiplies, B [k n] or transposed.
func (s *suite) product(a, b []float32, m, n, k int, transposed bool) []float64 {
	return product64(s.operand(a), s.operand(b), m, n, k, transposed)
}

// product64 is A [m k]·B in float64, B [k n] or transposed.
func product64(a, b []float32, m, n, k int, transposed bool) []float64 {
	c := make([]float64, m*n)
	for i := range m {
		for j := range n {
			sum := 0.0
			for q := range k {
				v := b[q*n+j]
				if transposed {
					v = b[j*k+q]
				}
				sum += float64(a[i*k+q]) * float64(v)
			}
			c[i*n+j] = sum
		}
	}
	return c
}

// setRows packs a matrix in parts.
func setRows(s *suite) {
	const rows, cols, m = 64*2 + 21, 37, 9
	x, w := s.put(s.values(m*cols)), s.parameters(rows*cols)
	whole, parts := s.empty(m*rows), s.empty(m*rows)
	s.must(s.MatMul(whole, rows, x, m, s.matrix(rows, cols, w)))
	p, err := s.dev.NewMatrix(rows, cols, driver.Weight)
	s.must(err)
	defer p.Free()
	for _, r := range [][2]int{{128, rows}, {0, 64}, {64, 128}} {
		s.must(p.SetRows(r[0], w[r[0]*cols:r[1]*cols]))
	}
	s.must(s.MatMul(parts, rows, x, m, p))
	s.same("packed in parts", s.get(parts), s.get(whole))
}

func batchMatMul(s *suite) {
	for _, size := range small {
		for _, transposed := range []bool{false, true} {
			m, n, k := size[0], size[1], size[2]
			const batch, heads = 2, 2
			// Heads lie side by side in a row, as in attention.
			a, b := s.values(batch*heads*m*k), s.values(batch*heads*n*k)
			y := s.empty(batch * heads * m * n)
			op := driver.BatchMatMul{Batch: batch, Heads: heads, M: m, N: n, K: k, TransposeB: transposed}
			op.A = sideBySide(s.put(a), heads, m, k)
			bRows, bCols := k, n
			if transposed {
				bRows, bCols = n, k
			}
			op.B = sideBySide(s.put(b), heads, bRows, bCols)
			op.C = sideBySide(y, heads, m, n)
			s.must(s.BatchMatMul(op))
			got := s.get(y)
			for i := range batch {
				for h := range heads {
					want := s.product(head(a, heads, i, h, m, k), head(b, heads, i, h, bRows, bCols), m, n, k, transposed)
					s.near(fmt.Sprintf("M N K %v, transposed %v, batch %d, head %d", size, transposed, i, h),
						head(got, heads, i, h, m, n), want, rounding(k))
				}
			}
		}
	}
}

// sideBySide sees [batch][rows][heads·cols].
func sideBySide(v driver.View, heads, rows, cols int) driver.Strided {
	return driver.Strided{Buf: v.Buf, Off: v.Off, Batch: rows * heads * cols, Head: cols, Row: heads * cols}
}

// head takes one matrix out of [batch][rows][heads·cols].
func head(v []float32, heads, batch, h, rows, cols int) []float32 {
	var out []float32
	for r := range rows {
		out = append(out, v[((batch*rows+r)*heads+h)*cols:][:cols]...)
	}
	return out
}

// linear compares the fused layer with the operations that it stands for.
func linear(s *suite) {
	fused, ok := s.Stream.(driver.Linear)
	if !ok {
		s.Skip("this back end does not fuse")
	}
	for _, size := range small {
		m, n, k := size[0], size[1], size[2]
		w := s.matrix(n, k, s.parameters(n*k))
		x, bias, residual := s.put(s.values(m*k)), s.putF32(s.parameters(n)), s.put(s.values(m*n))
		for choice := range 16 {
			var b, r driver.View
			want := s.empty(m * n)
			s.must(s.MatMul(want, n, x, m, w))
			if choice&1 != 0 {
				b = bias
				s.must(s.Add(want, want, b))
			}
			f, apply := []driver.Func{driver.GELU, driver.Tanh, driver.ReLU, 0}[choice&6/2], choice&6 != 6
			if apply {
				s.must(s.Apply(f, want, want))
			}
			if choice&8 != 0 {
				r = residual
				s.must(s.Add(want, want, r))
			}
			got := s.empty(m * n)
			s.must(fused.Linear(got, x, m, w, b, f, apply, r))
			s.same(fmt.Sprintf("M N K %v, choice %d", size, choice), s.get(got), s.get(want))
		}
	}
}

// dense compares a layer in training with the operations that it stands for.
func dense(s *suite) {
	layers, ok := s.Stream.(driver.Dense)
	if !ok {
		s.Skip("this back end composes layers in training")
	}
	for _, size := range append(small, [3]int{600, 130, 64}, [3]int{300, 193, 1000}) {
		m, n, k := size[0], size[1], size[2]
		w, x, bias, residual := s.put(s.values(n*k)), s.put(s.values(m*k)), s.putF32(s.parameters(n)), s.put(s.values(m*n))
		products := s.empty(m * n)
		s.must(s.BatchMatMul(driver.BatchMatMul{Batch: 1, Heads: 1, M: m, N: n, K: k, TransposeB: true, A: sideBySide(x, 1, m, k), B: sideBySide(w, 1, n, k),
			C: sideBySide(products, 1, m, n)}))
		for choice := range 32 {
			a := driver.DenseArgs{Y: s.empty(m * n), X: x, W: w, M: m, N: n, K: k}
			pre, want := s.empty(m*n), s.empty(m*n)
			s.must(s.Copy(pre, m*n, products, m*n, 1, m*n))
			if choice&1 != 0 {
				a.Bias = bias
				s.must(s.Add(pre, pre, bias))
			}
			s.must(s.Copy(want, m*n, pre, m*n, 1, m*n))
			if a.F, a.Apply = []driver.Func{driver.GELU, driver.Tanh, driver.ReLU, 0}[choice&6/2], choice&6 != 6; a.Apply {
				s.must(s.Apply(a.F, want, want))
				if choice&16 != 0 {
					a.Pre = s.empty(m * n)
				}
			}
			if choice&8 != 0 {
				a.Residual = residual
				s.must(s.Add(want, want, residual))
			}
			s.must(layers.Dense(a))
			s.same(fmt.Sprintf("M N K %v, choice %d", size, choice), s.get(a.Y), s.get(want))
			if a.Pre.Buf != nil {
				s.same(fmt.Sprintf("M N K %v, choice %d, before the function", size, choice), s.get(a.Pre), s.get(pre))
			}
		}
	}
}

// attention runs with operands where vectors begin and where they do not: the two may be computed in different ways.
func attention(s *suite) {
	for _, s.before = range []int{3, 16} {
		attentionAt(s)
	}
}

func attentionAt(s *suite) {
	for _, c := range []struct {
		tq, tk, width int
		causal        bool
	}{{1, 1, 1, false}, {5, 5, 8, true}, {17, 17, 12, false}, {32, 257, 64, false}, {32, 32, 64, true}, {257, 257, 88, false},
		{3, 40, 7, true}, {1, 33, 16, true}} {
		const batch, heads = 2, 3
		q, k, v := s.values(batch*heads*c.tq*c.width), s.values(batch*heads*c.tk*c.width), s.values(batch*heads*c.tk*c.width)
		scale, allowed := float32(1/math.Sqrt(float64(c.width))), 3e-6
		if s.narrow != nil {
			allowed = 1.0 / 128 // the weights are rounded, too, and differ before that
		}
		run := func(q []float32, b int) []float32 {
			y := s.empty(len(q))
			s.must(s.Attention(driver.AttentionArgs{
				Y: sideBySide(y, heads, c.tq, c.width), Q: sideBySide(s.put(q), heads, c.tq, c.width),
				K: sideBySide(s.put(k), heads, c.tk, c.width), V: sideBySide(s.put(v), heads, c.tk, c.width),
				Batch: b, Heads: heads, Tq: c.tq, Tk: c.tk, Width: c.width, Scale: scale, Causal: c.causal}))
			return s.get(y)
		}
		y := run(q, batch)
		s.same("the first of a batch alone", run(q[:len(q)/batch], 1), y[:len(y)/batch])
		for b := range batch {
			for h := range heads {
				scores := s.product(head(q, heads, b, h, c.tq, c.width), head(k, heads, b, h, c.tk, c.width), c.tq, c.tk, c.width, true)
				values, want := s.operand(head(v, heads, b, h, c.tk, c.width)), make([]float64, c.tq*c.width)
				for i := range c.tq {
					row := scores[i*c.tk:][:c.tk]
					seen := c.tk
					if c.causal {
						seen = c.tk - c.tq + i + 1
					}
					softmax64(row, seen, float64(scale))
					for j, weight := range row {
						for d := range c.width {
							want[i*c.width+d] += weight * float64(values[j*c.width+d])
						}
					}
				}
				s.near(fmt.Sprintf("%+v, batch %d, head %d", c, b, h), head(y, heads, b, h, c.tq, c.width), want, allowed)
			}
		}
	}
}
