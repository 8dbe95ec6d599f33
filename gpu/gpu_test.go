package gpu_test

import (
	"math"
	"strings"
	"testing"

	"sower/gpu"
	_ "sower/gpu/cpu"
	"sower/gpu/driver"
)

func open(t testing.TB, name string, o gpu.Options) *gpu.Device {
	t.Helper()
	dev, err := gpu.Open(name, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
	return dev
}

// ramp is n values that differ.
func ramp(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(math.Sin(float64(i) * 0.7))
	}
	return v
}

func tensor(t testing.TB, dev *gpu.Device, shape ...int) *gpu.Tensor {
	t.Helper()
	n := 1
	for _, d := range shape {
		n *= d
	}
	x, err := dev.FromSlice(ramp(n), shape...)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func weight(t testing.TB, dev *gpu.Device, rows, cols int) *gpu.Tensor {
	t.Helper()
	w, err := dev.NewWeight(rows, cols)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.SetRows(0, ramp(rows*cols)); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestOpen(t *testing.T) {
	_, err := gpu.Open("abacus", gpu.Options{})
	if err == nil {
		t.Fatal("opened an abacus")
	}
	for _, part := range []string{`no back end "abacus"`, "have: cpu, plain", "sower/gpu/cpu"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
	if _, err := gpu.Open("cpu", gpu.Options{Threads: -1}); err == nil {
		t.Error("opened with -1 threads")
	}
	if got := open(t, "cpu", gpu.Options{Threads: 3}).String(); !strings.HasPrefix(got, "cpu (3 threads, ") {
		t.Errorf("the device says %q", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("registered a second cpu")
		}
	}()
	gpu.Register("cpu", func(gpu.Options) (driver.Device, error) { return nil, nil })
}

// TestPassHoldsTheFirstError runs every kind of wrong operand: the pass names the operation and both shapes, and goes on
// returning placeholders.
func TestPassHoldsTheFirstError(t *testing.T) {
	dev := open(t, "cpu", gpu.Options{Threads: 1})
	x, b, w := tensor(t, dev, 2, 3, 4), tensor(t, dev, 5), weight(t, dev, 6, 8)
	table := tensor(t, dev, 7, 4)
	for want, run := range map[string]func(p *gpu.Pass) *gpu.Tensor{
		"gpu: add bias of [F32[2 3 4] F32[5]]: want a bias [4]": func(p *gpu.Pass) *gpu.Tensor { return p.AddBias(x, b) },
		"gpu: add of [F32[2 3 4] F32[5]]":                       func(p *gpu.Pass) *gpu.Tensor { return p.Add(x, b) },
		"gpu: matmul of [F32[2 3 4] F32[6 8]]":                  func(p *gpu.Pass) *gpu.Tensor { return p.Linear(x, w, nil) },
		"gpu: matmul of [F32[2 3 4] F32[7 4]]":                  func(p *gpu.Pass) *gpu.Tensor { return p.MatMul(x, table, gpu.NoTranspose) },
		"gpu: layer norm of":                                    func(p *gpu.Pass) *gpu.Tensor { return p.LayerNorm(x, b, b, 1e-6) },
		"gpu: attention of":                                     func(p *gpu.Pass) *gpu.Tensor { return p.Attention(x, x, x, 3, gpu.Full) },
		"gpu: softmax of":                                       func(p *gpu.Pass) *gpu.Tensor { return p.Softmax(x, 0, gpu.Full) },
		"gpu: reshape of":                                       func(p *gpu.Pass) *gpu.Tensor { return p.Reshape(x, 5, 5) },
		"gpu: prepend of":                                       func(p *gpu.Pass) *gpu.Tensor { return p.Prepend(b, x) },
		"gpu: lookup of [F32[7 4] I32[1]]: cpu: lookup: id 7": func(p *gpu.Pass) *gpu.Tensor {
			return p.Lookup(table, p.IDs([]int32{7}, 1))
		},
		"gpu: nearest of":    func(p *gpu.Pass) *gpu.Tensor { return p.Nearest(x, w, b) },
		"gpu: patches of":    func(p *gpu.Pass) *gpu.Tensor { return p.Patches(p.Bytes(make([]byte, 75), 1, 5, 5, 3), table, 2) },
		"gpu: GELU of":       func(p *gpu.Pass) *gpu.Tensor { return p.GELU(w) },
		"gpu: bytes: shape":  func(p *gpu.Pass) *gpu.Tensor { return p.Bytes(nil, 0, 3) },
		"gpu: split of":      func(p *gpu.Pass) *gpu.Tensor { a, _, _ := p.Split3(x); return a },
		"gpu: read of [F32[": func(p *gpu.Pass) *gpu.Tensor { p.ReadF32(x, make([]float32, 3)); return p.ReLU(x) },
	} {
		p := dev.NewPass(gpu.Inference)
		y := run(p)
		y = p.Softmax(p.Add(p.Linear(y, w, b), y), 1, gpu.Causal) // must do nothing, and not panic
		p.ReadF32(y, make([]float32, 1000))
		if err := p.Close(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error is %v, want %q…", err, want)
		}
	}
	p := dev.NewPass(gpu.Inference)
	p.Add(x, x)
	if err := p.Close(); err != nil {
		t.Errorf("a pass after failed ones: %v", err)
	}
}

// TestComposed compares the fused forms with the composed ones.
func TestComposed(t *testing.T) {
	run := func(dev *gpu.Device) (layer, attention []float32) {
		x, residual, bias := tensor(t, dev, 2, 9, 24), tensor(t, dev, 2, 9, 15), tensor(t, dev, 15)
		w := weight(t, dev, 15, 24)
		p := dev.NewPass(gpu.Inference)
		layer = make([]float32, 3*2*9*15)
		part := len(layer) / 3
		p.ReadF32(p.LinearAdd(x, w, bias, residual), layer[:part])
		p.ReadF32(p.LinearGELU(x, w, bias), layer[part:2*part])
		p.ReadF32(p.LinearTanh(x, w, nil), layer[2*part:])
		q, k, v := p.Split3(x)
		attention = make([]float32, 2*9*8)
		p.ReadF32(p.Attention(q, k, v, 2, gpu.Causal), attention)
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		return layer, attention
	}
	fused, fusedAttention := run(open(t, "cpu", gpu.Options{}))
	composed, composedAttention := run(open(t, "cpu", gpu.Options{Composed: true}))
	plain, plainAttention := run(open(t, "plain", gpu.Options{}))
	for i := range fused {
		if math.Float32bits(fused[i]) != math.Float32bits(composed[i]) {
			t.Fatalf("layer: element %d is %g fused and %g composed", i, fused[i], composed[i])
		}
		if math.Abs(float64(fused[i]-plain[i])) > 1e-5 {
			t.Fatalf("layer: element %d is %g, and plainly %g", i, fused[i], plain[i])
		}
	}
	for i := range fusedAttention {
		for _, other := range []float32{composedAttention[i], plainAttention[i]} {
			if math.Abs(float64(fusedAttention[i]-other)) > 1e-6 {
				t.Fatalf("attention: element %d is %g, want %g", i, fusedAttention[i], other)
			}
		}
	}
}

// TestMatMul multiplies tensors that are not packed.
func TestMatMul(t *testing.T) {
	dev := open(t, "cpu", gpu.Options{})
	plain := open(t, "plain", gpu.Options{})
	for _, c := range []struct {
		x, b      []int
		transpose gpu.Transposition
		n         int
	}{
		{[]int{2, 3, 4}, []int{4, 5}, gpu.NoTranspose, 30},
		{[]int{2, 3, 4}, []int{5, 4}, gpu.TransposeB, 30},
		{[]int{2, 3, 4}, []int{2, 4, 5}, gpu.NoTranspose, 30},
		{[]int{2, 3, 4}, []int{2, 5, 4}, gpu.TransposeB, 30},
	} {
		run := func(dev *gpu.Device) []float32 {
			p := dev.NewPass(gpu.Inference)
			out := make([]float32, c.n)
			p.ReadF32(p.MatMul(tensor(t, dev, c.x...), tensor(t, dev, c.b...), c.transpose), out)
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			return out
		}
		got, want := run(dev), run(plain)
		for i := range want {
			if math.Abs(float64(got[i]-want[i])) > 1e-6 {
				t.Errorf("%v x %v: element %d is %g, want %g", c.x, c.b, i, got[i], want[i])
			}
		}
	}
}

// TestLayersReuseMemory runs a deep stack and checks that its results are right although each step takes the memory of
// the one before, and that a second pass of the same shapes allocates nothing.
func TestLayersReuseMemory(t *testing.T) {
	dev := open(t, "cpu", gpu.Options{Threads: 1})
	x := tensor(t, dev, 2, 3)
	got := make([]float32, 6)
	step := func(p *gpu.Pass) {
		first := p.Add(x, x)
		y := p.Layers(5, first, func(i int, y *gpu.Tensor) *gpu.Tensor {
			z := p.Add(y, y) // of no further use
			return p.Add(p.ReLU(z), y)
		})
		p.ReadF32(p.Add(y, first), got)
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	step(dev.NewPass(gpu.Inference))
	for i, v := range ramp(6) {
		want := 2 * v
		for range 5 {
			want = max(2*want, 0) + want
		}
		if want += 2 * v; got[i] != want {
			t.Errorf("element %d is %g, want %g", i, got[i], want)
		}
	}
	if allocs := testing.AllocsPerRun(10, func() { step(dev.NewPass(gpu.Inference)) }); allocs > 1 { // the step of Layers
		t.Errorf("a pass like the last one allocates %v times", allocs)
	}
}

func TestTap(t *testing.T) {
	dev := open(t, "cpu", gpu.Options{Threads: 1})
	x := tensor(t, dev, 2, 3)
	var seen []string
	dev.SetTap(func(p *gpu.Pass, name string, y *gpu.Tensor) {
		values := make([]float32, y.Len())
		p.ReadF32(y, values)
		if values[1] != ramp(2)[1] {
			t.Errorf("tap %s saw %g", name, values[1])
		}
		seen = append(seen, name)
	})
	p := dev.NewPass(gpu.Inference)
	p.Tap("x", x)
	dev.SetTap(nil)
	p.Tap("again", x)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 1 || seen[0] != "x" {
		t.Errorf("taps saw %v", seen)
	}
}
