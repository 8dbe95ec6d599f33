package checkpoint

import (
	"errors"
	"fmt"
	"math"
	"strconv"
)

// LlamaConfig is what a GGUF file of the LLaMA architecture says about its model, in the fields of Hugging Face's
// config.json (LlamaConfig in transformers). Token ids are the tokenizer's and stay in Meta.
type LlamaConfig struct {
	ModelType             string       `json:"model_type"` // always "llama"
	VocabSize             int          `json:"vocab_size"` // rows of the embedding
	HiddenSize            int          `json:"hidden_size"`
	IntermediateSize      int          `json:"intermediate_size"`
	NumHiddenLayers       int          `json:"num_hidden_layers"`
	NumAttentionHeads     int          `json:"num_attention_heads"`
	NumKeyValueHeads      int          `json:"num_key_value_heads"`
	HeadDim               int          `json:"head_dim"`
	MaxPositionEmbeddings int          `json:"max_position_embeddings"`
	RMSNormEps            float64      `json:"rms_norm_eps"`
	RopeTheta             float64      `json:"rope_theta"`
	RopeScaling           *RopeScaling `json:"rope_scaling"` // nil: plain rotation
	TieWordEmbeddings     bool         `json:"tie_word_embeddings"`
	AttentionBias         bool         `json:"attention_bias"`
	MLPBias               bool         `json:"mlp_bias"`
}

// RopeScaling is a change of the rotation's frequencies. A model that does not know Type must refuse the file: its text
// would look right and be wrong.
type RopeScaling struct {
	// Type is rope.scaling.type ("linear", "yarn", "longrope", …), or "llama3" where that is absent or "none" and the file
	// has the tensor rope_freqs.weight, which llama.cpp's converter writes for that type alone.
	Type   string  `json:"rope_type"`
	Factor float64 `json:"factor,omitempty"`
	// OriginalMaxPositionEmbeddings is the context length before scaling, 0 if the file does not say.
	OriginalMaxPositionEmbeddings int `json:"original_max_position_embeddings,omitempty"`
	// FreqFactors are the values of rope_freqs.weight, HeadDim/2 of them, nil without it: channels i and i + HeadDim/2
	// turn by position · theta^(−2i/HeadDim) / FreqFactors[i]. They are all that a GGUF file keeps of the parameters of
	// llama3 scaling.
	FreqFactors []float32 `json:"-"`
}

const (
	llamaArch    = "llama"
	ropeFreqs    = "rope_freqs.weight"
	defaultTheta = 10000 // llama.cpp's, and Hugging Face's
)

// llamaKeys reads keys below "llama." and keeps the errors.
type llamaKeys struct {
	meta *Meta
	errs []error
}

func (k *llamaKeys) has(key string) bool { return k.meta.Has(llamaArch + "." + key) }

// size is a positive number that can be multiplied with another one.
func (k *llamaKeys) size(key string) int {
	n, err := k.meta.Int(llamaArch + "." + key)
	if err == nil && (n < 1 || n > math.MaxInt32) {
		err = fmt.Errorf("key %s.%s is %d", llamaArch, key, n)
	}
	if err != nil {
		k.errs = append(k.errs, err)
		return 1
	}
	return n
}

func (k *llamaKeys) sizeOr(key string, absent int) int {
	if !k.has(key) {
		return absent
	}
	return k.size(key)
}

// float is a finite number. One that the file holds as float32 becomes the float64 with the same short decimal form, as
// config.json has it: 1e-05 and not 9.999999747378752e-06.
func (k *llamaKeys) float(key string) float64 {
	v, err := k.meta.Float(llamaArch + "." + key)
	if f, single := k.meta.Value(llamaArch + "." + key).(float32); single {
		v, _ = strconv.ParseFloat(strconv.FormatFloat(float64(f), 'g', -1, 32), 64)
	}
	if err == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
		err = fmt.Errorf("key %s.%s is %v", llamaArch, key, v)
	}
	if err != nil {
		k.errs = append(k.errs, err)
	}
	return v
}

