package drivertest

import (
	"fmt"
	"math"

	"sower/gpu/driver"
)

// matMulInput multiplies by float32 weights, which are trained, and by those of the device's precision, which are not: a
// back end for 16 bits that keeps activations in float32, as the CPU's, need not.
func matMulInput(s *suite) {
	for _, size := range sizes {
		s.matMulInput(size, true)
		if s.narrow == nil || s.kept == driver.Activation {
			s.matMulInput(size, false)
		}
	}
}

func (s *suite) matMulInput(size [3]int, exact bool) {
	s.Helper()
	m, rows, cols := size[0], size[1], size[2]
	stride := rows + 3
	w, dy := s.parameters(rows*cols), s.values(m*stride)
	packed, product := s.packed(rows, cols, w, exact), s.product
	if exact {
		product = product64
	}
	dense := make([]float32, 0, m*rows)
	for i := range m {
		dense = append(dense, dy[i*stride:][:rows]...)
	}
	want := product(dense, w, m, cols, rows, false)
	dx, from := s.empty(m*cols), s.put(dy)
	s.must(s.MatMulInput(dx, from, stride, m, packed, false))
	s.near(fmt.Sprintf("gradient to the input, M rows cols %v, exact %v", size, exact), s.get(dx), want, rounding(rows))
	s.must(s.MatMulInput(dx, from, stride, m, packed, true))
	for i := range want {
		want[i] *= 2
	}
	s.near(fmt.Sprintf("added, M rows cols %v, exact %v", size, exact), s.get(dx), want, rounding(rows)+s.stored.half)
}

func transposedProducts(s *suite) {
	for _, size := range small {
		m, n, k := size[0], size[1], size[2]
		a, b, before := s.values(k*m), s.values(k*n), s.parameters(m*n)
		turned := make([]float32, m*k)
		for i := range k {
			for j := range m {
				turned[j*k+i] = a[i*m+j]
			}
		}
		want := product64(turned, b, m, n, k, false)
		for i := range want {
			want[i] += float64(before[i])
		}
		c := s.putF32(before) // a gradient of parameters
		op := driver.BatchMatMul{Batch: 1, Heads: 1, M: m, N: n, K: k, TransposeA: true, Accumulate: true}
		op.A, op.B, op.C = sideBySide(s.put(a), 1, k, m), sideBySide(s.put(b), 1, k, n), sideBySide(c, 1, m, n)
		s.must(s.BatchMatMul(op))
		s.nearF32(fmt.Sprint("Aᵀ·B added, M N K ", size), s.get(c), want, rounding(k))
	}
}

func rowSums(s *suite) {
	for _, cols := range widths {
		const rows = 9
		x, before := s.values(rows*cols), s.values(cols)
		want := make([]float64, cols)
		for i, v := range x {
			want[i%cols] += float64(v)
		}
		for i, v := range before {
			want[i] += float64(v)
		}
		y, z := s.putF32(before), s.put(before) // gradients of a parameter, and of a tensor that was repeated
		s.must(s.SumRows(y, s.put(x), cols))
		s.must(s.SumRows(z, s.put(x), cols))
		s.nearF32(fmt.Sprintf("sums of rows of %d", cols), s.get(y), want, 1e-6)
		s.near(fmt.Sprintf("sums of rows of %d, an operand", cols), s.get(z), want, 1e-6)

		table := s.putF32(make([]float32, 4*cols))
		s.must(s.AddRows(table, s.put(x), s.putIDs([]int32{2, 0, 2}), s.putIDs([]int32{1, 3, 8}), cols))
		added := make([]float64, 4*cols)
		for i := range cols {
			added[2*cols+i] = float64(x[cols+i]) + float64(x[8*cols+i])
			added[i] = float64(x[3*cols+i])
		}
		s.nearF32(fmt.Sprintf("added rows of %d", cols), s.get(table), added, 1e-6)
	}
	s.fails("a row beyond the table", s.AddRows(s.put(s.values(4)), s.put(s.values(4)), s.putIDs([]int32{2}), s.putIDs([]int32{0}), 2))
}

func crossEntropy(s *suite) {
	const rows, scale = 5, 0.25
	for _, cols := range []int{2, 7, 33, 1000} {
		x := s.parameters(rows * cols)
		for i := range x {
			x[i] *= 5
		}
		labels := []int32{0, int32(cols - 1), driver.Ignored, 1, 0}
		logits, loss := s.putF32(x), s.emptyAs(driver.F32, rows)
		s.must(s.CrossEntropy(driver.CrossEntropyArgs{Loss: loss, Logits: logits, Labels: s.putIDs(labels), Cols: cols, Scale: scale}))
		grads, losses := make([]float64, rows*cols), make([]float64, rows)
		for r, label := range labels {
			if label == driver.Ignored {
				continue
			}
			row := grads[r*cols:][:cols]
			for i := range row {
				row[i] = float64(x[r*cols+i])
			}
			softmax64(row, cols, 1)
			losses[r] = -scale * math.Log(row[label])
			row[label]--
			for i := range row {
				row[i] *= scale
			}
		}
		s.nearF32(fmt.Sprintf("losses of %d classes", cols), s.get(loss), losses, 2e-6)
		s.nearF32(fmt.Sprintf("gradients of %d classes", cols), s.get(logits), grads, 2e-6)
	}
	s.fails("a label beyond the classes", s.CrossEntropy(driver.CrossEntropyArgs{Loss: s.emptyAs(driver.F32, 1), Logits: s.putF32(s.parameters(3)), Labels: s.putIDs([]int32{3}), Cols: 3, Scale: 1}))
}

