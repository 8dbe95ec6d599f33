package cpu_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"sower/gpu"
)

// TestWideProducts compares products of large parameters, one kind with GELU, and the gradients of both factors, with the plain back end's, and wants the
// same bits from any number of threads. The sizes take the paths that pack once and that cut a long sum.
func TestWideProducts(t *testing.T) {
	for _, size := range [][3]int{{600, 180, 203}, {3000, 64, 61}, {5000, 130, 40}, {2817, 70, 133}} { // rows, K, N
		for _, transposed := range []gpu.Transposition{gpu.NoTranspose, gpu.TransposeB} {
			t.Run(fmt.Sprint(size, transposed), func(t *testing.T) {
				want := products(t, "plain", 1, size, transposed)
				got := products(t, "cpu", 1, size, transposed)
				for i, name := range []string{"product", "gradient of the first", "gradient of the second"} {
					if d := apart(got[i], want[i]); !(d <= 1e-5) {
						t.Errorf("%s: %.2g apart", name, d)
					}
				}
				for i, other := range products(t, "cpu", 3, size, transposed) {
					if !slices.Equal(other, got[i]) {
						t.Errorf("result %d has other bits with 3 threads", i)
					}
				}
			})
		}
	}
}

// products multiplies parameters x [m k] and w, and returns the product and both gradients.
func products(t *testing.T, name string, threads int, size [3]int, transposed gpu.Transposition) [3][]float32 {
	t.Helper()
	dev, err := gpu.Open(name, gpu.Options{Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	r := rand.New(rand.NewPCG(3, 4))
	values := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.NormFloat64())
		}
		return v
	}
	m, k, n := size[0], size[1], size[2]
	shape := []int{k, n}
	if transposed == gpu.TransposeB {
		shape = []int{n, k}
	}
	x, err := dev.NewParameter(values(m*k), m, k)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Free()
	w, err := dev.NewParameter(values(k*n), shape...)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Free()
	p := dev.NewPass(gpu.Training)
	y := p.MatMul(x, w, transposed)
	if transposed == gpu.TransposeB {
		y = p.LinearGELU(x, w, nil)
	}
	out := [3][]float32{make([]float32, m*n), make([]float32, m*k), make([]float32, k*n)}
	p.ReadF32(y, out[0])
	p.Backward(y, p.Floats(values(m*n), m, n))
	p.ReadF32(x.Grad(), out[1])
	p.ReadF32(w.Grad(), out[2])
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

// apart is the norm of the difference over the norm.
func apart(got, want []float32) float64 {
	diff, norm := 0.0, 0.0
	for i, w := range want {
		d := float64(got[i]) - float64(w)
		diff += d * d
		norm += float64(w) * float64(w)
	}
	return math.Sqrt(diff / norm)
}
