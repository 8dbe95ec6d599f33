//go:build cuda && linux && cgo

package cuda

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"sower/gpu"
	"sower/gpu/cuda/internal/fakecuda"
	"sower/gpu/cuda/kernels"
	"sower/gpu/driver"
)

// e4m3Values are the numbers that are not negative, in order.
var e4m3Values = func() (v []float64) {
	for code := range 127 {
		e, m := code>>3, float64(code&7)
		if e == 0 {
			v = append(v, math.Ldexp(m, -9))
		} else {
			v = append(v, math.Ldexp(8+m, e-10))
		}
	}
	return v
}()

// quantised is a row of x divided by its scale, each as the nearest e4m3, the even one of two, and multiplied by the scale again.
func quantised(x []float32) []float64 {
	var most float32
	for _, v := range x {
		most = max(most, float32(math.Abs(float64(v))))
	}
	scale := most / 448
	if scale == 0 {
		scale = 1
	}
	out := make([]float64, len(x))
	for i, v := range x {
		size := math.Abs(float64(v / scale))
		best := 0
		for code, w := range e4m3Values {
			d, least := math.Abs(size-w), math.Abs(size-e4m3Values[best])
			if d < least || d == least && code%2 == 0 {
				best = code
			}
		}
		out[i] = math.Copysign(e4m3Values[best], float64(v)) * float64(scale)
	}
	return out
}

// TestNarrow multiplies by narrow weights, of less than a tile and of many: against float64 of the same operands in e4m3, rows alone against
// all of them, the fused layer against its operations.
func TestNarrow(t *testing.T) {
	for _, size := range [][3]int{{3, 5, 7}, {70, 65, 48}, {300, 264, 1408}} {
		m, n, k := size[0], size[1], size[2]
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			a := newActivations(t, gpu.FP8)
			weights := a.values(n*k, 1/math.Sqrt(float64(k)))
			for i := range k {
				weights[i] *= 1e-4 // one row far below the others, which a common scale would lose
			}
			w, err := a.dev.NewMatrix(n, k, driver.Narrow)
			a.must(err)
			t.Cleanup(w.Free)
			if w.(*matrix).typ != kernels.E4M3 {
				t.Fatal("the weight is not of e4m3")
			}
			first := min(n, 64)
			a.must(w.SetRows(first, weights[first*k:]))
			a.must(w.SetRows(0, weights[:first*k]))
			in, bias, residual := a.put(a.values(m*k, 1)), a.put(a.values(n, 1)), a.put(a.values(m*n, 1))
			x := a.get(in)
			sums, fused, apart := a.empty(m*n), a.empty(m*n), a.empty(m*n)
			a.must(a.MatMul(sums, n, in, m, w))
			a.must(a.Linear(fused, in, m, w, bias, driver.GELU, true, residual))
			a.must(a.Add(apart, sums, bias))
			a.must(a.Apply(driver.GELU, apart, apart))
			a.must(a.Add(apart, apart, residual))
			all, products := a.get(fused), a.get(sums)
			if !slices.Equal(all, a.get(apart)) {
				t.Error("the fused layer has other bits than its operations")
			}
			for _, row := range []int{0, m / 2, m - 1} {
				one := a.empty(n)
				a.must(a.MatMul(one, n, driver.View{Buf: in.Buf, Off: row * k, N: k}, 1, w))
				if !slices.Equal(a.get(one), products[row*n:][:n]) {
					t.Errorf("row %d alone has other bits", row)
				}
				qx := quantised(x[row*k:][:k])
				for j := 0; j < n; j += 1 + n/40 {
					want, size := 0.0, 0.0
					for i, v := range quantised(weights[j*k:][:k]) {
						want += qx[i] * v
						size += math.Abs(qx[i] * v)
					}
					// A result of float16, and sums of the same numbers: those of tensor cores have about 14 bits within 128 of k.
					if d := math.Abs(want - float64(products[row*n+j])); !(d <= math.Abs(want)/2048+size/8192+1e-7) {
						t.Fatalf("row %d column %d is %g, want %g", row, j, products[row*n+j], want)
					}
				}
			}
			if err := a.MatMulInput(in, sums, n, m, w, false); err == nil {
				t.Error("a gradient through 8 bits")
			}
		})
	}
}

// TestNarrowNotFinite spreads a number that is not finite over its row and no other.
func TestNarrowNotFinite(t *testing.T) {
	a := newActivations(t, gpu.FP8)
	const m, n, k = 4, 24, 40
	w, err := a.dev.NewMatrix(n, k, driver.Narrow)
	a.must(err)
	t.Cleanup(w.Free)
	a.must(w.SetRows(0, a.values(n*k, 1)))
	x := a.values(m*k, 1)
	x[3], x[2*k+5] = float32(math.Inf(-1)), float32(math.NaN())
	y := a.empty(m * n)
	a.must(a.MatMul(y, n, a.put(x), m, w))
	for i, v := range a.get(y) {
		if finite := !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0); finite != (i/n%2 == 1) {
			t.Fatalf("row %d column %d is %g", i/n, i%n, v)
		}
	}
}

// TestNarrowElsewhere keeps narrow weights in the precision of devices that were not opened for FP8, and any other weight in float16 on one that was.
func TestNarrowElsewhere(t *testing.T) {
	for _, c := range []struct {
		precision gpu.Precision
		kind      driver.Kind
		want      uint32
	}{{gpu.FP16, driver.Narrow, kernels.F16}, {gpu.FP32, driver.Narrow, kernels.F32}, {gpu.FP8, driver.Weight, kernels.F16}, {gpu.FP8, driver.Exact, kernels.F32}} {
		w, err := opened(t, c.precision).NewMatrix(8, 8, c.kind)
		if err != nil {
			t.Fatal(err)
		}
		if w.(*matrix).typ != c.want {
			t.Errorf("%v, kind %d: type %d", c.precision, c.kind, w.(*matrix).typ)
		}
		w.Free()
	}
}

func TestNarrowRefused(t *testing.T) {
	fakecuda.NeedFake(t)
	t.Setenv("FAKECUDA_CAPABILITY", "80")
	if _, err := open(gpu.Options{Precision: gpu.FP8}); err == nil || !strings.Contains(err.Error(), "needs compute capability 9.0") {
		t.Error(err)
	}
}
