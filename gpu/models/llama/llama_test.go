package llama

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"
)

// TestFrequencies compares with testdata/rope.json, which testdata/make_rope.py computes in float32.
func TestFrequencies(t *testing.T) {
	text, err := os.ReadFile("testdata/rope.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		RopeTheta   float64      `json:"rope_theta"`
		HeadDim     int          `json:"head_dim"`
		RopeScaling *RopeScaling `json:"rope_scaling"`
		Frequencies []float64
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		got := Config{RopeTheta: c.RopeTheta, HeadDim: c.HeadDim, RopeScaling: c.RopeScaling}.frequencies()
		for i, want := range c.Frequencies {
			if e := math.Abs(float64(got[i])/want - 1); !(e <= 5e-7) { // the last places of float32
				t.Errorf("theta %v, %d channels, %+v: frequency %d is %g, want %g", c.RopeTheta, c.HeadDim, c.RopeScaling, i, got[i], want)
			}
		}
	}
}

// TestFactors wants of a GGUF file's divisors what the parameters that they come from give.
func TestFactors(t *testing.T) {
	s := &RopeScaling{RopeType: "llama3", Factor: 8, LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxPositionEmbeddings: 8192}
	plain := Config{RopeTheta: 500000, HeadDim: 64}
	want, base := plain, plain.frequencies()
	want.RopeScaling = s
	f := &RopeScaling{RopeType: "llama3"}
	for i, v := range want.frequencies() {
		f.FreqFactors = append(f.FreqFactors, base[i]/v)
	}
	got := plain
	got.RopeScaling = f
	for i, v := range got.frequencies() {
		if e := math.Abs(float64(v/want.frequencies()[i]) - 1); e > 5e-7 {
			t.Errorf("frequency %d is %g, want %g", i, v, want.frequencies()[i])
		}
	}
}

func TestConfigs(t *testing.T) {
	const sizes = `"vocab_size": 10, "hidden_size": 8, "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2`
	for text, want := range map[string]string{
		`{` + sizes + `, "num_key_value_heads": 3}`:                             "num_attention_heads is 2, want a multiple of num_key_value_heads, 3",
		`{` + sizes + `, "head_dim": 3}`:                                        "head_dim is 3, want an even number",
		`{` + sizes + `, "hidden_act": "gelu"}`:                                 `hidden_act is "gelu", want silu`,
		`{` + sizes + `, "rope_scaling": {"rope_type": "yarn", "factor": 2}}`:   `rope_scaling of type "yarn" is not computed (have: linear, llama3)`,
		`{` + sizes + `, "rope_scaling": {"type": "linear", "factor": 0.5}}`:    "want factor of 1 or more",
		`{` + sizes + `, "rope_scaling": {"rope_type": "llama3", "factor": 8}}`: "low_freq_factor < high_freq_factor",
		`{"hidden_size": 8, "num_attention_heads": 3}`:                          "hidden_size is 8, want a multiple of num_attention_heads, 3",
		`{"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": -1}`: "vocab_size is 0, want 1 or more\nllama: config: intermediate_size is 0",
		`{"hidden_size": "x"}`:                                                  "llama: config: json",
	} {
		if _, err := ParseConfig([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v, want %q", text, err, want)
		}
	}
	c, err := ParseConfig([]byte(`{` + sizes + `, "rope_parameters": {"rope_type": "linear", "factor": 2, "rope_theta": 777}}`))
	if err != nil || c.NumKeyValueHeads != 2 || c.HeadDim != 4 || c.RopeTheta != 777 || c.RopeScaling.RopeType != "linear" || c.RMSNormEps != 1e-6 {
		t.Errorf("what may be absent: %+v, %v", c, err)
	}
}
