package lora_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sower/gpu"
	_ "sower/gpu/cpu"
	"sower/gpu/lora"
	"sower/gpu/models/lm"
	_ "sower/gpu/models/lm/all"
	"sower/gpu/nn"
	"sower/gpu/optim"
	"sower/internal/golden"
)

// The bars: float32 against float32 of PyTorch, some ten times what separates that from float64.
const (
	gradBar  = 1e-4 // relative, per tensor
	logitBar = 1e-5 // relative
)

// bars are those of a whole run.
type bars struct {
	steps         int     // until which the first two of strict hold, in any case
	loss          float64 // absolute, at every step
	norm, adapter float64 // relative; adapter: per tensor, after all steps
}

var (
	strict = bars{loss: 1e-5, norm: 1e-4, adapter: 1e-4}
	// kinked is for the run of OPT on back ends that sum in another order. Among its 20 million inputs of a ReLU some are within
	// 4e-7 of 0 (step 43, layer 2, row 1, unit 45: 1.3e-7), and where rounding puts one on the other side the gradient jumps
	// and the run goes its own way: 1e-4 of loss in the end. Faults of the optimizer show within 10 steps. The plain back
	// end keeps to the strict bars.
	kinked = bars{steps: 10, loss: 1e-3, norm: 5e-2, adapter: 0.2}
)

var sets = []string{"lora-llama-tiny", "lora-opt-tiny", "lora-seed-tiny", "lora-llama-tiny-tokens", "lora-opt-tiny-tokens"}

// device is what the tests compute on: the CPU, or $SOWER_TEST_DEVICE.
func device() string { return cmp.Or(os.Getenv("SOWER_TEST_DEVICE"), "cpu") }

