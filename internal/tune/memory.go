package tune

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"sower/internal/base"
)

// Memory is what training takes, in bytes, as estimated from sizes.
type Memory struct {
	Weights, Training, Activations int64
}

// Total adds up.
func (m Memory) Total() int64 { return m.Weights + m.Training + m.Activations }

// Estimate says what training of a base takes with these settings: weights in float32; parameters of adapters with gradients and two
// moments; activations of the longest pass, of which Recompute keeps little. longest is the length of the longest row.
func (c *Config) Estimate(b *base.Base, longest int) (Memory, error) {
	var s struct {
		Hidden int `json:"hidden_size"`
		MLP    int `json:"intermediate_size"`
		FFN    int `json:"ffn_dim"`
		Layers int `json:"num_hidden_layers"`
		Vocab  int `json:"vocab_size"`
	}
	if err := json.Unmarshal(b.Config, &s); err != nil {
		return Memory{}, fmt.Errorf("tune: the base's config: %w", err)
	}
	mlp := max(s.MLP, s.FFN)
	var m Memory
	for _, t := range b.Source.Tensors() {
		m.Weights += 4 * int64(t.Len())
	}
	// A rank-r adapter of each linear layer: about 7 layers, in and out of the widths that there are.
	trained := int64(c.Rank) * int64(s.Layers) * int64(8*s.Hidden+3*(s.Hidden+mlp))
	if c.ImageTokens {
		trained += 2 * int64(c.Vocabulary.K+2) * int64(s.Hidden)
	}
	for range c.Saved {
		trained += int64(s.Vocab) * int64(s.Hidden)
	}
	m.Training = 4 * 4 * trained
	tokens := int64(max(c.MicroTokens, longest))
	layer := int64(12*s.Hidden + 4*mlp + 7*2*c.Rank)
	if c.Recompute {
		m.Activations = 4 * tokens * (int64(s.Layers*s.Hidden) + 2*layer)
	} else {
		m.Activations = 4 * tokens * (int64(s.Layers)*layer + layer)
	}
	m.Activations += 4 * min(tokens*int64(s.Vocab+int(c.Vocabulary.K)), 1<<24) // scores
	return m, nil
}

// Available is the memory that can be had without swapping, where Linux tells.
func Available() (int64, bool) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		var kB int64
		if n, _ := fmt.Sscanf(line, "MemAvailable: %d kB", &kB); n == 1 {
			return kB << 10, true
		}
	}
	return 0, false
}
