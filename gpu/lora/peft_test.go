package lora_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sower/gpu"
	"sower/gpu/checkpoint"
	"sower/gpu/lora"
	"sower/gpu/models/lm"
	"sower/internal/golden"
)

// TestFoldersAreAsPEFTWrites rewrites every folder of the fixtures and compares keys, shapes, values, metadata and all 36 settings.
func TestFoldersAreAsPEFTWrites(t *testing.T) {
	for _, set := range sets {
		for _, which := range []string{"init", "tuned"} {
			t.Run(set+"/"+which, func(t *testing.T) {
				theirs, mine := filepath.Join(golden.Fixtures(t, set), which), t.TempDir()
				f := read(t, theirs)
				_, a := attach(t, open(t, "cpu"), f)
				if err := a.Write(mine); err != nil {
					t.Fatal(err)
				}
				compareAdapters(t, a, f, 0)
				raw, err := checkpoint.OpenSafetensors(filepath.Join(mine, "adapter_model.safetensors"))
				if err != nil {
					t.Fatal(err)
				}
				defer raw.Close()
				for _, info := range raw.Tensors() {
					if !strings.HasPrefix(info.Name, "base_model.model.model.") && info.Name != "base_model.model.lm_head.weight" &&
						info.Name != "base_model.model.lm_head.token_adapter.trainable_tokens_delta" || info.DType != checkpoint.F32 {
						t.Errorf("%v is written", info)
					}
				}
				if meta, err := checkpoint.Metadata(filepath.Join(mine, "adapter_model.safetensors")); err != nil || !reflect.DeepEqual(meta, map[string]string{"format": "pt"}) {
					t.Errorf("metadata %v, %v", meta, err)
				}
				got, want := settings(t, mine), settings(t, theirs)
				if len(got) != 36 {
					t.Errorf("%d settings, want 36", len(got))
				}
				if !reflect.DeepEqual(got, want) {
					t.Errorf("settings are\n%v, want\n%v", got, want)
				}
			})
		}
	}
}

// settings reads adapter_config.json; sets are sorted.
func settings(t *testing.T, dir string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "adapter_config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"target_modules", "modules_to_save"} {
		if list, ok := all[key].([]any); ok {
			slices.SortFunc(list, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
		}
	}
	return all
}

// TestMerge compares a tuned model, its merged form, and the folder written of that with the fixture's logits.
func TestMerge(t *testing.T) {
	for _, set := range sets {
		t.Run(set, func(t *testing.T) {
			folder := golden.Fixtures(t, set)
			want := golden.Open(t, filepath.Join(folder, "trajectory.safetensors"))
			f := read(t, filepath.Join(folder, "tuned"))
			dev := open(t, "cpu")
			m, _ := attach(t, dev, f)
			ids := want.Int32s("input_ids")[:8]
			near(t, "tuned", logits(t, m, ids), want.Floats("tuned.logits"))
			c, err := lora.Merge(base(t, f.Config.Base), f)
			if err != nil {
				t.Fatal(err)
			}
			near(t, "merged", logits(t, load(t, c, dev), ids), want.Floats("merged.logits"))
			for _, name := range []string{"model.layers.1.self_attn.q_proj.weight", "model.decoder.layers.1.self_attn.q_proj.weight"} {
				if want.Has("merged." + name) {
					x := make([]float32, len(want.Floats("merged."+name)))
					if err := c.Source.Read(name, 0, x[:37]); err != nil {
						t.Fatal(err)
					}
					if err := c.Source.Read(name, 37, x[37:]); err != nil {
						t.Fatal(err)
					}
					near(t, name, x, want.Floats("merged."+name))
				}
			}
			dir := t.TempDir()
			if err := c.Write(dir); err != nil {
				t.Fatal(err)
			}
			written, err := lm.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer written.Close()
			again := load(t, written, dev)
			// Stored elements are half precision: 11 bits, or 8.
			if e := golden.Relative(logits(t, again, ids), want.Floats("merged.logits")); !(e <= 2e-2) {
				t.Errorf("written: relative error %.2g", e)
			}
			if info, _ := written.Source.Find("model.layers.0.mlp.up_proj.weight"); info.Name != "" && info.DType != checkpoint.F16 && info.DType != checkpoint.BF16 {
				t.Errorf("written as %v", info)
			}
		})
	}
}

