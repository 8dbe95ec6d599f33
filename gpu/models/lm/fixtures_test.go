package lm_test

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sower/gpu"
	_ "sower/gpu/cpu"
	"sower/gpu/models/lm"
	_ "sower/gpu/models/lm/all"
	"sower/internal/golden"
)

// The bars of the fixtures, in float32 against float32 of PyTorch: some ten times what separates that from float64.
const (
	bar     = 1e-5 // logits and hidden states, relative to the largest value
	lossBar = 1e-6 // relative
	gradBar = 1e-4 // relative, per tensor
)

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

func load(t testing.TB, dev *gpu.Device, folder string, o lm.Options) lm.Model {
	t.Helper()
	c, err := lm.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m, err := c.Load(dev, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// near fails unless two tensors are within a relative bar, and says the distance either way.
func near(t testing.TB, what string, got, want []float32, bar float64) {
	t.Helper()
	if e := golden.Relative(got, want); !(e <= bar) {
		t.Errorf("%s: relative error %.2g, want %.2g at most", what, e, bar)
	} else {
		t.Logf("%s: relative error %.2g", what, e)
	}
}

// logits computes the scores of a batch [B T V].
func logits(t testing.TB, m lm.Model, b *lm.Batch, err error) []float32 {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	p := m.Device().NewPass(gpu.Inference)
	y := p.Logits(m.Hidden(p, b, nil), m.Head())
	out := make([]float32, y.Len())
	p.ReadF32(y, out)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

// lastColumn keeps the last of T columns of [B T V].
func lastColumn(x []float32, T, V int) []float32 {
	var y []float32
	for r := 0; r < len(x)/(T*V); r++ {
		y = append(y, x[(r*T+T-1)*V:(r*T+T)*V]...)
	}
	return y
}

func TestFixtures(t *testing.T) {
	for _, set := range []string{"llama-tiny", "llama-tiny-mha", "opt-tiny"} {
		for _, backEnd := range []string{cmp.Or(os.Getenv("SOWER_TEST_DEVICE"), "cpu"), "plain"} {
			t.Run(set+"/"+backEnd, func(t *testing.T) {
				folder := golden.Fixtures(t, set)
				want := golden.Open(t, filepath.Join(folder, "expected.safetensors"))
				m := load(t, open(t, backEnd), folder, lm.Options{})
				t.Run("hidden", func(t *testing.T) { checkHidden(t, m, want) })
				t.Run("padding", func(t *testing.T) { checkPadding(t, m, want) })
				t.Run("packing", func(t *testing.T) { checkPacking(t, m, want) })
				t.Run("generation", func(t *testing.T) { checkGeneration(t, m, want) })
			})
		}
	}
}

// checkHidden compares logits of a right-padded batch and, of its first row, the hidden states of every layer.
func checkHidden(t *testing.T, m lm.Model, want *golden.File) {
	shape := want.Shape("input_ids")
	B, T, V := shape[0], shape[1], m.Sizes().Vocabulary
	mask := want.Int32s("attention_mask")
	b, err := lm.Masked(want.Int32s("input_ids"), mask, B, T, lm.Columns)
	if m.Architecture() == "opt" {
		b, err = lm.Masked(want.Int32s("input_ids"), mask, B, T, lm.Tokens)
	}
	seen := map[string][]float32{}
	m.Device().SetTap(func(p *gpu.Pass, name string, x *gpu.Tensor) {
		seen[name] = make([]float32, x.Len())
		p.ReadF32(x, seen[name])
	})
	got := logits(t, m, b, err)
	m.Device().SetTap(nil)
	for i, k := range mask {
		if k == 0 {
			clear(got[i*V : (i+1)*V])
		}
	}
	near(t, "logits", got, want.Floats("logits"), bar)
	if n := m.Sizes().Layers + 1; len(seen) != n {
		t.Errorf("%d taps, want %d: %v", len(seen), n, slices.Sorted(maps.Keys(seen)))
	}
	for name, x := range seen {
		near(t, name, x[:T*m.Sizes().Width], want.Floats(name), bar)
	}
	targets, count, err := b.Targets(want.Int32s("labels"))
	if err != nil {
		t.Fatal(err)
	}
	p := m.Device().NewPass(gpu.Inference)
	x := m.Hidden(p, b, nil)
	hidden, losses := make([]float32, x.Len()), make([]float32, count)
	p.ReadF32(x, hidden)
	p.ReadF32(lm.Loss(p, m, x, targets, 1), losses)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	near(t, "hidden, normalized", hidden[:T*m.Sizes().Width], want.Floats(fmt.Sprintf("hidden.%d", m.Sizes().Layers)), bar)
	var wanted []float32
	for i, l := range want.Floats("token_losses") {
		if want.Int32s("labels")[i/(T-1)*T+i%(T-1)+1] != gpu.Ignored {
			wanted = append(wanted, l)
		}
	}
	near(t, "losses of tokens", losses, wanted, bar)
	mean, _, err := lm.Accumulate(m, gpu.Inference, []lm.Example{{Batch: b, Labels: want.Int32s("labels")}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "loss", []float32{float32(mean)}, want.Floats("loss"), lossBar)
}

// checkPadding compares left padding, and positions with a gap.
func checkPadding(t *testing.T, m lm.Model, want *golden.File) {
	shape := want.Shape("left.input_ids")
	B, T, V := shape[0], shape[1], m.Sizes().Vocabulary
	for name, n := range map[string]lm.Numbering{"tokens": lm.Tokens, "columns": lm.Columns} {
		if n == lm.Columns && m.Architecture() == "opt" {
			continue
		}
		b, err := lm.Masked(want.Int32s("left.input_ids"), want.Int32s("left.attention_mask"), B, T, n)
		near(t, "padding on the left, positions by "+name, lastColumn(logits(t, m, b, err), T, V), want.Floats("left.logits"), bar)
	}
	T = len(want.Int32s("positions.position_ids"))
	gaps := &lm.Batch{B: 1, T: T, IDs: want.Int32s("input_ids")[:T], Positions: want.Int32s("positions.position_ids")}
	near(t, "positions with a gap", lastColumn(logits(t, m, gaps, nil), T, V), want.Floats("positions.logits"), bar)
}

// checkPacking compares two documents in one row with themselves apart.
func checkPacking(t *testing.T, m lm.Model, want *golden.File) {
	ids, documents, labels := want.Int32s("pack.input_ids"), want.Int32s("pack.documents"), want.Int32s("pack.labels")
	first := slices.Index(documents, 1)
	b, err := lm.Packed(ids, [][]int{{first, len(ids) - first}}, len(ids))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(b.Positions, want.Int32s("pack.position_ids")) {
		t.Errorf("positions are %v", b.Positions)
	}
	labels = slices.Clone(labels)
	labels[first] = ids[first] // no target all the same
	packed, n, err := lm.Accumulate(m, gpu.Inference, []lm.Example{{Batch: b, Labels: labels}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "packed", []float32{float32(packed)}, want.Floats("pack.loss"), lossBar)
	apart, k, err := lm.Accumulate(m, gpu.Inference, []lm.Example{
		{Batch: &lm.Batch{B: 1, T: first, IDs: ids[:first]}, Labels: labels[:first]},
		{Batch: &lm.Batch{B: 1, T: len(ids) - first, IDs: ids[first:]}, Labels: labels[first:]},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "apart", []float32{float32(apart)}, []float32{float32(packed)}, lossBar)
	if n != k {
		t.Errorf("%d targets packed, %d apart", n, k)
	}
}

// checkGeneration wants the fixture's ids, one prompt at a time and both at once, with a cache and without.
func checkGeneration(t *testing.T, m lm.Model, want *golden.File) {
	prompts := [][]int32{want.Int32s("generate.0.prompt"), want.Int32s("generate.1.prompt")}
	outputs := [][]int32{want.Int32s("generate.0.output"), want.Int32s("generate.1.output")}
	for _, noCache := range []bool{false, true} {
		run := func(prompts [][]int32, stop ...int32) [][]int32 {
			got, err := lm.Generate(m, prompts, lm.GenerateOptions{New: len(outputs[0]), NoCache: noCache, Stop: stop})
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		both := run(prompts)
		for i, prompt := range prompts {
			if got := run([][]int32{prompt})[0]; !slices.Equal(got, outputs[i]) {
				t.Errorf("prompt %d, without a cache %v: %v, want %v (margin %g)", i, noCache, got, outputs[i], want.Floats(fmt.Sprintf("generate.%d.margin", i)))
			}
			if !slices.Equal(both[i], outputs[i]) {
				t.Errorf("prompt %d in a batch, without a cache %v: %v, want %v", i, noCache, both[i], outputs[i])
			}
			stop := want.Int32s(fmt.Sprintf("generate.%d.stop_id", i))
			if got, stopped := run([][]int32{prompt}, stop...)[0], want.Int32s(fmt.Sprintf("generate.%d.stop_output", i)); !slices.Equal(got, stopped) {
				t.Errorf("prompt %d until %d: %v, want %v", i, stop, got, stopped)
			}
		}
	}
}
