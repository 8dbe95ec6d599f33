package opt

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Config mirrors config.json of Hugging Face. Dropout is not applied.
type Config struct {
	ModelType                  string `json:"model_type"`
	VocabSize                  int    `json:"vocab_size"`
	HiddenSize                 int    `json:"hidden_size"`
	WordEmbedProjDim           int    `json:"word_embed_proj_dim"` // absent: hidden_size, the only one
	FFNDim                     int    `json:"ffn_dim"`
	NumHiddenLayers            int    `json:"num_hidden_layers"`
	NumAttentionHeads          int    `json:"num_attention_heads"`
	MaxPositionEmbeddings      int    `json:"max_position_embeddings"`
	ActivationFunction         string `json:"activation_function"`           // relu
	DoLayerNormBefore          bool   `json:"do_layer_norm_before"`          // true
	EnableBias                 bool   `json:"enable_bias"`                   // true
	LayerNormElementwiseAffine bool   `json:"layer_norm_elementwise_affine"` // true
	RemoveFinalLayerNorm       bool   `json:"_remove_final_layer_norm"`      // false
	TieWordEmbeddings          bool   `json:"tie_word_embeddings"`           // true
}

// ParseConfig reads config.json. What it leaves out has Hugging Face's values: those named in Config, and 2048 positions.
func ParseConfig(text []byte) (Config, error) {
	c := Config{ActivationFunction: "relu", DoLayerNormBefore: true, EnableBias: true, LayerNormElementwiseAffine: true, TieWordEmbeddings: true,
		MaxPositionEmbeddings: 2048}
	if err := json.Unmarshal(text, &c); err != nil {
		return c, fmt.Errorf("opt: config: %w", err)
	}
	if c.WordEmbedProjDim == 0 {
		c.WordEmbedProjDim = c.HiddenSize
	}
	return c, c.Validate()
}

// Validate names everything that is impossible, or that this package does not compute.
func (c Config) Validate() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf("opt: config: "+format, args...)) }
	for _, f := range []struct {
		name  string
		value int
	}{
		{"vocab_size", c.VocabSize}, {"hidden_size", c.HiddenSize}, {"ffn_dim", c.FFNDim}, {"num_hidden_layers", c.NumHiddenLayers},
		{"num_attention_heads", c.NumAttentionHeads}, {"max_position_embeddings", c.MaxPositionEmbeddings},
	} {
		if f.value < 1 {
			fail("%s is %d, want 1 or more", f.name, f.value)
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if c.HiddenSize%c.NumAttentionHeads != 0 {
		fail("hidden_size is %d, want a multiple of num_attention_heads, %d", c.HiddenSize, c.NumAttentionHeads)
	}
	if !c.DoLayerNormBefore || c.WordEmbedProjDim != c.HiddenSize {
		fail("do_layer_norm_before is %v and word_embed_proj_dim %d of hidden_size %d: this is opt-350m, the one OPT of another architecture; use "+
			"opt-125m, opt-1.3b or a larger one", c.DoLayerNormBefore, c.WordEmbedProjDim, c.HiddenSize)
	}
	if c.ActivationFunction != "relu" {
		fail("activation_function is %q, want relu", c.ActivationFunction)
	}
	for name, unusual := range map[string]bool{"enable_bias": !c.EnableBias, "layer_norm_elementwise_affine": !c.LayerNormElementwiseAffine,
		"_remove_final_layer_norm": c.RemoveFinalLayerNorm, "tie_word_embeddings": !c.TieWordEmbeddings} {
		if unusual {
			fail("%s differs from that of the published models; such a model is not computed", name)
		}
	}
	return errors.Join(errs...)
}
