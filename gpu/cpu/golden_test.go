//go:build (amd64 || arm64) && !purego

package cpu

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"testing"
)

// numbers are n pseudo-random float32 of [-size, size), exact, so the same on every kind of processor.
func numbers(seed uint64, n int, size float32) []float32 {
	v := make([]float32, n)
	for i := range v {
		seed = seed*6364136223846793005 + 1442695040888963407
		v[i] = float32(int32(seed>>32)>>8) * size / (1 << 23)
	}
	return v
}

// digest is the start of the SHA-256 of the bits; every NaN counts as the same one.
func digest(lists ...[]float32) string {
	h := sha256.New()
	for _, v := range lists {
		for _, x := range v {
			u := math.Float32bits(x)
			if x != x {
				u = 0x7fc00000
			}
			h.Write([]byte{byte(u), byte(u >> 8), byte(u >> 16), byte(u >> 24)})
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// TestGolden holds kernels in assembly to fixed bits: those of all kinds of processors are the same.
func TestGolden(t *testing.T) {
	if available(false)[0] == &portable {
		t.Skip("no kernels in assembly on this processor")
	}
	lengths := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 23, 24, 31, 33, 63, 64, 65, 255, 257, 1000, 1408}
	// over calls f for rows of many lengths, a different part of the numbers each, and returns all results.
	over := func(seed uint64, size float32, f func(y, x []float32)) (all []float32) {
		x := numbers(seed, 4096, size)
		for i, n := range lengths {
			y := make([]float32, n+8)
			f(y[:n:n], x[i*100:][:n])
			for _, v := range y[n:] {
				if v != 0 {
					t.Fatalf("row of %d: written beyond its end", n)
				}
			}
			all = append(all, y[:n]...)
		}
		return all
	}
	nan, tiny := float32(math.NaN()), float32(math.SmallestNonzeroFloat32)
	special := []float32{0, float32(math.Copysign(0, -1)), nan, tiny, -tiny, 1e-38, -1e-38, 3e38, -3e38, 12.999, -12.999, 13, -13, 13.001,
		-13.001, 13.2, -13.2, 9.99, 10, 10.01, -10.01, 1, -1}
	each := func(f func(y, x []float32)) []float32 {
		return append(over(1, 1, f), append(over(2, 8, f), append(over(3, 40, f), func() []float32 {
			y := make([]float32, len(special))
			f(y, special)
			return y
		}()...)...)...)
	}
	weight, bias := numbers(4, 2048, 2), numbers(5, 2048, 3)
	for _, c := range []struct {
		name string
		run  func() []float32
		want string
	}{
		{"add", func() []float32 {
			return over(6, 5, func(y, x []float32) { addRow(y, x, bias[:len(y)]) })
		}, "93fb16d9562a9d55def31add7802b1a3"},
		{"GELU", func() []float32 { return each(geluRow) }, "2f561cee6bb568f930ae892e7ff84b5d"},
		{"tanh", func() []float32 { return each(tanhRow) }, "be261ac337d2a4c400b36e145d31430d"},
		{"softmax", func() []float32 {
			soft := func(scale float32) func(y, x []float32) {
				return func(y, x []float32) { copy(y, x); softmaxRow(y, scale) }
			}
			return append(over(7, 10, soft(1)), append(over(8, 400, soft(0.125)), over(9, 1000, soft(1))...)...)
		}, "25ffef895532ab2085183076ffc6734b"},
		{"softmax of NaN", func() []float32 {
			x := numbers(10, 40, 3)
			x[7] = nan
			softmaxRow(x, 1)
			return x
		}, "a889071f4eeac4158f3ad5eceea253be"},
		{"layer norm", func() []float32 {
			return append(over(11, 3, func(y, x []float32) { layerNormRow(y, x, weight[:len(y)], bias[:len(y)], 1e-5) }),
				over(12, 1000, func(y, x []float32) { layerNormRow(y, x, weight[:len(y)], bias[:len(y)], 1e-6) })...)
		}, "cb309f728fe93e4596d56cacdaebab5e"},
	} {
		if got := digest(c.run()); got != c.want {
			t.Errorf("%s: digest %s, want %s", c.name, got, c.want)
		}
	}
	for _, k := range available(false) {
		if k == &portable {
			continue
		}
		if got, want := digest(goldenProducts(t, k)...), "0df7ea272d6670ec88fbe9061a8bc7b7"; got != want {
			t.Errorf("products of %s: digest %s, want %s", k.name, got, want)
		}
	}
}

// goldenProducts multiplies at sizes that need every height and width of a tile and every way to pack. No sum is longer
// than 256, so that all are one chain of multiply-adds, whatever the size of blocks.
func goldenProducts(t *testing.T, k *kernels) (all [][]float32) {
	for _, size := range [][3]int{{1, 1, 1}, {13, 40, 9}, {45, 77, 255}, {6, 16, 256}, {7, 8, 250}, {19, 24, 129}} {
		m, n, c := size[0], size[1], size[2]
		d := testDevice(t, 2)
		d.kernels, d.exact = k, k
		w := newMatrix(k, n, c)
		if err := w.SetRows(0, numbers(20, n*c, 1)); err != nil {
			t.Fatal(err)
		}
		s, _ := d.NewStream()
		x, y := floatsOn(t, d, numbers(21, m*c, 1)), floatsOn(t, d, make([]float32, m*n))
		if err := s.MatMul(y, n, x, m, w); err != nil {
			t.Fatal(err)
		}
		all = append(all, floats(y))
		p := packer{kernels: k}
		steps := k.steps(c)
		panels, rows := aligned(roundUp(n, k.width)*steps), aligned(m*steps)
		p.panels(panels, numbers(22, c*n, 1), n, 0, n, c, false)
		p.columnsAsRows(rows, numbers(23, c*m, 1), m, m, c)
		out := numbers(24, m*n, 1)
		new(worker).multiplyBlock(k, out, n, rows, 0, m, panels, 0, n, steps, true)
		all = append(all, out)
	}
	return all
}
