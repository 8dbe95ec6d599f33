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

// applyGrad compares slopes where they change, and in place.
func applyGrad(s *suite) {
	slopes := map[driver.Func]func(float64) float64{
		driver.GELU: func(x float64) float64 {
			return math.Erfc(-x/math.Sqrt2)/2 + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
		},
		driver.Tanh: func(x float64) float64 { return 1 - math.Tanh(x)*math.Tanh(x) },
		driver.SiLU: func(x float64) float64 {
			e := 1 / (1 + math.Exp(-x))
			return e * (1 + x*(1-e))
		},
		driver.ReLU: func(x float64) float64 {
			if x > 0 {
				return 1
			}
			return 0
		},
	}
	x := append(s.values(601), 0, float32(math.Copysign(0, -1)), 30, -30, 1e-30, -1e-30)
	x = s.round(x)
	for f, slope := range slopes {
		dy := s.values(len(x))
		want := make([]float64, len(x))
		for i, v := range x {
			want[i] = float64(dy[i]) * slope(float64(v))
		}
		got, place := s.empty(len(x)), s.put(dy)
		s.must(s.ApplyGrad(f, got, s.put(dy), s.put(x)))
		s.near(f.String(), s.get(got), want, 1e-6)
		s.must(s.ApplyGrad(f, place, place, s.put(x)))
		s.same(f.String()+", in place", s.get(place), s.get(got))
	}
}

// normGrads compares with sums over each row, for more rows than a back end may add up at a time, and without gradients of parameters.
func normGrads(s *suite) {
	const rows, eps = 131, 1e-3
	for _, cols := range widths {
		if cols == 1 {
			continue // a row of one has no direction left
		}
		x, dy, w := s.values(rows*cols), s.values(rows*cols), s.parameters(cols)
		before := s.parameters(2 * cols)
		for _, centered := range []bool{true, false} {
			dx, dw, db := make([]float64, rows*cols), make([]float64, cols), make([]float64, cols)
			for j := range cols {
				dw[j], db[j] = float64(before[j]), float64(before[cols+j])
			}
			for r := range rows {
				at := func(v []float32, j int) float64 { return float64(v[r*cols+j]) }
				mean, square, sum, along, n := 0.0, 0.0, 0.0, 0.0, float64(cols)
				for j := range cols {
					mean += at(x, j) / n
				}
				if !centered {
					mean = 0
				}
				for j := range cols {
					square += (at(x, j) - mean) * (at(x, j) - mean) / n
				}
				factor := 1 / math.Sqrt(square+eps)
				for j := range cols {
					h := (at(x, j) - mean) * factor
					dw[j] += at(dy, j) * h
					db[j] += at(dy, j)
					sum += at(dy, j) * float64(w[j]) / n
					along += at(dy, j) * float64(w[j]) * h / n
				}
				if !centered {
					sum = 0
				}
				for j := range cols {
					dx[r*cols+j] = factor * (at(dy, j)*float64(w[j]) - sum - (at(x, j)-mean)*factor*along)
				}
			}
			what := fmt.Sprintf("rows of %d, centered %v", cols, centered)
			got, gotW, gotB := s.empty(rows*cols), s.putF32(before[:cols]), s.putF32(before[cols:])
			run := func(dw, db driver.View) {
				if centered {
					s.must(s.LayerNormGrad(got, dw, db, s.put(dy), s.put(x), s.putF32(w), cols, eps))
				} else {
					s.must(s.RMSNormGrad(got, dw, s.put(dy), s.put(x), s.putF32(w), cols, eps))
				}
			}
			run(gotW, gotB)
			first := s.get(got)
			s.near(what, first, dx, 2e-6)
			s.nearF32(what+", weight", s.get(gotW), dw, 2e-6)
			if centered {
				s.nearF32(what+", bias", s.get(gotB), db, 2e-6)
			}
			run(driver.View{}, driver.View{})
			s.near(what+", fixed parameters", s.get(got), dx, 2e-6)
		}
	}
}

func softmaxGrad(s *suite) {
	const rows, scale = 5, 0.3
	for _, cols := range widths {
		y, dy := s.values(rows*cols), s.values(rows*cols)
		for i := range y {
			y[i] = max(y[i], -y[i])
		}
		want := make([]float64, rows*cols)
		for r := range rows {
			sum := 0.0
			for i := r * cols; i < (r+1)*cols; i++ {
				sum += float64(y[i]) * float64(dy[i])
			}
			for i := r * cols; i < (r+1)*cols; i++ {
				want[i] = scale * float64(y[i]) * (float64(dy[i]) - sum)
			}
		}
		got := s.empty(rows * cols)
		s.must(s.SoftmaxGrad(got, s.put(dy), s.put(y), cols, scale))
		s.near(fmt.Sprintf("rows of %d", cols), s.get(got), want, 2e-6)
	}
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
