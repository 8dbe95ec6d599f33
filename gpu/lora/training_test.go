package lora_test

import (
	"errors"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"sower/gpu"
	"sower/gpu/lora"
	"sower/gpu/models/lm"
	"sower/gpu/optim"
	"sower/internal/golden"
)

// tuner is a short run on the batches of a trajectory.
type tuner struct {
	m    lm.Model
	a    *lora.Adapters
	o    *optim.AdamW
	want *golden.File
}

func newTuner(t *testing.T, dev *gpu.Device, name string, c lora.Config, rows int) *tuner {
	t.Helper()
	m, err := base(t, name).Load(dev, c.Options(rows, 5))
	if err != nil {
		t.Fatal(err)
	}
	a, err := lora.Attach(m, c, 11)
	if err != nil {
		t.Fatal(err)
	}
	o, err := optim.New(dev, a.Parameters(), optim.Config{Beta1: 0.9, Beta2: 0.95, Eps: 1e-5, Decay: 0.05, Decayed: optim.All, Clip: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(o.Close(), a.Close(), m.Close()); err != nil {
			t.Error(err)
		}
	})
	return &tuner{m, a, o, golden.Open(t, filepath.Join(golden.Fixtures(t, "lora-llama-tiny"), "trajectory.safetensors"))}
}

// run does steps [from, to) in parts of one batch each, and returns the losses.
func (r *tuner) run(t *testing.T, mode gpu.Mode, from, to int) []float64 {
	t.Helper()
	var losses []float64
	for s := from; s < to; s++ {
		parts := []lm.Example{example(t, r.m, r.want, s%8), example(t, r.m, r.want, (s+1)%8)}
		loss, _, err := lm.Accumulate(r.m, mode, parts, func(part int) { r.a.SetStep(s, part) })
		if err == nil {
			_, err = r.o.Step(5e-3)
		}
		if err != nil {
			t.Fatal(err)
		}
		losses = append(losses, loss)
	}
	return losses
}

// all lists the values of every parameter.
func (r *tuner) all(t *testing.T) (x [][]float32) {
	t.Helper()
	for _, q := range r.a.Parameters() {
		x = append(x, values(t, r.m.Device(), q.Tensor))
	}
	return x
}

func equal(a, b [][]float32) bool { return slices.EqualFunc(a, b, slices.Equal) }

// TestDropout wants dropout to follow from seed and step alone: a second run, one that is stopped and resumed from files, and one that
// computes activations again end at the same bits; and inference is free of it.
func TestDropout(t *testing.T) {
	dev := open(t, "cpu")
	c := lora.Config{R: 4, Alpha: 8, Dropout: 0.3, Targets: []string{"q_proj", "down_proj"}, Saved: []string{"norm"}, Base: "llama-tiny"}
	whole := newTuner(t, dev, "llama-tiny", c, 0)
	losses := whole.run(t, gpu.Training, 0, 9)
	if !(losses[8] < losses[0]-0.1) { // of the same batches
		t.Errorf("losses %v do not fall", losses)
	}
	want := whole.all(t)

	again := newTuner(t, dev, "llama-tiny", c, 0)
	again.run(t, gpu.Recompute, 0, 9)
	for i, x := range again.all(t) {
		if e := golden.Relative(x, want[i]); !(e <= 1e-5) {
			t.Errorf("%s, with activations computed again: relative error %.2g", again.a.Parameters()[i].Name, e)
		}
	}

	first := newTuner(t, dev, "llama-tiny", c, 0)
	first.run(t, gpu.Training, 0, 4)
	dir := t.TempDir()
	if err := first.a.Write(dir); err != nil {
		t.Fatal(err)
	}
	state, err := first.o.Export()
	if err != nil {
		t.Fatal(err)
	}
	resumed := newTuner(t, dev, "llama-tiny", c, 0)
	if err := errors.Join(resumed.a.Restore(read(t, dir)), resumed.o.Import(state)); err != nil {
		t.Fatal(err)
	}
	if got := resumed.run(t, gpu.Training, 4, 9); !slices.Equal(got, losses[4:]) {
		t.Errorf("resumed losses %v, want %v", got, losses[4:])
	}
	if !equal(resumed.all(t), want) {
		t.Error("a resumed run ends elsewhere")
	}

	ids := whole.want.Int32s("input_ids")[:8]
	plain := logits(t, whole.m, ids)
	whole.a.SetStep(99, 0)
	if !slices.Equal(plain, logits(t, whole.m, ids)) {
		t.Error("inference depends on the step")
	}
	c.Dropout = 0
	free := newTuner(t, dev, "llama-tiny", c, 0)
	if got := free.run(t, gpu.Training, 0, 2); math.Abs(got[1]-losses[1]) < 1e-6 {
		t.Error("dropout changes nothing")
	}
}

