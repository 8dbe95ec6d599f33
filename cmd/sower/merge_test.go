package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sower/gpu/checkpoint"
	"sower/internal/golden"
)

// TestMerge checks that a merged folder answers as base and adapter do, and compares one of its matrices with PEFT's.
func TestMerge(t *testing.T) {
	for _, c := range []struct{ set, base, tokenizer, matrix string }{
		{"lora-llama-tiny", "llama-tiny", "llama-bpe", "model.layers.1.self_attn.q_proj.weight"},
		{"lora-llama-tiny-tokens", "llama-tiny-sharded", "llama-bpe", "model.layers.1.self_attn.q_proj.weight"},
		{"lora-opt-tiny", "opt-tiny-bin", "opt-bpe", "model.decoder.layers.1.self_attn.q_proj.weight"},
		{"lora-seed-tiny", "llama-tiny-mha", "llama-bpe", "model.layers.1.self_attn.q_proj.weight"},
	} {
		t.Run(c.set, func(t *testing.T) {
			base, adapter, out := golden.Fixtures(t, c.base), tunedFolder(t, c.set, c.tokenizer, nil), filepath.Join(t.TempDir(), "merged")
			must(t, "merge", "--base", base, "--adapter", adapter, "--output", out, "--dtype", "f32")
			var config struct {
				Rows  int    `json:"vocab_size"`
				DType string `json:"dtype"`
			}
			p, err := os.ReadFile(filepath.Join(out, "config.json"))
			if err == nil {
				err = json.Unmarshal(p, &config)
			}
			if err != nil || config.Rows != 1514 || config.DType != "float32" {
				t.Errorf("config %+v, %v", config, err)
			}
			src, err := checkpoint.OpenSharded(out)
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			want := golden.Open(t, filepath.Join(golden.Fixtures(t, c.set), "trajectory.safetensors")).Floats("merged." + c.matrix)
			got := make([]float32, len(want))
			if err := src.Read(c.matrix, 0, got); err != nil {
				t.Fatal(err)
			}
			if e := golden.Relative(got, want); !(e < 1e-6) {
				t.Errorf("%s: relative error %.2g", c.matrix, e)
			}
			args := []string{"--prompt", "a red bird", "--tokens", "16"}
			before, after := ask(t, append([]string{"--base", base, "--adapter", adapter}, args...)...), ask(t, append([]string{"--base", out}, args...)...)
			if !slices.Equal(before.Answers[0].IDs, after.Answers[0].IDs) || !slices.Equal(before.PromptIDs, after.PromptIDs) {
				t.Errorf("with the adapter %v, merged %v", before, after)
			}
		})
	}
}

// TestMergeReplaces checks element types, and that --force leaves nothing of an older model.
func TestMergeReplaces(t *testing.T) {
	base, adapter, out := golden.Fixtures(t, "llama-tiny"), tunedFolder(t, "lora-llama-tiny", "llama-bpe", nil), t.TempDir()
	for _, stale := range []string{"model-00001-of-00002.safetensors", "model.safetensors.index.json", "added_tokens.json", "pytorch_model.bin"} {
		writeFile(t, out, stale, []byte("stale"))
	}
	writeFile(t, out, "README.md", []byte("mine"))
	for dtype, want := range map[string]checkpoint.DType{"keep": checkpoint.F16, "bf16": checkpoint.BF16} {
		must(t, "merge", "--base", base, "--adapter", adapter, "--output", out, "--dtype", dtype, "--force")
		src, err := checkpoint.OpenSharded(out)
		if err != nil {
			t.Fatal(err)
		}
		for _, info := range src.Tensors() {
			if info.DType != want {
				t.Errorf("--dtype %s: %v", dtype, info)
			}
		}
		src.Close()
	}
	var names []string
	entries, err := os.ReadDir(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{"README.md", "config.json", "generation_config.json", "model.safetensors", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json"}; !slices.Equal(names, want) {
		t.Errorf("files %v, want %v", names, want)
	}
}