// attentionGrad compares with sums over every query and key, in groups of heads, with first keys and without.
func attentionGrad(s *suite) {
	for _, c := range []struct{ tq, tk, width, heads, kv, first int }{{5, 5, 8, 2, 1, 0}, {33, 40, 7, 3, 3, 0}, {110, 110, 20, 4, 2, 30}} {
		q, dy := s.values(c.tq*c.heads*c.width), s.values(c.tq*c.heads*c.width)
		k, v := s.values(c.tk*c.kv*c.width), s.values(c.tk*c.kv*c.width)
		starts := make([]int32, c.tq)
		for i := range starts {
			starts[i] = int32(min(c.first, i/2))
		}
		scale := 1 / math.Sqrt(float64(c.width))
		dq, dk, dv := make([]float64, len(q)), make([]float64, len(k)), make([]float64, len(v))
		at := func(v []float32, heads, row, head, d int) float64 { return float64(v[(row*heads+head)*c.width+d]) }
		for h := range c.heads {
			g := h / (c.heads / c.kv)
			for i := range c.tq {
				from, to := int(starts[i]), c.tk-c.tq+i+1
				p, dp, mean := make([]float64, to), make([]float64, to), 0.0
				for j := from; j < to; j++ {
					for d := range c.width {
						p[j] += at(q, c.heads, i, h, d) * at(k, c.kv, j, g, d)
						dp[j] += at(dy, c.heads, i, h, d) * at(v, c.kv, j, g, d)
					}
				}
				softmax64(p[from:], to-from, scale)
				for j := from; j < to; j++ {
					mean += p[j] * dp[j]
				}
				for j := from; j < to; j++ {
					ds := scale * p[j] * (dp[j] - mean)
					for d := range c.width {
						dv[(j*c.kv+g)*c.width+d] += p[j] * at(dy, c.heads, i, h, d)
						dq[(i*c.heads+h)*c.width+d] += ds * at(k, c.kv, j, g, d)
						dk[(j*c.kv+g)*c.width+d] += ds * at(q, c.heads, i, h, d)
					}
				}
			}
		}
		a := driver.AttentionGradArgs{AttentionArgs: driver.AttentionArgs{Q: sideBySide(s.put(q), c.heads, c.tq, c.width), K: sideBySide(s.put(k), c.kv, c.tk, c.width),
			V: sideBySide(s.put(v), c.kv, c.tk, c.width), Batch: 1, Heads: c.heads, KVHeads: c.kv, Tq: c.tq, Tk: c.tk, Width: c.width, Scale: float32(scale), Causal: true,
			Starts: s.putIDs(starts)}}
		toQ, toK, toV := s.empty(len(q)), s.empty(len(k)), s.empty(len(v))
		a.DY, a.DQ = sideBySide(s.put(dy), c.heads, c.tq, c.width), sideBySide(toQ, c.heads, c.tq, c.width)
		a.DK, a.DV = sideBySide(toK, c.kv, c.tk, c.width), sideBySide(toV, c.kv, c.tk, c.width)
		s.must(s.AttentionGrad(a))
		s.near(fmt.Sprintf("queries, %+v", c), s.get(toQ), dq, 5e-6)
		s.near(fmt.Sprintf("keys, %+v", c), s.get(toK), dk, 5e-6)
		s.near(fmt.Sprintf("values, %+v", c), s.get(toV), dv, 5e-6)
	}
}

// adamW takes two updates, clipped and decayed.
func adamW(s *suite) {
	const n, rate, b1, b2, eps, decay, clip = 4099, 0.01, 0.9, 0.95, 1e-5, 0.1, 0.5
	p, g := s.parameters(n), s.parameters(n)
	to, m, v := s.putF32(p), s.putF32(make([]float32, n)), s.putF32(make([]float32, n))
	want, first, second := make([]float64, n), make([]float64, n), make([]float64, n)
	for i := range p {
		want[i] = float64(p[i])
	}
	for t := 1; t <= 2; t++ {
		s.must(s.AdamW(driver.AdamWArgs{P: to, G: s.putF32(g), M: m, V: v, Rate: rate, Beta1: b1, Beta2: b2, Eps: eps, Decay: decay, GradScale: clip, Step: t}))
		for i := range want {
			d := clip * float64(g[i])
			first[i], second[i] = b1*first[i]+(1-b1)*d, b2*second[i]+(1-b2)*d*d
			want[i] = want[i]*(1-rate*decay) - rate/(1-math.Pow(b1, float64(t)))*first[i]/(math.Sqrt(second[i]/(1-math.Pow(b2, float64(t))))+eps)
		}
	}
	s.nearF32("parameters", s.get(to), want, 1e-6)
	sum, err := s.SumSquares(s.putF32(g))
	s.must(err)
	exact := 0.0
	for _, x := range g {
		exact += float64(x) * float64(x)
	}
	if math.Abs(sum-exact) > 1e-12*exact {
		s.Errorf("sum of squares %v, want %v", sum, exact)
	}
}
