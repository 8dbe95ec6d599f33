package llama

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
)

// Config mirrors config.json of Hugging Face.
type Config struct {
	ModelType             string       `json:"model_type"`
	VocabSize             int          `json:"vocab_size"`
	HiddenSize            int          `json:"hidden_size"`
	IntermediateSize      int          `json:"intermediate_size"`
	NumHiddenLayers       int          `json:"num_hidden_layers"`
	NumAttentionHeads     int          `json:"num_attention_heads"`
	NumKeyValueHeads      int          `json:"num_key_value_heads"` // absent: num_attention_heads
	HeadDim               int          `json:"head_dim"`            // absent: hidden_size / num_attention_heads
	HiddenAct             string       `json:"hidden_act"`          // absent: silu, the only one
	MaxPositionEmbeddings int          `json:"max_position_embeddings"`
	RMSNormEps            float64      `json:"rms_norm_eps"`
	RopeTheta             float64      `json:"rope_theta"`
	RopeScaling           *RopeScaling `json:"rope_scaling"`
	RopeParameters        *RopeScaling `json:"rope_parameters"` // the newer place of rope_theta and rope_scaling
	TieWordEmbeddings     bool         `json:"tie_word_embeddings"`
	AttentionBias         bool         `json:"attention_bias"`
	MLPBias               bool         `json:"mlp_bias"`
}

// RopeScaling changes the frequencies of the rotation: rope_type "default", "linear" or "llama3".
type RopeScaling struct {
	RopeType                      string  `json:"rope_type"`
	Type                          string  `json:"type"` // the older key
	RopeTheta                     float64 `json:"rope_theta"`
	Factor                        float64 `json:"factor"`
	LowFreqFactor                 float64 `json:"low_freq_factor"`
	HighFreqFactor                float64 `json:"high_freq_factor"`
	OriginalMaxPositionEmbeddings float64 `json:"original_max_position_embeddings"`
	// FreqFactors [D/2] divide the frequencies; they are what a GGUF file keeps of llama3 scaling.
	FreqFactors []float32 `json:"freq_factors"`
}

// ParseConfig reads config.json. What it may leave out has the values that Hugging Face takes: rms_norm_eps 1e-6, rope_theta
// 10000, max_position_embeddings 2048.
func ParseConfig(text []byte) (Config, error) {
	c := Config{HiddenAct: "silu", RMSNormEps: 1e-6, RopeTheta: 10000, MaxPositionEmbeddings: 2048}
	if err := json.Unmarshal(text, &c); err != nil {
		return c, fmt.Errorf("llama: config: %w", err)
	}
	if c.NumKeyValueHeads == 0 {
		c.NumKeyValueHeads = c.NumAttentionHeads
	}
	if c.HeadDim == 0 && c.NumAttentionHeads > 0 {
		c.HeadDim = c.HiddenSize / c.NumAttentionHeads
		if c.HiddenSize%c.NumAttentionHeads != 0 {
			return c, fmt.Errorf("llama: config: hidden_size is %d, want a multiple of num_attention_heads, %d, as there is no head_dim",
				c.HiddenSize, c.NumAttentionHeads)
		}
	}
	if r := c.RopeParameters; r != nil {
		if r.RopeTheta > 0 {
			c.RopeTheta = r.RopeTheta
		}
		if c.RopeScaling == nil {
			c.RopeScaling = r
		}
	}
	if r := c.RopeScaling; r != nil && r.RopeType == "" {
		r.RopeType = r.Type
	}
	return c, c.Validate()
}

// Validate names everything that is impossible, or that this package does not compute.
func (c Config) Validate() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf("llama: config: "+format, args...)) }
	for _, f := range []struct {
		name  string
		value int
	}{
		{"vocab_size", c.VocabSize}, {"hidden_size", c.HiddenSize}, {"intermediate_size", c.IntermediateSize},
		{"num_hidden_layers", c.NumHiddenLayers}, {"num_attention_heads", c.NumAttentionHeads},
		{"num_key_value_heads", c.NumKeyValueHeads}, {"head_dim", c.HeadDim}, {"max_position_embeddings", c.MaxPositionEmbeddings},
	} {
		if f.value < 1 {
			fail("%s is %d, want 1 or more", f.name, f.value)
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if c.NumAttentionHeads%c.NumKeyValueHeads != 0 {
		fail("num_attention_heads is %d, want a multiple of num_key_value_heads, %d", c.NumAttentionHeads, c.NumKeyValueHeads)
	}
	if c.HeadDim%2 != 0 {
		fail("head_dim is %d, want an even number, as channels are rotated in pairs", c.HeadDim)
	}
	if c.HiddenAct != "silu" {
		fail("hidden_act is %q, want silu; other gated layers are not computed", c.HiddenAct)
	}
	if !(c.RMSNormEps > 0) || !(c.RopeTheta > 0) || math.IsInf(c.RopeTheta, 0) {
		fail("rms_norm_eps is %v and rope_theta %v, want more than 0", c.RMSNormEps, c.RopeTheta)
	}
	if r := c.RopeScaling; r != nil {
		errs = append(errs, r.validate(c.HeadDim))
	}
	return errors.Join(errs...)
}

func (r *RopeScaling) validate(headDim int) error {
	switch r.RopeType {
	case "default", "":
		return nil
	case "linear":
		if r.Factor >= 1 {
			return nil
		}
	case "llama3":
		if len(r.FreqFactors) == headDim/2 || len(r.FreqFactors) == 0 && r.Factor >= 1 && r.LowFreqFactor > 0 &&
			r.HighFreqFactor > r.LowFreqFactor && r.OriginalMaxPositionEmbeddings > 0 {
			return nil
		}
	default:
		return fmt.Errorf("llama: config: rope_scaling of type %q is not computed (have: linear, llama3); use a model without it, or remove "+
			"it for contexts no longer than the original", r.RopeType)
	}
	return fmt.Errorf("llama: config: rope_scaling %+v: want factor of 1 or more and, for llama3, low_freq_factor < high_freq_factor and "+
		"original_max_position_embeddings", *r)
}
