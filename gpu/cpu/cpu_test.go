package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"sower/gpu"
	"sower/gpu/driver"
	"sower/gpu/driver/drivertest"
)

func testDevice(t testing.TB, threads int) *device {
	t.Helper()
	d, err := open(gpu.Options{Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// TestDriver runs every kind of kernels that this processor has, with one and more threads.
func TestDriver(t *testing.T) {
	for _, k := range append(available(false), available(true)...) {
		for _, threads := range []int{1, 2, 8} {
			t.Run(fmt.Sprintf("%s/%d", k.name, threads), func(t *testing.T) {
				d := testDevice(t, threads)
				d.kernels = k
				if k.pairs {
					drivertest.RunBFloat16(t, d)
				} else {
					d.exact = k
					drivertest.Run(t, d)
				}
			})
		}
	}
}

// TestSameBits compares the products of all kinds of kernels with fused multiply-adds.
func TestSameBits(t *testing.T) {
	var first []float32
	for _, k := range available(false) {
		if k == &portable {
			continue
		}
		d := testDevice(t, 2)
		const m, n, c = 45, 77, 1031
		r := rand.New(rand.NewPCG(3, 4))
		values := func(n int) []float32 {
			v := make([]float32, n)
			for i := range v {
				v[i] = float32(r.NormFloat64())
			}
			return v
		}
		w := newMatrix(k, n, c)
		if err := w.SetRows(0, values(n*c)); err != nil {
			t.Fatal(err)
		}
		s, _ := d.NewStream()
		x, y := floatsOn(t, d, values(m*c)), floatsOn(t, d, make([]float32, m*n))
		if err := s.MatMul(y, n, x, m, w); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = floats(y)
		}
		for i, v := range floats(y) {
			if math.Float32bits(v) != math.Float32bits(first[i]) {
				t.Fatalf("%s: element %d is %g, want the bits of %g", k.name, i, v, first[i])
			}
		}
	}
}

func TestPlainDriver(t *testing.T) {
	t.Run("float32", func(t *testing.T) { drivertest.Run(t, plainDevice{}) })
	t.Run("bfloat16", func(t *testing.T) { drivertest.RunBFloat16(t, plainDevice{bf16: true}) })
}

// floatsOn makes a buffer of values.
func floatsOn(t testing.TB, d driver.Device, v []float32) driver.View {
	t.Helper()
	b, err := d.Alloc(driver.F32, len(v))
	if err != nil {
		t.Fatal(err)
	}
	view := driver.View{Buf: b, N: len(v)}
	copy(floats(view), v)
	return view
}
