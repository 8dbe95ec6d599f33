package training_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sower/gpu"
	_ "sower/gpu/cpu"
	"sower/gpu/models/seed"
	"sower/gpu/models/seed/training"
	"sower/gpu/nn"
	"sower/gpu/optim"
	"sower/internal/golden"
)

// fixture is training.json: 60 steps of each stage as PyTorch took them, in float32 and float64.
type fixture struct {
	Config seed.Config `json:"config"`
	Text   seed.Text   `json:"text"`
	Seed   uint64      `json:"seed"`
	Steps  int         `json:"steps"`
	Recipe map[string]struct {
		training.Epochs
		Decay float64    `json:"weight_decay"`
		Betas [2]float64 `json:"betas"`
		Eps   float64    `json:"eps"`
	} `json:"recipes"`
	Stage1, Vit, Stage2 run
}

type run struct {
	Rates  []float64             `json:"lr"`
	Losses map[string][]float64  `json:"losses"`
	Norms  map[string][2]float64 `json:"norms before and after"`
	Zero   []string              `json:"gradients zero by symmetry"`
}

func open(t *testing.T) (folder string, f fixture) {
	folder = golden.Fixtures(t, "seed2-training")
	text, err := os.ReadFile(filepath.Join(folder, "training.json"))
	if err != nil {
		t.Fatal(err)
	}
	var parts struct {
		Stage1 run `json:"stage1"`
		Vit    run `json:"stage1_vit"`
		Stage2 run `json:"stage2"`
	}
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &parts); err != nil {
		t.Fatal(err)
	}
	f.Stage1, f.Vit, f.Stage2 = parts.Stage1, parts.Vit, parts.Stage2
	f.Config.Text = &f.Text
	return folder, f
}

// batches are the fixture's inputs.
func batches(t *testing.T, folder string, f *fixture) (list []training.Batch) {
	file := golden.Open(t, filepath.Join(folder, "batches.safetensors"))
	shape := file.Shape("ids") // [batches B T]
	rgb, ids, teacher := file.Bytes("pixels"), file.Int32s("ids"), file.Floats("teacher")
	n, b, words := shape[0], shape[1], shape[2]
	for i := range n {
		batch := training.Batch{RGB: rgb[i*len(rgb)/n : (i+1)*len(rgb)/n], Teacher: teacher[i*len(teacher)/n : (i+1)*len(teacher)/n]}
		for r := range b {
			row := ids[(i*b+r)*words : (i*b+r+1)*words]
			if end := slices.Index(row, 0); end >= 0 { // padding
				row = row[:end]
			}
			batch.Texts = append(batch.Texts, row)
		}
		list = append(list, batch)
	}
	return list
}

