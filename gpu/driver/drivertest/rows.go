package drivertest

import (
	"fmt"
	"math"
	"slices"

	"sower/gpu/driver"
)

// widths of rows, around vectors of 4, 8 and 16.
var widths = []int{1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 64, 100, 257, 768, 1408}

func add(s *suite) {
	for _, n := range widths {
		for _, times := range []int{1, 5} {
			a, b, bias := s.values(n*times), s.values(n), s.parameters(n)
			y, z := s.empty(n*times), s.empty(n*times)
			s.must(s.Add(y, s.put(a), s.put(b)))
			s.must(s.Add(z, s.put(a), s.putF32(bias)))
			want, biased := make([]float32, n*times), make([]float32, n*times)
			for i := range want {
				want[i], biased[i] = a[i]+b[i%n], a[i]+bias[i%n]
			}
			s.same(fmt.Sprintf("%d x %d", times, n), s.get(y), s.round(want))
			s.same(fmt.Sprintf("%d x %d, bias", times, n), s.get(z), s.round(biased))
		}
		x := s.put(s.values(n))
		want := s.get(x)
		for i, v := range want {
			want[i] = v + v
		}
		s.must(s.Add(x, x, x))
		s.same("in place", s.get(x), s.round(want))
	}
}

// apply allows 6 units in the last place (2^-23 of the value each), above what is next to nothing.
func apply(s *suite) {
	functions := map[driver.Func]func(float64) float64{
		driver.GELU: func(x float64) float64 { return x * math.Erfc(-x/math.Sqrt2) / 2 },
		driver.Tanh: math.Tanh,
		driver.ReLU: func(x float64) float64 { return max(x, 0) },
	}
	var x []float32
	for v := -20.0; v <= 20; v += 0.0137 {
		x = append(x, float32(v))
	}
	for v := 1e-30; v < 1e30; v *= 9.7 {
		x = append(x, float32(v), float32(-v))
	}
	x = append(x, 0)
	x = s.round(slices.DeleteFunc(x, func(v float32) bool { return math.Abs(float64(v)) > s.stored.most }))
	for f, exact := range functions {
		run := func(x []float32) []float32 {
			y := s.empty(len(x))
			s.must(s.Apply(f, y, s.put(x)))
			return s.get(y)
		}
		y := run(x)
		for i, v := range x {
			want := exact(float64(v))
			if d := math.Abs(float64(y[i]) - want); !(d <= (7.2e-7+s.stored.half)*math.Abs(want)+1e-36+s.stored.least) {
				s.Fatalf("%v(%g) is %g, want %g", f, v, y[i], want)
			}
		}
		for _, n := range widths {
			s.same(fmt.Sprintf("%v of %d elements", f, n), run(x[:n]), y[:n])
		}
		v := s.put(x)
		s.must(s.Apply(f, v, v))
		s.same("in place", s.get(v), y)
	}
}

func layerNorm(s *suite) {
	for _, n := range widths {
		for _, eps := range []float32{1e-5, 1e-12} {
			const rows = 7
			x, w, b := s.values(rows*n), s.parameters(n), s.parameters(n)
			for i := range x {
				x[i] = x[i]*3 + 5 // a mean that a one-pass variance would suffer from
			}
			x = s.round(x)
			weight, bias := s.putF32(w), s.putF32(b)
			run := func(x []float32) []float32 {
				y := s.empty(len(x))
				s.must(s.LayerNorm(y, s.put(x), weight, bias, n, eps))
				return s.get(y)
			}
			y := run(x)
			want := make([]float64, len(x))
			for r := range rows {
				row := x[r*n:][:n]
				mean, variance := 0.0, 0.0
				for _, v := range row {
					mean += float64(v) / float64(n)
				}
				for _, v := range row {
					variance += (float64(v) - mean) * (float64(v) - mean) / float64(n)
				}
				for i, v := range row {
					want[r*n+i] = (float64(v)-mean)/math.Sqrt(variance+float64(eps))*float64(w[i]) + float64(b[i])
				}
			}
			if n > 1 { // a row of one element divides rounding by eps
				s.near(fmt.Sprintf("width %d, eps %g", n, eps), y, want, 3e-6)
			}
			s.rowwise(fmt.Sprintf("width %d", n), n, x, y, run)
		}
	}
}

func softmax64(row []float64, seen int, scale float64) {
	most, sum := math.Inf(-1), 0.0
	for _, v := range row[:seen] {
		most = max(most, v)
	}
	for i, v := range row[:seen] {
		row[i] = math.Exp(scale * (v - most))
		sum += row[i]
	}
	for i := range row {
		if row[i] /= sum; i >= seen {
			row[i] = 0
		}
	}
}

func softmax(s *suite) {
	for _, n := range widths {
		for _, causal := range []int{0, 1, 3} {
			if causal > n {
				continue
			}
			const rows, scale = 6, 0.7
			x := s.values(rows * n)
			for i := range x {
				x[i] *= 10
			}
			x = s.round(x)
			run := func(x []float32) []float32 {
				y := s.empty(len(x))
				s.must(s.Softmax(y, s.put(x), n, scale, causal))
				return s.get(y)
			}
			y := run(x)
			for r := range rows {
				want, seen := make([]float64, n), n
				for i := range want {
					want[i] = float64(x[r*n+i])
				}
				if causal > 0 {
					seen = n - causal + r%causal + 1
				}
				softmax64(want, seen, float64(float32(scale)))
				s.near(fmt.Sprintf("width %d, causal %d, row %d", n, causal, r), y[r*n:][:n], want, 2e-6)
				for i := seen; i < n; i++ {
					if y[r*n+i] != 0 {
						s.Fatalf("width %d, causal %d: row %d sees %d", n, causal, r, i)
					}
				}
			}
			if causal <= 1 {
				s.rowwise(fmt.Sprintf("width %d", n), n, x, y, run)
			}
		}
	}
}

// notFinite checks that what is not a number stays one, and stays in its row.
func notFinite(s *suite) {
	const rows, n = 9, 33
	clean := s.values(rows * n)
	dirty := append([]float32{}, clean...)
	dirty[4*n+32] = float32(math.NaN())
	dirty[6*n] = float32(math.NaN())
	w, unit := s.matrix(n, n, s.parameters(n*n)), s.putF32(s.parameters(n))
	for name, run := range map[string]func(y, x driver.View) error{
		"MatMul":    func(y, x driver.View) error { return s.MatMul(y, n, x, rows, w) },
		"LayerNorm": func(y, x driver.View) error { return s.LayerNorm(y, x, unit, unit, n, 1e-5) },
		"Softmax":   func(y, x driver.View) error { return s.Softmax(y, x, n, 1, 0) },
		"GELU":      func(y, x driver.View) error { return s.Apply(driver.GELU, y, x) },
		"Tanh":      func(y, x driver.View) error { return s.Apply(driver.Tanh, y, x) },
		"Add":       func(y, x driver.View) error { return s.Add(y, x, unit) },
	} {
		a, b := s.empty(rows*n), s.empty(rows*n)
		s.must(run(a, s.put(clean)))
		s.must(run(b, s.put(dirty)))
		want, got := s.get(a), s.get(b)
		for r := range rows {
			if r != 4 && r != 6 {
				s.same(fmt.Sprintf("%s, row %d beside NaN", name, r), got[r*n:][:n], want[r*n:][:n])
				continue
			}
			found := false
			for _, v := range got[r*n:][:n] {
				found = found || math.IsNaN(float64(v))
			}
			if !found {
				s.Errorf("%s lost the NaN of row %d", name, r)
			}
		}
	}
}
