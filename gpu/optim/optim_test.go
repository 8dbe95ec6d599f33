package optim_test

import (
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sower/gpu"
	_ "sower/gpu/cpu"
	"sower/gpu/nn"
	"sower/gpu/optim"
)

// parameter makes one of fixed values.
func parameter(t testing.TB, dev *gpu.Device, name string, n int) nn.Parameter {
	t.Helper()
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(math.Sin(float64(i) + float64(len(name))))
	}
	x, err := dev.NewParameter(values, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Free)
	return nn.Parameter{Name: name, Tensor: x}
}

// setGrads writes gradients that follow from the step.
func setGrads(t testing.TB, dev *gpu.Device, params []nn.Parameter, step int) (all [][]float32) {
	t.Helper()
	p := dev.NewPass(gpu.Inference)
	for i, q := range params {
		g := make([]float32, q.Tensor.Len())
		for j := range g {
			g[j] = float32(math.Cos(float64(j*(i+1) + 3*step)))
		}
		p.WriteF32(q.Tensor.Grad(), 0, g)
		all = append(all, g)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	return all
}

func read(t testing.TB, dev *gpu.Device, x *gpu.Tensor) []float32 {
	t.Helper()
	v := make([]float32, x.Len())
	p := dev.NewPass(gpu.Inference)
	p.ReadF32(x, v)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	return v
}

func open(t testing.TB) *gpu.Device {
	t.Helper()
	dev, err := gpu.Open("cpu", gpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}

var config = optim.Config{Beta1: 0.9, Beta2: 0.95, Eps: 1e-5, Decay: 0.05, Decayed: optim.Matrices, Clip: 1}

// TestStep compares some updates with the formulas in float64, clipping and spared parameters among them.
func TestStep(t *testing.T) {
	dev := open(t)
	params := []nn.Parameter{parameter(t, dev, "layers.0.fc.weight", 50), parameter(t, dev, "layers.0.fc.bias", 7),
		parameter(t, dev, "layers.0.input_layernorm.weight", 9), parameter(t, dev, "model.norm.weight", 5), parameter(t, dev, "normal.weight", 6)}
	decayed := []bool{true, false, false, false, true}
	o, err := optim.New(dev, params, config)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	var x, m, v [][]float64
	for _, q := range params {
		n := q.Tensor.Len()
		x, m, v = append(x, make([]float64, n)), append(m, make([]float64, n)), append(v, make([]float64, n))
		for i, value := range read(t, dev, q.Tensor) {
			x[len(x)-1][i] = float64(value)
		}
	}
	for s := range 5 {
		grads, rate, sum := setGrads(t, dev, params, s), 0.01*float64(s+1), 0.0
		for _, g := range grads {
			for _, d := range g {
				sum += float64(d) * float64(d)
			}
		}
		norm, err := o.Step(rate)
		if err != nil || math.Abs(norm-math.Sqrt(sum)) > 1e-9*norm {
			t.Fatalf("norm %v, %v, want %v", norm, err, math.Sqrt(sum))
		}
		for i, g := range grads {
			for j, d := range g {
				d := float64(d) * min(1, 1/(norm+1e-6))
				if decayed[i] {
					x[i][j] *= 1 - rate*0.05
				}
				m[i][j] = 0.9*m[i][j] + 0.1*d
				v[i][j] = 0.95*v[i][j] + 0.05*d*d
				n := float64(s + 1)
				x[i][j] -= rate / (1 - math.Pow(0.9, n)) * m[i][j] / (math.Sqrt(v[i][j]/(1-math.Pow(0.95, n))) + 1e-5)
			}
		}
	}
	for i, q := range params {
		for j, value := range read(t, dev, q.Tensor) {
			if d := math.Abs(float64(value) - x[i][j]); d > 1e-6 {
				t.Errorf("%s, element %d: %v, want %v", q.Name, j, value, x[i][j])
				break
			}
		}
		if g := read(t, dev, q.Tensor.Grad()); slices.ContainsFunc(g, func(v float32) bool { return v != 0 }) {
			t.Errorf("%s: the gradient is not 0 after a step", q.Name)
		}
	}
}

// TestResume stops after three steps of six and goes on to the same bits.
func TestResume(t *testing.T) {
	dev := open(t)
	run := func(stop bool) [][]float32 {
		params := []nn.Parameter{parameter(t, dev, "a", 5000), parameter(t, dev, "b", 3)}
		o, err := optim.New(dev, params, config)
		if err != nil {
			t.Fatal(err)
		}
		for s := range 6 {
			if stop && s == 3 {
				state, err := o.Export()
				if err != nil {
					t.Fatal(err)
				}
				slices.Reverse(state.Moments) // names decide
				o.Close()
				if o, err = optim.New(dev, params, config); err != nil {
					t.Fatal(err)
				}
				if err := o.Import(state); err != nil {
					t.Fatal(err)
				}
			}
			setGrads(t, dev, params, s)
			if _, err := o.Step(0.01); err != nil {
				t.Fatal(err)
			}
		}
		defer o.Close()
		if o.Steps() != 6 {
			t.Errorf("%d steps", o.Steps())
		}
		return [][]float32{read(t, dev, params[0].Tensor), read(t, dev, params[1].Tensor)}
	}
	if got, want := run(true), run(false); !reflect.DeepEqual(got, want) {
		t.Error("a resumed run ends elsewhere")
	}
}

func TestSchedules(t *testing.T) {
	s := optim.Schedule{Shape: optim.Cosine, Base: 2, Warmup: 4, Total: 12, Floor: 0.1}
	linear, constant := s, s
	linear.Shape, constant.Shape = optim.Linear, optim.Constant
	for step, want := range map[int][3]float64{0: {0, 0, 0}, 1: {0.5, 0.5, 0.5}, 4: {2, 2, 2}, 8: {1.1, 1.1, 2}, 12: {0.2, 0.2, 2}, 99: {0.2, 0.2, 2}} {
		for i, got := range [3]float64{s.Rate(step), linear.Rate(step), constant.Rate(step)} {
			if math.Abs(got-want[i]) > 1e-12 {
				t.Errorf("update %d of shape %d: rate %v, want %v", step, i, got, want[i])
			}
		}
	}
	for _, bad := range []optim.Schedule{{Shape: "step", Base: 1, Total: 1}, {Shape: optim.Cosine, Base: -1, Total: 1}, {Shape: optim.Cosine, Base: 1},
		{Shape: optim.Cosine, Base: 1, Total: 3, Warmup: 4}, {Shape: optim.Cosine, Base: 1, Total: 3, Floor: 2}} {
		if bad.Validate() == nil {
			t.Errorf("%+v is valid", bad)
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	dev := open(t)
	a := parameter(t, dev, "a", 4)
	if _, err := optim.New(dev, []nn.Parameter{a, a}, config); err == nil || !strings.Contains(err.Error(), `"a" is no parameter, or there twice`) {
		t.Errorf("twice: %v", err)
	}
	if _, err := optim.New(dev, nil, config); err == nil {
		t.Error("no parameters")
	}
	if _, err := optim.New(dev, []nn.Parameter{a}, optim.Config{Beta1: 1, Decayed: "some"}); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("settings: %v", err)
	}
	o, err := optim.New(dev, []nn.Parameter{a}, config)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	before := read(t, dev, a.Tensor)
	p := dev.NewPass(gpu.Inference)
	p.WriteF32(a.Tensor.Grad(), 0, []float32{1, 2, float32(math.NaN()), 4})
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Step(1); !errors.Is(err, optim.ErrNotFinite) || !slices.Equal(before, read(t, dev, a.Tensor)) {
		t.Errorf("not finite: %v", err)
	}
	if err := o.ZeroGrad(); err != nil || slices.ContainsFunc(read(t, dev, a.Tensor.Grad()), func(v float32) bool { return v != 0 }) {
		t.Errorf("gradients stay: %v", err)
	}
	if err := o.Import(optim.State{Moments: []optim.Moments{{Name: "b", M: make([]float32, 4), V: make([]float32, 4)}}}); err == nil {
		t.Error("imported the state of another run")
	}
}