func open(t testing.TB, backEnd string) *gpu.Device {
	t.Helper()
	dev, err := gpu.Open(backEnd, gpu.Options{})
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

func read(t testing.TB, dir string) *lora.Folder {
	t.Helper()
	f, err := lora.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func base(t testing.TB, name string) *lm.Checkpoint {
	t.Helper()
	c, err := lm.Open(golden.Fixtures(t, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// attach loads the base of a PEFT folder and puts the folder's adapter on it.
func attach(t testing.TB, dev *gpu.Device, f *lora.Folder) (lm.Model, *lora.Adapters) {
	t.Helper()
	m, err := base(t, f.Config.Base).Load(dev, f.Config.Options(f.Rows(), 0))
	if err != nil {
		t.Fatal(err)
	}
	a, err := lora.Attach(m, f.Config, 7)
	if err == nil {
		err = a.Restore(f)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(a.Close(), m.Close()); err != nil {
			t.Error(err)
		}
	})
	return m, a
}

// example is batch i of a trajectory.
func example(t testing.TB, m lm.Model, want *golden.File, i int) lm.Example {
	t.Helper()
	shape := want.Shape("input_ids") // [8 4 48]
	B, T := shape[1], shape[2]
	part := func(name string) []int32 { return want.Int32s(name)[i*B*T : (i+1)*B*T] }
	b, err := lm.Masked(part("input_ids"), part("attention_mask"), B, T, lm.Tokens)
	if err != nil {
		t.Fatal(err)
	}
	return lm.Example{Batch: b, Labels: part("labels")}
}

func values(t testing.TB, dev *gpu.Device, x *gpu.Tensor) []float32 {
	t.Helper()
	v := make([]float32, x.Len())
	p := dev.NewPass(gpu.Inference)
	p.ReadF32(x, v)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	return v
}

// schedule reads the settings of a trajectory.
func schedule(t testing.TB, want *golden.File) (optim.Config, optim.Schedule) {
	t.Helper()
	var o struct {
		Betas                                             [2]float64
		Eps, Weight_decay, Lr, Floor, Clip, Warmup, Steps float64
	}
	if err := json.Unmarshal([]byte(want.Metadata["optimizer"]), &o); err != nil {
		t.Fatal(err)
	}
	return optim.Config{Beta1: o.Betas[0], Beta2: o.Betas[1], Eps: o.Eps, Decay: o.Weight_decay, Decayed: optim.All, Clip: o.Clip},
		optim.Schedule{Shape: optim.Cosine, Base: o.Lr, Warmup: int(o.Warmup), Total: int(o.Steps), Floor: o.Floor}
}

// TestTrajectories follows every run of the fixtures: gradients of its first steps, loss and gradient norm of every step, and the
// adapter at its end.
func TestTrajectories(t *testing.T) {
	for _, set := range sets {
		for _, mode := range []struct {
			name    string
			backEnd string
			mode    gpu.Mode
		}{{"fast", device(), gpu.Training}, {"recompute", device(), gpu.Recompute}, {"plain", "plain", gpu.Training}} {
			t.Run(set+"/"+mode.name, func(t *testing.T) {
				limits := strict
				if set == "lora-opt-tiny" && mode.name != "plain" {
					limits = kinked
				}
				if mode.name == "plain" && (testing.Short() || !strings.Contains(set, "opt")) {
					t.Skip("plain is slow: OPT alone, and not in short mode")
				}
				if mode.name == "recompute" && testing.Short() && !strings.HasSuffix(set, "tokens") {
					t.Skip("a long run, in short mode")
				}
				folder := golden.Fixtures(t, set)
				want := golden.Open(t, filepath.Join(folder, "trajectory.safetensors"))
				dev := open(t, mode.backEnd)
				m, a := attach(t, dev, read(t, filepath.Join(folder, "init")))
				follow(t, m, a, want, mode.mode, limits)
				compareAdapters(t, a, read(t, filepath.Join(folder, "tuned")), limits.adapter)
			})
		}
	}
}

func follow(t *testing.T, m lm.Model, a *lora.Adapters, want *golden.File, mode gpu.Mode, limits bars) {
	config, rates := schedule(t, want)
	o, err := optim.New(m.Device(), a.Parameters(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	losses, norms, lr := want.Floats("loss"), want.Floats("grad_norm"), want.Floats("lr")
	worstLoss, worstNorm := 0.0, 0.0
	for s := range losses {
		loss, _, err := lm.Accumulate(m, mode, []lm.Example{example(t, m, want, s%8)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if s == 0 || s == 2 {
			compareGradients(t, m.Device(), a.Parameters(), want, s)
		}
		rate := rates.Rate(s)
		if d := math.Abs(rate - float64(lr[s])); d > 1e-9 {
			t.Errorf("step %d: rate %g, want %g", s, rate, lr[s])
		}
		norm, err := o.Step(rate)
		if err != nil {
			t.Fatal(err)
		}
		worstLoss = max(worstLoss, math.Abs(loss-float64(losses[s])))
		worstNorm = max(worstNorm, math.Abs(norm/float64(norms[s])-1))
		now := limits
		if s < limits.steps {
			now = strict
		}
		if !(worstLoss <= now.loss) || !(worstNorm <= now.norm) {
			t.Fatalf("step %d: loss %v, want %v; gradient norm %v, want %v", s, loss, losses[s], norm, norms[s])
		}
	}
	t.Logf("%d steps: loss at most %.1e away, gradient norm %.1e", len(losses), worstLoss, worstNorm)
}

// compareGradients compares those tensors that the fixture keeps whole, and the norms of all.
func compareGradients(t *testing.T, dev *gpu.Device, params []nn.Parameter, want *golden.File, step int) {
	t.Helper()
	var names []string
	if err := json.Unmarshal([]byte(want.Metadata["parameters"]), &names); err != nil {
		t.Fatal(err)
	}
	prefix := "grad.0."
	norms := want.Floats("grad_norms.0")
	if step == 2 {
		prefix, norms = "grad.2.", want.Floats("grad_norms.2")
	}
	if len(names) != len(params) {
		t.Errorf("%d parameters, want %d", len(params), len(names))
	}
	worst, whole := 0.0, 0
	for _, p := range params {
		i := slices.IndexFunc(names, func(n string) bool { return key(n) == p.Name })
		if i < 0 {
			t.Errorf("no parameter %q in the fixture", p.Name)
			continue
		}
		g := values(t, dev, p.Tensor.Grad())
		sum := 0.0
		for _, v := range g {
			sum += float64(v) * float64(v)
		}
		if n := math.Sqrt(sum); math.Abs(n-float64(norms[i])) > gradBar*float64(norms[i])+1e-9 {
			t.Errorf("step %d: gradient of %s has norm %g, want %g", step, p.Name, n, norms[i])
		}
		if want.Has(prefix+names[i]) && norms[i] > 1e-9 {
			e := golden.Relative(g, want.Floats(prefix+names[i]))
			worst, whole = max(worst, e), whole+1
			if !(e <= gradBar) {
				t.Errorf("step %d: gradient of %s: relative error %.2g", step, p.Name, e)
			}
		}
	}
	t.Logf("step %d: %d gradients, at most %.1e away", step, whole, worst)
}

// key is a name of the fixture as parameters have it.
func key(name string) string { return strings.TrimPrefix(name, "base_model.model.") }

// compareAdapters compares all parameters with a PEFT folder.
func compareAdapters(t *testing.T, a *lora.Adapters, f *lora.Folder, bar float64) {
	t.Helper()
	dir := t.TempDir()
	if err := a.Write(dir); err != nil {
		t.Fatal(err)
	}
	got := read(t, dir)
	worst := 0.0
	for _, info := range f.Tensors() {
		mine, ok := got.Find(info.Name)
		if !ok || !slices.Equal(mine.Shape, info.Shape) {
			t.Errorf("%v, want %v", mine, info)
			continue
		}
		x, y := make([]float32, info.Len()), make([]float32, info.Len())
		if err := errors.Join(got.Read(info.Name, 0, x), f.Read(info.Name, 0, y)); err != nil {
			t.Fatal(err)
		}
		if slices.Equal(x, y) { // zeros among them
			continue
		}
		e := golden.Relative(x, y)
		worst = max(worst, e)
		if !(e <= bar) {
			t.Errorf("%s: relative error %.2g", info.Name, e)
		}
	}
	if n := len(got.Tensors()); n != len(f.Tensors()) {
		t.Errorf("%d tensors, want %d", n, len(f.Tensors()))
	}
	t.Logf("adapter: %d tensors, at most %.1e away", len(got.Tensors()), worst)
}
