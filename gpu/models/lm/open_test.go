package lm_test

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sower/gpu"
	"sower/gpu/checkpoint"
	"sower/gpu/models/lm"
	"sower/internal/golden"
)

// same wants the same logits of a folder as of a fixture's.
func same(t *testing.T, dev *gpu.Device, set, folder string) {
	t.Helper()
	want := golden.Open(t, filepath.Join(golden.Fixtures(t, set), "expected.safetensors"))
	ids := want.Int32s("input_ids")[:24] // the first row, which has no padding
	m := load(t, dev, folder, lm.Options{})
	near(t, filepath.Base(folder), logits(t, m, &lm.Batch{B: 1, T: 24, IDs: ids}, nil), want.Floats("logits")[:24*m.Sizes().Vocabulary], bar)
}

// TestForms opens the same weights as shards, as a file of torch.save, under names without the first "model.", and as shards of
// torch.save.
func TestForms(t *testing.T) {
	dev := open(t, "cpu")
	same(t, dev, "llama-tiny", golden.Fixtures(t, "llama-tiny-sharded"))
	bin := golden.Fixtures(t, "opt-tiny-bin")
	same(t, dev, "opt-tiny", bin)

	config, err := os.ReadFile(filepath.Join(bin, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	short := t.TempDir()
	src, err := checkpoint.OpenSharded(golden.Fixtures(t, "opt-tiny"))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	var entries []checkpoint.Entry
	for _, info := range src.Tensors() {
		full := info.Name
		info.Name = strings.TrimPrefix(full, "model.")
		entries = append(entries, checkpoint.Entry{Info: info, From: src, FromName: full})
	}
	var file bytes.Buffer
	if err := checkpoint.WriteSafetensors(&file, entries, nil); err != nil {
		t.Fatal(err)
	}
	write(t, short, map[string][]byte{"config.json": config, "model.safetensors": file.Bytes()})
	same(t, dev, "opt-tiny", short)

	weights, err := os.ReadFile(filepath.Join(bin, "pytorch_model.bin"))
	if err != nil {
		t.Fatal(err)
	}
	shards := t.TempDir()
	write(t, shards, map[string][]byte{"config.json": config, "pytorch_model-00001-of-00001.bin": weights,
		"pytorch_model.bin.index.json": []byte(`{"weight_map": {"x": "pytorch_model-00001-of-00001.bin"}}`)})
	same(t, dev, "opt-tiny", shards)
}

func write(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	dev := open(t, "cpu")
	for config, want := range map[string]string{
		`{"model_type": "mamba"}`: `no architecture "mamba" in this binary (have: llama, opt)`,
		`{}`:                      "config.json has no model_type",
		`{`:                       "config.json: unexpected end",
		`{"model_type": "llama", "vocab_size": 3}`: "llama: config: hidden_size is 0, want 1 or more",
		`{"model_type": "opt", "vocab_size": 1514, "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "ffn_dim": 128}`: `load "model.decoder.layers.0.fc1.weight": the checkpoint has no such tensor`,
	} {
		dir := t.TempDir()
		weights, err := os.ReadFile(filepath.Join(golden.Fixtures(t, "llama-tiny"), "model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir, map[string][]byte{"config.json": []byte(config), "model.safetensors": weights})
		c, err := lm.Open(dir)
		if err == nil {
			_, err = c.Load(dev, lm.Options{})
			c.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v, want %q", config, err, want)
		}
	}
	if _, err := lm.Open(filepath.Join(golden.Fixtures(t, "llama-tiny"), "config.json")); err == nil || !strings.Contains(err.Error(), "give the folder") {
		t.Errorf("a file: %v", err)
	}
	if _, err := lm.Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "config.json") {
		t.Errorf("an empty folder: %v", err)
	}
}

func TestBatchesThatDoNotFit(t *testing.T) {
	dev := open(t, "cpu")
	m := load(t, dev, golden.Fixtures(t, "llama-tiny"), lm.Options{Positions: 16})
	cache, err := lm.NewCache(m, 1, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	for want, run := range map[string]func(p *gpu.Pass){
		"position 16 in row 0, want less than 16": func(p *gpu.Pass) { m.Hidden(p, &lm.Batch{B: 1, T: 17, IDs: make([]int32, 17)}, nil) },
		"table has 1514 rows":                     func(p *gpu.Pass) { m.Hidden(p, &lm.Batch{B: 1, T: 1, IDs: []int32{1514}}, nil) },
		"do not fit a cache of 1 rows of 4":       func(p *gpu.Pass) { m.Hidden(p, &lm.Batch{B: 1, T: 5, IDs: make([]int32, 5)}, cache) },
		"3 ids, want 2 x 2":                       func(p *gpu.Pass) { m.Hidden(p, &lm.Batch{B: 2, T: 2, IDs: make([]int32, 3)}, nil) },
		"no targets": func(p *gpu.Pass) {
			lm.Loss(p, m, m.Hidden(p, &lm.Batch{B: 1, T: 1, IDs: []int32{1}}, nil), []int32{gpu.Ignored}, 1)
		},
	} {
		p := dev.NewPass(gpu.Inference)
		run(p)
		if err := p.Close(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q", err, want)
		}
	}
	p := dev.NewPass(gpu.Training)
	m.Hidden(p, &lm.Batch{B: 1, T: 2, IDs: []int32{1, 2}}, cache)
	if err := p.Close(); err == nil || !strings.Contains(err.Error(), "a cache has no gradients") {
		t.Errorf("training with a cache: %v", err)
	}
	if _, err := lm.Generate(m, [][]int32{{1}, {}}, lm.GenerateOptions{New: 1}); err == nil || !strings.Contains(err.Error(), "prompt 1 is empty") {
		t.Errorf("an empty prompt: %v", err)
	}
}

// TestGrow wants new rows with the moments of the old ones, the same whatever part is read, and the old ones as they were.
func TestGrow(t *testing.T) {
	const name, old, rows, width = "model.embed_tokens.weight", 1514, 20000, 64
	src, err := checkpoint.OpenSharded(golden.Fixtures(t, "llama-tiny"))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	g, err := lm.Grow(src, rows, 3, name)
	if err != nil {
		t.Fatal(err)
	}
	if info, ok := g.Find(name); !ok || !slices.Equal(info.Shape, []int{rows, width}) {
		t.Errorf("grown to %v", info)
	}
	all, was, part := make([]float32, rows*width), make([]float32, old*width), make([]float32, 1000)
	if err := g.Read(name, 0, all); err != nil {
		t.Fatal(err)
	}
	if err := src.Read(name, 0, was); err != nil || !slices.Equal(all[:len(was)], was) {
		t.Errorf("old rows differ, %v", err)
	}
	at := old*width - 333
	if err := g.Read(name, at, part); err != nil || !slices.Equal(part, all[at:at+len(part)]) {
		t.Errorf("a part differs, %v", err)
	}
	moments := func(x []float32, c int) (mean, std float64) {
		n := float64(len(x) / width)
		for i := c; i < len(x); i += width {
			mean += float64(x[i]) / n
			std += float64(x[i]) * float64(x[i]) / n
		}
		return mean, math.Sqrt(std - mean*mean)
	}
	for c := range width {
		m0, s0 := moments(was, c)
		m1, s1 := moments(all[len(was):], c)
		if math.Abs(m1-m0) > 5*s0/math.Sqrt(rows-old) || math.Abs(s1/s0-1) > 0.03 {
			t.Errorf("channel %d: mean %g and deviation %g, of old rows %g and %g", c, m1, s1, m0, s0)
		}
	}
	other, err := lm.Grow(src, rows, 4, name)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Read(name, at, part); err != nil || slices.Equal(part, all[at:at+len(part)]) {
		t.Errorf("another seed gives the same rows, %v", err)
	}
	if _, err := lm.Grow(src, 3, 0, name); err == nil {
		t.Error("shrunk")
	}
}