func load(t *testing.T, c *lm.Checkpoint, dev *gpu.Device) lm.Model {
	t.Helper()
	m, err := c.Load(dev, lm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func near(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if e := golden.Relative(got, want); !(e <= logitBar) {
		t.Errorf("%s: relative error %.2g, want %.2g at most", what, e, logitBar)
	} else {
		t.Logf("%s: relative error %.2g", what, e)
	}
}

func logits(t *testing.T, m lm.Model, ids []int32) []float32 {
	t.Helper()
	p := m.Device().NewPass(gpu.Inference)
	y := p.Logits(m.Hidden(p, &lm.Batch{B: 1, T: len(ids), IDs: ids}, nil), m.Head())
	out := make([]float32, y.Len())
	p.ReadF32(y, out)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestTokenOrder reads trained rows that stand in another order than that of their ids.
func TestTokenOrder(t *testing.T) {
	folder := golden.Fixtures(t, "lora-opt-tiny-tokens")
	f := read(t, filepath.Join(folder, "tuned"))
	want := golden.Open(t, filepath.Join(folder, "trajectory.safetensors")).Floats("tuned.logits")
	const name = "model.decoder.embed_tokens.token_adapter.trainable_tokens_delta"
	ids := f.Config.Tokens["embed_tokens"]
	n, width := len(ids), 64
	values := make([]float32, n*width)
	if err := f.Read(name, 0, values); err != nil {
		t.Fatal(err)
	}
	reversed := &lora.Folder{}
	*reversed = *f
	reversed.Source = backwards{f.Source, "base_model.model." + name, width}
	reversed.Config.Tokens = map[string][]int32{"embed_tokens": slices.Clone(ids)}
	slices.Reverse(reversed.Config.Tokens["embed_tokens"])
	m, _ := attach(t, open(t, "cpu"), reversed)
	near(t, "tuned", logits(t, m, golden.Open(t, filepath.Join(folder, "trajectory.safetensors")).Int32s("input_ids")[:8]), want)
	c, err := lora.Merge(base(t, f.Config.Base), reversed)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "merged", logits(t, load(t, c, open(t, "cpu")), golden.Open(t, filepath.Join(folder, "trajectory.safetensors")).Int32s("input_ids")[:8]), want)
}

// backwards is a source one of whose tensors has its rows in reverse.
type backwards struct {
	checkpoint.Source
	name  string
	width int
}

func (b backwards) Read(name string, offset int, dst []float32) error {
	err := b.Source.Read(name, offset, dst)
	if name == b.name {
		for i, j := 0, len(dst)/b.width-1; i < j; i, j = i+1, j-1 {
			for c := range b.width {
				x, y := i*b.width+c, j*b.width+c
				dst[x], dst[y] = dst[y], dst[x]
			}
		}
	}
	return err
}

func TestConfigsThatAreRefused(t *testing.T) {
	const rest = `"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]`
	for text, want := range map[string]string{
		`{"use_dora": true, ` + rest + `}`:                      "use_dora is set",
		`{"rank_pattern": {"q_proj": 3}, ` + rest + `}`:         "rank_pattern is set",
		`{"layers_to_transform": [1], ` + rest + `}`:            "layers_to_transform is set",
		`{"bias": "all", ` + rest + `}`:                         `bias "all", want none`,
		`{"peft_type": "IA3", "target_modules": ["q"]}`:         `peft_type "IA3", want LORA`,
		`{"peft_type": "LORA", "target_modules": "all-linear"}`: "want a list of names",
		`{"peft_type": "LORA", "target_modules": []}`:           "no target modules",
		`{"lora_dropout": 1, ` + rest + `}`:                     "dropout 1",
		`{"trainable_token_indices": "all", ` + rest + `}`:      "trainable_token_indices are no list",
	} {
		if _, err := lora.ParseConfig([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
	c, err := lora.ParseConfig([]byte(`{"use_rslora": true, ` + rest + `}`))
	if err != nil || c.Scale() != 4 {
		t.Errorf("rank-stabilized: scale %v, %v", c.Scale(), err)
	}
}

func TestAttachSaysWhatIsWrong(t *testing.T) {
	dev := open(t, "cpu")
	for _, c := range []struct {
		config lora.Config
		rows   int
		want   string
	}{
		{lora.Config{R: 2, Alpha: 2, Targets: []string{"qkv"}}, 0, `no linear layer "qkv" in this llama; have: q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj`},
		{lora.Config{R: 2, Alpha: 2, Targets: []string{"q_proj"}, Saved: []string{"0.self_attn.q_proj"}}, 0, "trained whole, too"},
		{lora.Config{R: 2, Alpha: 2, Targets: []string{"q_proj"}, Saved: []string{"wte"}}, 0, `no module's path ends in "wte"`},
		{lora.Config{R: 2, Alpha: 2, Targets: []string{"q_proj"}, Tokens: map[string][]int32{"wte": {1}}}, 0, `no table "wte"`},
		{lora.Config{R: 2, Alpha: 2, Targets: []string{"q_proj"}, Tokens: map[string][]int32{"embed_tokens": {3, 1, 3}}}, 0, "trained token 3 of model.embed_tokens occurs twice"},
		{lora.Config{R: 2, Alpha: 2, Targets: []string{"q_proj"}, Tokens: map[string][]int32{"embed_tokens": {1514, 1515}}}, 1516, "tokens 1514 to 1515 are new and must be trained"},
		{lora.Config{R: 2, Alpha: 2, Targets: []string{"q_proj"}, Tokens: map[string][]int32{"embed_tokens": {2000}}}, 0, "trained token 2000 of a vocabulary of 1514"},
		{lora.Config{Targets: []string{"q_proj"}}, 0, "rank 0 and alpha 0"},
	} {
		m, err := base(t, "llama-tiny").Load(dev, c.config.Options(c.rows, 0))
		if err == nil {
			_, err = lora.Attach(m, c.config, 0)
			err = errors.Join(err, m.Close())
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error is %v, want %q", err, c.want)
		}
	}
	m, err := base(t, "opt-tiny").Load(dev, lm.Options{Saved: []string{"lm_head"}})
	if err == nil || !strings.Contains(err.Error(), "lm_head is tied to model.decoder.embed_tokens") {
		t.Errorf("a tied head alone: %v, %v", m, err)
	}
	f := read(t, filepath.Join(golden.Fixtures(t, "lora-llama-tiny"), "init"))
	m, err = base(t, "llama-tiny").Load(dev, lm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	a, err := lora.Attach(m, lora.Config{R: 8, Alpha: 16, Targets: f.Config.Targets}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.Restore(f); err == nil || !strings.Contains(err.Error(), "configuration") {
		t.Errorf("restored an adapter of another configuration: %v", err)
	}
	if got := fmt.Sprint(len(a.Parameters())); got != "42" {
		t.Errorf("%s parameters", got)
	}
}
