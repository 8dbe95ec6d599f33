package gpu_test

import (
	"strings"
	"testing"

	"sower/gpu"
)

// TestAppend attends over a cache that grows in parts, and wants what attention over all tokens at once gives.
func TestAppend(t *testing.T) {
	const b, n, most, heads, groups, d = 2, 9, 12, 4, 2, 8
	for _, backEnd := range []string{"cpu", "plain"} {
		dev := open(t, backEnd, gpu.Options{})
		starts := make([]int32, b*n)
		for i := n; i < 2*n; i++ {
			starts[i] = 2
		}
		tensor := func(seed uint64, shape ...int) (*gpu.Tensor, []float32) {
			v := normal(seed, b*n*shape[0])
			x, err := dev.FromSlice(v, b, n, shape[0])
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(x.Free)
			return x, v
		}
		q, qv := tensor(1, heads*d)
		k, kv := tensor(2, groups*d)
		v, vv := tensor(3, groups*d)
		var caches [2]*gpu.Tensor
		for i := range caches {
			var err error
			if caches[i], err = dev.NewTensor(gpu.F32, b, most, groups*d); err != nil {
				t.Fatal(err)
			}
			defer caches[i].Free()
		}
		p := dev.NewPass(gpu.Inference)
		want := make([]float32, b*n*heads*d)
		p.ReadF32(p.CausalAttention(q, k, v, heads, groups, p.IDs(starts, b, n)), want)
		// rows takes tokens from to to of each sequence.
		rows := func(x []float32, width, from, to int) *gpu.Tensor {
			var part []float32
			for r := range b {
				part = append(part, x[(r*n+from)*width:(r*n+to)*width]...)
			}
			z, err := dev.FromSlice(part, b, to-from, width)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(z.Free)
			return z
		}
		for from := 0; from < n; {
			to := min(n, from+4)
			if from > 0 {
				to = from + 1
			}
			var at []int32
			for r := range b {
				at = append(at, starts[r*n+from:r*n+to]...)
			}
			keys := p.Append(caches[0], rows(kv, groups*d, from, to), from)
			vals := p.Append(caches[1], rows(vv, groups*d, from, to), from)
			got := make([]float32, b*(to-from)*heads*d)
			p.ReadF32(p.CausalAttention(rows(qv, heads*d, from, to), keys, vals, heads, groups, p.IDs(at, b, to-from)), got)
			if p.Err() != nil {
				t.Fatal(p.Close())
			}
			for r := range b {
				w := heads * d
				near(t, backEnd, got[r*(to-from)*w:(r+1)*(to-from)*w], want[(r*n+from)*w:(r*n+to)*w], 1e-6)
			}
			from = to
		}
		p.Add(p.Append(caches[0], k, 0), q)
		if err := p.Close(); err == nil || !strings.Contains(err.Error(), "dense") {
			t.Errorf("%s: added to a view: %v", backEnd, err)
		}
		p = dev.NewPass(gpu.Inference)
		p.Append(caches[0], k, most-n+1)
		if err := p.Close(); err == nil || !strings.Contains(err.Error(), "9 rows at 4 do not fit") {
			t.Errorf("%s: beyond the end: %v", backEnd, err)
		}
	}
}