func stage(t *testing.T, dev *gpu.Device, f *fixture, number int, vit bool) *training.Stage {
	s, err := training.Open(dev, seed.StandIn(f.Config, f.Seed), f.Config, number, training.Published(), vit, 0.07)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func device(t *testing.T, name string) *gpu.Device {
	dev, err := gpu.Open(name, gpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}

func values(t *testing.T, dev *gpu.Device, x *gpu.Tensor) []float32 {
	out := make([]float32, x.Len())
	p := dev.NewPass(gpu.Inference)
	p.ReadF32(x, out)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestGradients compares every gradient of the first step, by the norm of the difference over the norm.
func TestGradients(t *testing.T) {
	folder, f := open(t)
	want := golden.Open(t, filepath.Join(folder, "gradients.safetensors"))
	in := batches(t, folder, &f)
	for _, name := range []string{"cpu", "plain"} {
		for _, c := range []struct {
			name   string
			stage  int
			vit    bool
			of     run
			prefix string
		}{{"first", 1, false, f.Stage1, "stage1/"}, {"first with the vision transformer", 1, true, f.Vit, "stage1_vit/"}, {"second", 2, false, f.Stage2, "stage2/"}} {
			t.Run(name+" "+c.name, func(t *testing.T) {
				dev := device(t, name)
				s := stage(t, dev, &f, c.stage, c.vit)
				var err error
				if c.stage == 1 {
					_, err = s.First(&in[0])
				} else {
					_, _, err = s.Second(&in[0])
				}
				if err != nil {
					t.Fatal(err)
				}
				worst, compared := 0.0, 0
				for _, p := range s.Parameters() {
					if slices.Contains(c.of.Zero, p.Name) {
						continue
					}
					wanted, got := want.Floats(c.prefix+p.Name), values(t, dev, p.Tensor.Grad())
					if strings.HasSuffix(p.Name, "attn.qkv.bias") { // its middle third is zero by symmetry
						third := len(got) / 3
						got, wanted = slices.Concat(got[:third], got[2*third:]), slices.Concat(wanted[:third], wanted[2*third:])
					}
					d := distance(got, wanted)
					worst = max(worst, d)
					compared++
					if !(d <= 1e-4) {
						t.Errorf("%s: %.2g apart", p.Name, d)
					}
				}
				t.Logf("%d gradients, at most %.2g apart", compared, worst)
				if compared < 50 {
					t.Error("too few were compared")
				}
			})
		}
	}
}

// distance is the norm of the difference over the norm.
func distance(got, want []float32) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	diff, norm := 0.0, 0.0
	for i, w := range want {
		d := float64(got[i]) - float64(w)
		diff += d * d
		norm += float64(w) * float64(w)
	}
	return math.Sqrt(diff / norm)
}

// TestTrajectory takes the fixture's steps: losses, rates, codes, and norms of all parameters afterwards.
func TestTrajectory(t *testing.T) {
	folder, f := open(t)
	in := batches(t, folder, &f)
	extra := golden.Open(t, filepath.Join(folder, "steps.safetensors"))
	for number, of := range map[int]run{1: f.Stage1, 2: f.Stage2} {
		t.Run(map[int]string{1: "first", 2: "second"}[number], func(t *testing.T) {
			dev := device(t, "cpu")
			first10, all, norms, most := 1e-5, 1e-4, 1e-4, 5e-4
			switch {
			case f.Seed != 0: // other sets may drift further
				all, norms = 1e-3, 5e-4
			case strings.Contains(dev.String(), "portable"):
				// Go's own sums round each product, which PyTorch's and the kernels' do not. From step 43 of the second stage on another
				// side of a ReLU is taken and Adam lets it grow: losses 5.3e-4, norms 7.8e-4 away, no code differs.
				all, norms, most = 1e-3, 1e-3, 1e-3
			}
			s := stage(t, dev, &f, number, false)
			r := f.Recipe[map[int]string{1: "stage1", 2: "stage2"}[number]]
			opt, err := optim.New(dev, s.Parameters(), optim.Config{Beta1: r.Betas[0], Beta2: r.Betas[1], Eps: r.Eps, Decay: r.Decay, Decayed: optim.Tokenizer})
			if err != nil {
				t.Fatal(err)
			}
			defer opt.Close()
			for _, p := range s.Parameters() {
				if d := normApart(t, dev, p, of.Norms[p.Name][0]); d > 1e-6 {
					t.Errorf("%s: norm %.2g apart before", p.Name, d)
				}
			}
			differ := 0
			for step := range f.Steps {
				batch := &in[step%len(in)]
				var l training.Losses
				var codes []int32
				if number == 1 {
					l, err = s.First(batch)
				} else {
					l, codes, err = s.Second(batch)
				}
				if err != nil {
					t.Fatal(err)
				}
				bar := all
				if step < 10 {
					bar = first10
				}
				for name, got := range map[string]float64{"total": l.Total, "vq": l.VQ, "rec": l.Rec, "image": l.Image} {
					if list := of.Losses[name]; list != nil && !(math.Abs(got-list[step]) <= bar*math.Abs(list[step])) {
						t.Errorf("step %d: %s is %v, want %v", step, name, got, list[step])
					}
				}
				if number == 2 {
					want := extra.Int32s("stage2/codes")
					for i, c := range codes {
						if c != want[step*len(codes)+i] {
							differ++
						}
					}
				}
				if rate := r.Rate(step); math.Abs(rate-of.Rates[step]) > 1e-12 {
					t.Errorf("step %d: rate %v, want %v", step, rate, of.Rates[step])
				}
				if _, err := opt.Step(r.Rate(step)); err != nil {
					t.Fatal(err)
				}
			}
			if differ > 5 {
				t.Errorf("%d codes differ", differ)
			}
			// Adam lets a rounding that decides a ReLU grow (kernels that rounded otherwise ended with a bias 1.1e-4 away): up to two
			// tensors may be further than the bar.
			worst, beyond := 0.0, 0
			for _, p := range s.Parameters() {
				if slices.Contains(of.Zero, p.Name) {
					continue
				}
				d := normApart(t, dev, p, of.Norms[p.Name][1])
				worst = max(worst, d)
				if d > norms {
					beyond++
				}
				if !(d <= most) {
					t.Errorf("%s: norm %.2g apart after all steps", p.Name, d)
				}
			}
			if beyond > 2 {
				t.Errorf("%d norms are more than %g apart after all steps", beyond, norms)
			}
			t.Logf("norms at most %.2g apart", worst)
			t.Logf("%d codes differ", differ)
		})
	}
}

// normApart is the relative distance of a parameter's norm from another.
func normApart(t *testing.T, dev *gpu.Device, p nn.Parameter, want float64) float64 {
	got := values(t, dev, p.Tensor)
	if strings.HasSuffix(p.Name, "attn.qkv.bias") {
		third := len(got) / 3
		got = slices.Concat(got[:third], got[2*third:])
	}
	sum := 0.0
	for _, v := range got {
		sum += float64(v) * float64(v)
	}
	return math.Abs(math.Sqrt(sum)-want) / want
}

// TestMeasure wants the losses of a step without its gradients, and vectors of unit length.
func TestMeasure(t *testing.T) {
	folder, f := open(t)
	in := batches(t, folder, &f)
	for number := 1; number <= 2; number++ {
		dev := device(t, "cpu")
		s := stage(t, dev, &f, number, false)
		got, err := s.Measure(&in[1])
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range s.Parameters() {
			if slices.ContainsFunc(values(t, dev, p.Tensor.Grad()), func(v float32) bool { return v != 0 }) {
				t.Fatalf("stage %d: %s has a gradient", number, p.Name)
			}
		}
		var want training.Losses
		var codes []int32
		if number == 1 {
			want, err = s.First(&in[1])
		} else {
			want, codes, err = s.Second(&in[1])
		}
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Codes, codes) {
			t.Errorf("stage %d: other codes than those of a step", number)
		}
		for name, v := range map[string][2]float64{"total": {got.Total, want.Total}, "contrast": {got.Contrast, want.Contrast}, "vq": {got.VQ, want.VQ}, "rec": {got.Rec, want.Rec}, "image": {got.Image, want.Image}} {
			if !(math.Abs(v[0]-v[1]) <= 1e-5*math.Abs(v[1])) {
				t.Errorf("stage %d: %s is %v, a step's %v", number, name, v[0], v[1])
			}
		}
		lists := map[string][]float32{"images": got.Images, "texts": got.Texts}
		if number == 2 {
			lists["decoded"] = got.Decoded
		}
		for name, v := range lists {
			if len(v) != len(in[1].Texts)*f.Text.Embed {
				t.Fatalf("stage %d: %s has %d numbers", number, name, len(v))
			}
			norm := 0.0
			for _, x := range v[:f.Text.Embed] {
				norm += float64(x) * float64(x)
			}
			if math.Abs(norm-1) > 1e-5 {
				t.Errorf("stage %d: %s has length² %v", number, name, norm)
			}
		}
	}
}