// llamaConfig reads the metadata of a LLaMA file; every key that is missing or impossible is in the error.
func llamaConfig(g *GGUF) (c LlamaConfig, err error) {
	arch, err := g.meta.String("general.architecture")
	if err != nil {
		return c, err
	}
	if arch != llamaArch {
		return c, fmt.Errorf("architecture %q has no Hugging Face view; have: %s", arch, llamaArch)
	}
	if n, err := g.meta.Int("split.count"); err == nil && n > 1 {
		return c, fmt.Errorf("one of the %d parts of a split file; join them with llama-gguf-split --merge", n)
	}
	k := &llamaKeys{meta: g.meta}
	if n, err := g.meta.Int("llama.expert_count"); err == nil && n > 0 {
		return c, fmt.Errorf("a mixture of %d experts has no Hugging Face view; have: dense models", n)
	}
	c = LlamaConfig{
		ModelType:             llamaArch,
		HiddenSize:            k.size("embedding_length"),
		IntermediateSize:      k.size("feed_forward_length"),
		NumHiddenLayers:       k.size("block_count"),
		NumAttentionHeads:     k.size("attention.head_count"),
		MaxPositionEmbeddings: k.size("context_length"),
		RMSNormEps:            k.float("attention.layer_norm_rms_epsilon"),
		RopeTheta:             defaultTheta,
	}
	c.NumKeyValueHeads = k.sizeOr("attention.head_count_kv", c.NumAttentionHeads)
	c.HeadDim = k.sizeOr("attention.key_length", c.HiddenSize/c.NumAttentionHeads)
	if k.has("rope.freq_base") {
		c.RopeTheta = k.float("rope.freq_base")
	}
	if err := errors.Join(k.errs...); err != nil {
		return c, err
	}
	values, turned := k.sizeOr("attention.value_length", c.HeadDim), k.sizeOr("rope.dimension_count", c.HeadDim)
	switch {
	case !k.has("attention.key_length") && c.HiddenSize%c.NumAttentionHeads != 0:
		return c, fmt.Errorf("%d channels in %d heads", c.HiddenSize, c.NumAttentionHeads)
	case c.HeadDim%2 != 0 || c.HeadDim == 0:
		return c, fmt.Errorf("heads of %d channels cannot be rotated in pairs", c.HeadDim)
	case c.NumAttentionHeads%c.NumKeyValueHeads != 0:
		return c, fmt.Errorf("%d heads share %d key heads", c.NumAttentionHeads, c.NumKeyValueHeads)
	case values != c.HeadDim:
		return c, fmt.Errorf("keys of %d and values of %d channels; only equal ones have a Hugging Face view", c.HeadDim, values)
	case turned != c.HeadDim:
		return c, fmt.Errorf("rope.dimension_count %d of heads of %d channels; only heads rotated whole have a Hugging Face view", turned, c.HeadDim)
	}
	if c.RopeScaling, err = ropeScaling(g, k, c.HeadDim); err != nil {
		return c, err
	}
	return c, errors.Join(k.errs...)
}

// ropeScaling reads the keys below rope.scaling, the older key rope.scale_linear, and the tensor rope_freqs.weight.
func ropeScaling(g *GGUF, k *llamaKeys, headDim int) (*RopeScaling, error) {
	s := &RopeScaling{}
	if k.has("rope.scaling.type") {
		t, err := g.meta.String(llamaArch + ".rope.scaling.type")
		if err != nil {
			return nil, err
		}
		s.Type = t
	}
	for _, key := range []string{"rope.scale_linear", "rope.scaling.factor"} {
		if k.has(key) {
			s.Factor = k.float(key)
		}
	}
	if s.Type == "" && s.Factor != 0 && s.Factor != 1 {
		s.Type = "linear" // what llama.cpp takes a factor without a type for
	}
	if k.has("rope.scaling.original_context_length") {
		s.OriginalMaxPositionEmbeddings = k.size("rope.scaling.original_context_length")
	}
	if info, ok := g.Find(ropeFreqs); ok {
		if info.Len() != headDim/2 {
			return nil, fmt.Errorf("tensor %s has %d values, want %d", ropeFreqs, info.Len(), headDim/2)
		}
		s.FreqFactors = make([]float32, headDim/2)
		if err := g.tensors[ropeFreqs].read(0, s.FreqFactors); err != nil {
			return nil, err
		}
		for i, f := range s.FreqFactors {
			if !(f > 0) || math.IsInf(float64(f), 0) {
				return nil, fmt.Errorf("tensor %s: value %d is %v, want a divisor of a frequency", ropeFreqs, i, f)
			}
		}
		if s.Type == "" || s.Type == "none" {
			s.Type = "llama3"
		}
	}
	if s.Type == "" || s.Type == "none" {
		return nil, nil
	}
	return s, nil
}
