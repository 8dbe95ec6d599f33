package gpu_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"sower/gpu"
	_ "sower/gpu/cpu"
)

// gradientCase is an operation of parameters, whose gradients are checked one tensor at a time.
type gradientCase struct {
	name   string
	shapes [][]int
	run    func(p *gpu.Pass, dev *gpu.Device, x []*gpu.Tensor) *gpu.Tensor
	loss   bool // the result is a loss: only its sum has a gradient
}

// packed makes a packed weight of fixed values.
func packed(t testing.TB, dev *gpu.Device, rows, cols int, seed uint64) *gpu.Tensor {
	t.Helper()
	w, err := dev.NewWeight(rows, cols)
	if err == nil {
		err = w.SetRows(0, normal(seed, rows*cols))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Free)
	return w
}

func normal(seed uint64, n int) []float32 {
	r := rand.New(rand.NewPCG(seed, 9))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

func gradientCases(t testing.TB) []gradientCase {
	type P = *gpu.Pass
	type D = *gpu.Device
	type X = []*gpu.Tensor
	const b, n, c, heads = 2, 7, 12, 3
	seq := []int{b, n, c}
	one := func(name string, shape []int, f func(p P, x *gpu.Tensor) *gpu.Tensor) gradientCase {
		return gradientCase{name: name, shapes: [][]int{shape}, run: func(p P, _ D, x X) *gpu.Tensor { return f(p, x[0]) }}
	}
	weights := map[string]*gpu.Tensor{}
	weight := func(dev D, rows, cols int) *gpu.Tensor {
		key := fmt.Sprint(dev, rows, cols)
		if weights[key] == nil {
			weights[key] = packed(t, dev, rows, cols, 5)
		}
		return weights[key]
	}
	angles := func(dev D) (cos, sin *gpu.Tensor) {
		key := fmt.Sprint(dev, "angles")
		if weights[key] == nil {
			var cs, sn []float32
			for i := range 20 * 2 {
				cs, sn = append(cs, float32(math.Cos(float64(i)))), append(sn, float32(math.Sin(float64(i))))
			}
			var err error
			if weights[key], err = dev.FromSlice(cs, 20, 2); err == nil {
				weights[key+"s"], err = dev.FromSlice(sn, 20, 2)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		return weights[key], weights[key+"s"]
	}
	positions := []int32{0, 1, 2, 3, 0, 1, 2, 5, 6, 7, 8, 9, 10, 19}
	starts := []int32{0, 0, 0, 3, 3, 5, 5, 2, 2, 2, 2, 2, 2, 99}
	labels := []int32{1, gpu.Ignored, 0, 22, 17, 3, 24, 5, 6, gpu.Ignored, 8, 9, 10, 11}
	return []gradientCase{
		{name: "Add", shapes: [][]int{seq, seq}, run: func(p P, _ D, x X) *gpu.Tensor { return p.Add(x[0], x[1]) }},
		{name: "Add, repeated", shapes: [][]int{seq, {n, c}}, run: func(p P, _ D, x X) *gpu.Tensor { return p.Add(x[0], x[1]) }},
		one("Add to itself", seq, func(p P, x *gpu.Tensor) *gpu.Tensor { return p.Add(p.Add(x, x), x) }),
		{name: "AddBias", shapes: [][]int{seq, {c}}, run: func(p P, _ D, x X) *gpu.Tensor { return p.AddBias(x[0], x[1]) }},
		one("GELU", seq, func(p P, x *gpu.Tensor) *gpu.Tensor { return p.GELU(x) }),
		one("Tanh", seq, func(p P, x *gpu.Tensor) *gpu.Tensor { return p.Tanh(x) }),
		one("SiLU", seq, func(p P, x *gpu.Tensor) *gpu.Tensor { return p.SiLU(x) }),
		one("Scale", seq, func(p P, x *gpu.Tensor) *gpu.Tensor { return p.Scale(x, -1.5) }),
		one("Dropout", seq, func(p P, x *gpu.Tensor) *gpu.Tensor { return p.Dropout(x, 7, 0.3) }),
		one("Softmax", seq, func(p P, x *gpu.Tensor) *gpu.Tensor { return p.Softmax(x, 0.7, gpu.Full) }),
		one("Softmax, causal", []int{b, n, n}, func(p P, x *gpu.Tensor) *gpu.Tensor { return p.Softmax(x, 0.7, gpu.Causal) }),
		one("Reshape", seq, func(p P, x *gpu.Tensor) *gpu.Tensor { return p.Add(p.Reshape(x, b*n, c), p.Reshape(p.Tanh(x), b*n, c)) }),
		{name: "Rows and Stack", shapes: [][]int{seq, {3, c}}, run: func(p P, _ D, x X) *gpu.Tensor {
			return p.Stack(p.Rows(x[0], 4, 5), p.Tanh(x[1]), p.Rows(p.Tanh(x[0]), 0, 14), p.Rows(x[0], 6, 1))
		}},
		{name: "Mix", shapes: [][]int{{5, n}, seq}, run: func(p P, _ D, x X) *gpu.Tensor { return p.Mix(x[0], x[1]) }},
		{name: "Mix, used twice", shapes: [][]int{{n, n}, seq}, run: func(p P, _ D, x X) *gpu.Tensor { return p.Mix(x[0], p.Mix(x[0], x[1])) }},
		one("Repeat", []int{n, c}, func(p P, x *gpu.Tensor) *gpu.Tensor { return p.Tanh(p.Repeat(x, 3)) }),
		{name: "Prepend", shapes: [][]int{{c}, seq}, run: func(p P, _ D, x X) *gpu.Tensor { return p.Prepend(x[0], x[1]) }},
		{name: "LayerNorm", shapes: [][]int{seq, {c}, {c}}, run: func(p P, _ D, x X) *gpu.Tensor { return p.LayerNorm(x[0], x[1], x[2], 1e-5) }},
		{name: "RMSNorm", shapes: [][]int{seq, {c}}, run: func(p P, _ D, x X) *gpu.Tensor { return p.RMSNorm(x[0], x[1], 1e-5) }},
		{name: "Gate", shapes: [][]int{seq, seq}, run: func(p P, _ D, x X) *gpu.Tensor { return p.Gate(x[0], x[1]) }},
		{name: "MatMul", shapes: [][]int{seq, {c, 9}}, run: func(p P, _ D, x X) *gpu.Tensor { return p.MatMul(x[0], x[1], gpu.NoTranspose) }},
		{name: "MatMul, transposed", shapes: [][]int{seq, {9, c}}, run: func(p P, _ D, x X) *gpu.Tensor { return p.MatMul(x[0], x[1], gpu.TransposeB) }},
		{name: "MatMul of batches", shapes: [][]int{seq, {b, c, 5}}, run: func(p P, _ D, x X) *gpu.Tensor { return p.MatMul(x[0], x[1], gpu.NoTranspose) }},
		{name: "MatMul of batches, transposed", shapes: [][]int{seq, {b, 5, c}}, run: func(p P, _ D, x X) *gpu.Tensor { return p.MatMul(x[0], x[1], gpu.TransposeB) }},
		{name: "Linear", shapes: [][]int{seq, {40}, {b, n, 40}}, run: func(p P, dev D, x X) *gpu.Tensor {
			return p.LinearAdd(x[0], weight(dev, 40, c), x[1], x[2])
		}},
		{name: "LinearGELU", shapes: [][]int{seq, {40}}, run: func(p P, dev D, x X) *gpu.Tensor { return p.LinearGELU(x[0], weight(dev, 40, c), x[1]) }},
		{name: "Linear, trained", shapes: [][]int{seq, {40, c}, {40}, {b, n, 40}}, run: func(p P, _ D, x X) *gpu.Tensor { return p.LinearAdd(x[0], x[1], x[2], x[3]) }},
		{name: "LinearGELU, trained", shapes: [][]int{seq, {40, c}, {40}}, run: func(p P, _ D, x X) *gpu.Tensor { return p.LinearGELU(x[0], x[1], x[2]) }},
		{name: "LinearTanh, trained, twice", shapes: [][]int{{90, 24}, {40, 24}, {5, 40}}, run: func(p P, _ D, x X) *gpu.Tensor {
			return p.LinearTanh(p.LinearTanh(x[0], x[1], nil), x[2], nil)
		}},
		{name: "a wide Linear, used twice", shapes: [][]int{seq}, run: func(p P, dev D, x X) *gpu.Tensor {
			h := p.Tanh(x[0])
			return p.Add(p.Linear(h, weight(dev, 333, c), nil), p.Linear(x[0], weight(dev, 333, c), nil))
		}},
		{name: "LowRank", shapes: [][]int{seq, {4, c}, {40, 4}}, run: func(p P, dev D, x X) *gpu.Tensor {
			return p.LowRank(p.Linear(x[0], weight(dev, 40, c), nil), x[0], x[1], x[2], 0.5)
		}},
		{name: "Attention", shapes: [][]int{{b, n, 3 * c}}, run: func(p P, _ D, x X) *gpu.Tensor {
			q, k, v := p.Split3(x[0])
			return p.Attention(q, k, v, heads, gpu.Full)
		}},
		{name: "Attention across", shapes: [][]int{seq, {b, 11, c}, {b, 11, c}}, run: func(p P, _ D, x X) *gpu.Tensor {
			return p.Attention(x[0], x[1], x[2], heads, gpu.Full)
		}},
		{name: "CausalAttention, groups and documents", shapes: [][]int{{b, n, c}, {b, n, 4}, {b, n, 4}}, run: func(p P, _ D, x X) *gpu.Tensor {
			return p.CausalAttention(x[0], x[1], x[2], heads, 1, p.IDs(starts, b, n))
		}},
		{name: "CausalAttention, long", shapes: [][]int{{1, 300, 16}, {1, 300, 8}, {1, 300, 8}}, run: func(p P, _ D, x X) *gpu.Tensor {
			return p.CausalAttention(x[0], x[1], x[2], 2, 1, nil)
		}},
		{name: "Rotate", shapes: [][]int{seq}, run: func(p P, dev D, x X) *gpu.Tensor {
			cos, sin := angles(dev)
			return p.Rotate(x[0], p.IDs(positions, b, n), cos, sin, heads)
		}},
		{name: "Lookup", shapes: [][]int{{20, c}}, run: func(p P, _ D, x X) *gpu.Tensor { return p.Lookup(x[0], p.IDs(positions, b, n)) }},
		{name: "ReplaceRows", shapes: [][]int{seq, {3, c}}, run: func(p P, _ D, x X) *gpu.Tensor {
			return p.ReplaceRows(x[0], x[1], []int32{2, 5, 13}, []int32{1, 0, 1})
		}},
		{name: "CrossEntropy", shapes: [][]int{seq, {25, c}}, loss: true, run: func(p P, _ D, x X) *gpu.Tensor {
			return p.CrossEntropy(x[0], &gpu.Head{Weight: x[1]}, labels, 0.1)
		}},
		{name: "CrossEntropy, trained rows", shapes: [][]int{seq, {6, c}}, loss: true, run: func(p P, dev D, x X) *gpu.Tensor {
			return p.CrossEntropy(x[0], &gpu.Head{Weight: weight(dev, 22, c), Rows: x[1], IDs: []int32{3, 4, 17, 22, 23, 24}}, labels, 0.1)
		}},
	}
}

// objective runs a case and returns the weighted sum of its result, and the gradients if asked.
func objective(t testing.TB, dev *gpu.Device, c gradientCase, values [][]float32, mode gpu.Mode) (float64, [][]float32) {
	t.Helper()
	var params []*gpu.Tensor
	for i, v := range values {
		x, err := dev.NewParameter(v, c.shapes[i]...)
		if err != nil {
			t.Fatal(err)
		}
		defer x.Free()
		params = append(params, x)
	}
	p := dev.NewPass(mode)
	y := c.run(p, dev, params)
	out := make([]float32, y.Len())
	p.ReadF32(y, out)
	factors := normal(3, len(out))
	if c.loss {
		for i := range factors {
			factors[i] = 1
		}
	}
	sum := 0.0
	for i, v := range out {
		sum += float64(v) * float64(factors[i])
	}
	var grads [][]float32
	if mode != gpu.Inference {
		var dy *gpu.Tensor
		if !c.loss {
			var err error
			if dy, err = dev.FromSlice(factors, y.Shape()...); err != nil {
				t.Fatal(err)
			}
		}
		p.Backward(y, dy)
		for _, x := range params {
			g := make([]float32, x.Len())
			p.ReadF32(x.Grad(), g)
			grads = append(grads, g)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	return sum, grads
}

// TestGradients compares the gradients of every operation with finite differences along random directions, taken on the
// plain back end, and the fast back end's with the plain one's.
func TestGradients(t *testing.T) {
	plain, fast := open(t, "plain", gpu.Options{}), open(t, "cpu", gpu.Options{})
	for _, c := range gradientCases(t) {
		t.Run(c.name, func(t *testing.T) {
			var values [][]float32
			for i, shape := range c.shapes {
				n := 1
				for _, d := range shape {
					n *= d
				}
				values = append(values, normal(uint64(i)+20, n))
			}
			_, grads := objective(t, plain, c, values, gpu.Training)
			for i := range values {
				direction := normal(uint64(i)+50, len(values[i]))
				const h = 2e-3
				along := func(sign float32) float64 {
					moved := append([][]float32{}, values...)
					moved[i] = append([]float32{}, values[i]...)
					for j, d := range direction {
						moved[i][j] += sign * h * d
					}
					y, _ := objective(t, plain, c, moved, gpu.Inference)
					return y
				}
				want, got, size := (along(1)-along(-1))/(2*h), 0.0, 0.0
				for j, g := range grads[i] {
					got += float64(g) * float64(direction[j])
					size += float64(g) * float64(g)
				}
				if d := math.Abs(got - want); !(d <= 2e-3*math.Sqrt(size)+1e-4) {
					t.Errorf("operand %d: the gradient along a direction is %g, finite differences say %g", i, got, want)
				}
			}
			for _, mode := range []gpu.Mode{gpu.Training, gpu.Recompute} {
				_, others := objective(t, fast, c, values, mode)
				for i := range grads {
					near(t, fmt.Sprintf("operand %d", i), others[i], grads[i], 2e-5)
				}
			}
		})
	}
}

// near compares by the largest element.
func near(t testing.TB, what string, got, want []float32, bound float64) {
	t.Helper()
	most := 0.0
	for _, v := range want {
		most = max(most, math.Abs(float64(v)))
	}
	for i, v := range want {
		if d := math.Abs(float64(got[i]) - float64(v)); !(d <= bound*most+1e-9) {
			t.Errorf("%s: element %d is %g, want %g", what, i, got[i], v)
			return
		}
	}
}

// TestRecompute compares gradients of a deep model with and without intermediates, and their memory.
func TestRecompute(t *testing.T) {
	dev := open(t, "cpu", gpu.Options{})
	const n, c, layers = 33, 16, 6
	c1 := gradientCase{name: "layers", shapes: [][]int{{n, c}, {c, c}, {c}}, run: func(p *gpu.Pass, _ *gpu.Device, x []*gpu.Tensor) *gpu.Tensor {
		return p.Layers(layers, x[0], func(i int, h *gpu.Tensor) *gpu.Tensor {
			y := p.MatMul(p.RMSNorm(h, x[2], 1e-5), x[1], gpu.TransposeB)
			return p.Add(p.Dropout(p.Tanh(y), uint64(i), 0.2), h)
		})
	}}
	values := [][]float32{normal(1, n*c), normal(2, c*c), normal(3, c)}
	want, kept := objective(t, dev, c1, values, gpu.Training)
	got, again := objective(t, dev, c1, values, gpu.Recompute)
	if got != want {
		t.Errorf("results differ: %v and %v", got, want)
	}
	for i := range kept {
		near(t, fmt.Sprintf("operand %d", i), again[i], kept[i], 1e-6)
	}
}

// TestBackwardSaysWhatIsWrong holds the errors of training to their words.
func TestBackwardSaysWhatIsWrong(t *testing.T) {
	dev := open(t, "cpu", gpu.Options{})
	x, err := dev.NewParameter(normal(1, 6), 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Free()
	fixed, err := dev.FromSlice(normal(1, 6), 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer fixed.Free()
	for name, run := range map[string]func() error{
		"inference": func() error {
			p := dev.NewPass(gpu.Inference)
			p.Backward(p.Tanh(x), nil)
			return p.Close()
		},
		"no parameter": func() error {
			p := dev.NewPass(gpu.Training)
			p.Backward(p.Tanh(fixed), nil)
			return p.Close()
		},
		"other shape": func() error {
			p := dev.NewPass(gpu.Training)
			p.Backward(p.Tanh(x), p.Repeat(fixed, 2))
			return p.Close()
		},
	} {
		if err := run(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