// TestGrownTokens trains the rows of new tokens alone, which lie beyond the base's tables, and compares with the same vocabulary
// in tables that are trained whole; then merges them.
func TestGrownTokens(t *testing.T) {
	dev := open(t, "cpu")
	const old, rows = 1514, 1520
	news := []int32{7, 1514, 1515, 1516, 1517, 1518, 1519}
	for _, name := range []string{"llama-tiny", "opt-tiny"} {
		c := lora.Config{R: 4, Alpha: 8, Targets: []string{"q_proj"}, Tokens: map[string][]int32{"embed_tokens": news}, Base: name}
		whole := lora.Config{R: 4, Alpha: 8, Targets: []string{"q_proj"}, Saved: []string{"embed_tokens"}, Base: name}
		if name == "llama-tiny" {
			c.Tokens["lm_head"], whole.Saved = news, append(whole.Saved, "lm_head")
		}
		a, b := newTuner(t, dev, name, c, rows), newTuner(t, dev, name, whole, rows)
		ids := []int32{5, 1514, 7, 1519, 9, 1516, 1517, 30}
		if n := a.m.Sizes().Vocabulary; n != rows {
			t.Errorf("%s: a vocabulary of %d", name, n)
		}
		near(t, name+", before", logits(t, a.m, ids), logits(t, b.m, ids))
		batch := []lm.Example{{Batch: &lm.Batch{B: 1, T: len(ids), IDs: ids}, Labels: ids}}
		for _, r := range []*tuner{a, b} {
			if _, _, err := lm.Accumulate(r.m, gpu.Training, batch, nil); err != nil {
				t.Fatal(err)
			}
		}
		for i, q := range tables(a) {
			x, y := values(t, dev, q.Grad()), values(t, dev, tables(b)[i].Grad())
			var picked []float32
			for _, id := range news {
				picked = append(picked, y[int(id)*64:int(id+1)*64]...)
			}
			near(t, name+", gradient of rows", x, picked)
		}
		if _, err := a.o.Step(1e-2); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := a.a.Write(dir); err != nil {
			t.Fatal(err)
		}
		f := read(t, dir)
		if f.Rows() != rows {
			t.Errorf("%s: the folder says %d rows", name, f.Rows())
		}
		merged, err := lora.Merge(base(t, name), f)
		if err != nil {
			t.Fatal(err)
		}
		near(t, name+", merged", logits(t, load(t, merged, dev), ids), logits(t, a.m, ids))
	}
}

// TestTiedTablesTwice trains embedding and head of a tied model by both names: one tensor, written under both.
func TestTiedTablesTwice(t *testing.T) {
	dev := open(t, "cpu")
	c := lora.Config{R: 2, Alpha: 4, Targets: []string{"fc1"}, Saved: []string{"embed_tokens", "lm_head"}, Base: "opt-tiny"}
	r := newTuner(t, dev, "opt-tiny", c, 1600)
	dir := t.TempDir()
	if err := r.a.Write(dir); err != nil {
		t.Fatal(err)
	}
	f := read(t, dir)
	if info, ok := f.Find("lm_head.weight"); !ok || info.Shape[0] != 1600 || f.Rows() != 1600 {
		t.Errorf("written %v", info)
	}
	if err := r.a.Restore(f); err != nil {
		t.Error(err)
	}
	merged, err := lora.Merge(base(t, "opt-tiny"), f)
	if err != nil {
		t.Fatal(err)
	}
	ids := []int32{2, 1599, 1514}
	near(t, "merged", logits(t, load(t, merged, dev), ids), logits(t, r.m, ids))
}

// tables lists the trained tensors of the base model.
func tables(r *tuner) (x []*gpu.Tensor) {
	for _, q := range r.m.Parameters() {
		x = append(x, q.Tensor)
	}
	return x
}
