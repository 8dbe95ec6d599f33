package lm_test

import (
	"path/filepath"
	"testing"

	"sower/gpu"
	"sower/gpu/models/lm"
	"sower/internal/golden"
)

// TestHalfPrecision runs products in bfloat16, whose 8 bits move scores by some percent of the largest; ids are still looked up in
// float32.
func TestHalfPrecision(t *testing.T) {
	dev, err := gpu.Open("cpu", gpu.Options{Precision: gpu.BF16})
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { dev.Close() })
	for _, set := range []string{"llama-tiny", "opt-tiny"} {
		want := golden.Open(t, filepath.Join(golden.Fixtures(t, set), "expected.safetensors"))
		m := load(t, dev, golden.Fixtures(t, set), lm.Options{Tokens: map[string][]int32{"embed_tokens": {3, 1001}}})
		got := logits(t, m, &lm.Batch{B: 1, T: 24, IDs: want.Int32s("input_ids")[:24]}, nil)
		if e := golden.Relative(got, want.Floats("logits")[:len(got)]); !(e <= 0.05 && e >= 1e-4) {
			t.Errorf("%s: relative error %.2g", set, e)
		}
	}
}
