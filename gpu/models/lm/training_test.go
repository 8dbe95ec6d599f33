package lm_test

import (
	"cmp"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sower/gpu"
	"sower/gpu/models/lm"
	"sower/internal/golden"
)

// grads reads the gradient of every parameter.
func grads(t testing.TB, m lm.Model) map[string][]float32 {
	t.Helper()
	out := map[string][]float32{}
	p := m.Device().NewPass(gpu.Inference)
	for _, q := range m.Parameters() {
		out[q.Name] = make([]float32, q.Tensor.Len())
		p.ReadF32(q.Tensor.Grad(), out[q.Name])
		p.ZeroGrad(q.Tensor)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestGradientsOfEverything trains all modules of the fixtures' models and compares the gradient of every tensor.
func TestGradientsOfEverything(t *testing.T) {
	for _, set := range []string{"llama-tiny", "llama-tiny-mha", "opt-tiny"} {
		t.Run(set, func(t *testing.T) {
			folder := golden.Fixtures(t, set)
			want := golden.Open(t, filepath.Join(folder, "expected.safetensors"))
			// An empty suffix matches every module.
			m := load(t, open(t, cmp.Or(os.Getenv("SOWER_TEST_DEVICE"), "cpu")), folder, lm.Options{Saved: []string{""}})
			shape := want.Shape("input_ids")
			b, err := lm.Masked(want.Int32s("input_ids"), want.Int32s("attention_mask"), shape[0], shape[1], lm.Tokens)
			if err != nil {
				t.Fatal(err)
			}
			batch := lm.Example{Batch: b, Labels: want.Int32s("labels")}
			if _, _, err := lm.Accumulate(m, gpu.Training, []lm.Example{batch}, nil); err != nil {
				t.Fatal(err)
			}
			got := grads(t, m)
			var names []string
			if err := json.Unmarshal([]byte(want.Metadata["parameters"]), &names); err != nil {
				t.Fatal(err)
			}
			if len(names) != len(got) {
				t.Errorf("%d parameters, want %d", len(got), len(names))
			}
			worst := 0.0
			for i, name := range names {
				if strings.HasSuffix(name, "k_proj.bias") {
					continue // its gradient is 0, save for rounding
				}
				sum := 0.0
				for _, v := range got[name] {
					sum += float64(v) * float64(v)
				}
				if n := float64(want.Floats("grad_norms")[i]); !(math.Abs(math.Sqrt(sum)-n) <= gradBar*n) {
					t.Errorf("%s: norm of the gradient %g, want %g", name, math.Sqrt(sum), n)
				}
				if want.Has("grad." + name) {
					e := golden.Relative(got[name], want.Floats("grad."+name))
					if worst = max(worst, e); !(e <= gradBar) {
						t.Errorf("%s: relative error %.2g", name, e)
					}
				}
			}
			t.Logf("at most %.1e away", worst)

			if _, _, err := lm.Accumulate(m, gpu.Recompute, []lm.Example{batch}, nil); err != nil {
				t.Fatal(err)
			}
			for name, g := range grads(t, m) {
				if !strings.HasSuffix(name, "k_proj.bias") {
					if e := golden.Relative(g, got[name]); !(e <= 1e-6) {
						t.Errorf("%s, computed again: relative error %.2g", name, e)
					}
				}
			}

			// The same rows one at a time: the mean is over all targets, not over means of rows.
			var rows []lm.Example
			for r := range b.B {
				s := slice(b.T, r)
				rows = append(rows, lm.Example{Batch: &lm.Batch{B: 1, T: b.T, IDs: s(b.IDs), Positions: s(b.Positions), Starts: s(b.Starts)}, Labels: s(batch.Labels)})
			}
			loss, _, err := lm.Accumulate(m, gpu.Training, rows, nil)
			if err != nil {
				t.Fatal(err)
			}
			near(t, "loss in parts", []float32{float32(loss)}, want.Floats("loss"), lossBar)
			for name, g := range grads(t, m) {
				if !strings.HasSuffix(name, "k_proj.bias") {
					if e := golden.Relative(g, got[name]); !(e <= gradBar) {
						t.Errorf("%s, in parts: relative error %.2g", name, e)
					}
				}
			}
		})
	}
}

func slice(T, r int) func([]int32) []int32 {
	return func(x []int32) []int32 { return x[r*T : (r+1)*T] }
}

// TestVectors puts vectors through one linear layer in place of word embeddings, as the first SEED did with OPT.
func TestVectors(t *testing.T) {
	folder := golden.Fixtures(t, "opt-tiny")
	want := golden.Open(t, filepath.Join(folder, "expected.safetensors"))
	dev := open(t, "cpu")
	m := load(t, dev, folder, lm.Options{})
	text, first := want.Int32s("embeds.text_ids"), want.Int32s("embeds.first_ids")
	B, n := len(first), want.Shape("embeds.vectors")[1]
	k := len(text) / B
	b := &lm.Batch{B: B, T: 1 + n + k}
	for r := range B {
		b.IDs = append(append(append(b.IDs, first[r]), make([]int32, n)...), text[r*k:(r+1)*k]...)
		for i := range n {
			b.At = append(b.At, int32(r*b.T+1+i))
		}
	}
	vectors, err := dev.FromSlice(want.Floats("embeds.vectors"), B*n, want.Shape("embeds.vectors")[2])
	if err != nil {
		t.Fatal(err)
	}
	weight, err := dev.NewParameter(want.Floats("embeds.weight"), want.Shape("embeds.weight")...)
	if err != nil {
		t.Fatal(err)
	}
	bias, err := dev.NewParameter(want.Floats("embeds.bias"), want.Shape("embeds.bias")...)
	if err != nil {
		t.Fatal(err)
	}
	targets, count, err := b.Targets(want.Int32s("embeds.labels"))
	if err != nil {
		t.Fatal(err)
	}
	p := dev.NewPass(gpu.Training)
	b.Vectors = p.Linear(vectors, weight, bias)
	hidden := m.Hidden(p, b, nil)
	loss := lm.Loss(p, m, hidden, targets, float32(1/float64(count)))
	losses, scores := make([]float32, count), make([]float32, B*b.T*m.Sizes().Vocabulary)
	p.ReadF32(loss, losses)
	p.ReadF32(p.Logits(hidden, m.Head()), scores)
	p.Backward(loss, nil)
	dw, db := make([]float32, weight.Len()), make([]float32, bias.Len())
	p.ReadF32(weight.Grad(), dw)
	p.ReadF32(bias.Grad(), db)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, v := range losses {
		sum += float64(v)
	}
	near(t, "loss", []float32{float32(sum)}, want.Floats("embeds.loss"), lossBar)
	near(t, "logits", lastColumn(scores, b.T, m.Sizes().Vocabulary), want.Floats("embeds.logits"), bar)
	near(t, "gradient of the weight", dw, want.Floats("embeds.grad.weight"), gradBar)
	near(t, "gradient of the bias", db, want.Floats("embeds.grad.bias"), gradBar)
}

// TestTargets wants the first token of a document, and padding, to be no target.
func TestTargets(t *testing.T) {
	b, err := lm.Packed([]int32{5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6}, [][]int{{3, 2}, {6}}, 6)
	if err != nil {
		t.Fatal(err)
	}
	const no = gpu.Ignored
	got, n, err := b.Targets(slices.Concat(b.IDs[:5], []int32{no}, b.IDs[6:10], []int32{no, 6}))
	if want := []int32{6, 7, no, 9, no, no, 2, 3, 4, no, 6, no}; err != nil || n != 7 || !slices.Equal(got, want) {
		t.Errorf("targets %v, %d, %v, want %v", got, n, err, want)
	}
	if want := []int32{0, 1, 2, 0, 1, -1, 0, 1, 2, 3, 4, 5}; !slices.Equal(b.Positions, want) {
		t.Errorf("positions %v, want %v", b.Positions, want)
	}
	if want := []int32{0, 0, 0, 3, 3, 6, 0, 0, 0, 0, 0, 0}; !slices.Equal(b.Starts, want) {
		t.Errorf("starts %v, want %v", b.Starts, want)
	}
	for name, err := range map[string]error{
		"padding between its tokens": second(lm.Masked(make([]int32, 3), []int32{1, 0, 1}, 1, 3, lm.Tokens)),
		"in a row of 3 tokens":       second(lm.Packed(make([]int32, 3), [][]int{{2, 2}}, 3)),
		"4 ids, want 1 x 3":          second(lm.Packed(make([]int32, 4), [][]int{{2}}, 3)),
		"a mask of 2 elements":       second(lm.Masked(make([]int32, 3), []int32{1, 0}, 1, 3, lm.Tokens)),
	} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error is %v, want %q", err, name)
		}
	}
}

func second[T any](_ T, err error) error { return err }
