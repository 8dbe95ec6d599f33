// Package base resolves --base: a Hugging Face folder, a GGUF file, or a small language model made by rule.
package base

import (
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"sower/gpu/checkpoint"
	"sower/gpu/models/lm"
	_ "sower/gpu/models/lm/all" // the architectures
	"sower/internal/fetch"
)

// Usage is the help text of --base.
const Usage = `language model: a Hugging Face folder (LLaMA or OPT; safetensors or .bin) or a .gguf file, by path, gs:// or s3:// URL, or standin:tiny:N
(a LLaMA of 0.3 million parameters by rule, N the seed, for the bytes tokenizer: it knows nothing)`

// Base is an opened --base.
type Base struct {
	*lm.Checkpoint
	Arg string
	// StandIn says that the model was made by rule; its tokenizer is "bytes".
	StandIn bool
}

// Open resolves the argument. What lies in an object store is fetched to this machine first; Path is where it is here.
func Open(arg string) (*Base, error) {
	if arg == "" {
		return nil, errors.New("--base is missing: give a " + Usage)
	}
	if !strings.HasPrefix(arg, "standin:") {
		path, err := fetch.Local(arg, fetch.Weights)
		if err != nil {
			return nil, fmt.Errorf("--base: %w", err)
		}
		c, err := lm.Open(path)
		if err != nil {
			return nil, err
		}
		return &Base{Checkpoint: c, Arg: arg}, nil
	}
	parts := strings.Split(arg, ":")
	if len(parts) != 3 || parts[1] != "tiny" {
		return nil, fmt.Errorf("--base %q: want standin:tiny:N", arg)
	}
	seed, err := strconv.ParseUint(parts[2], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("--base %q: seed %q is no number", arg, parts[2])
	}
	c, err := standIn(seed)
	if err != nil {
		return nil, err
	}
	return &Base{Checkpoint: c, Arg: arg, StandIn: true}, nil
}

// Digest is the identity of the weights: SHA-256 over a line a tensor, in name order, with the digest of its values.
func (b *Base) Digest() (string, error) {
	var names []string
	for _, t := range b.Source.Tensors() {
		if t.DType.Float() {
			names = append(names, t.Name)
		}
	}
	sort.Strings(names)
	return checkpoint.Digest(b.Source, names)
}

// The sizes of the stand-in: a vocabulary of bytes (259 ids), 4 layers.
const (
	standInVocabulary = 259
	standInWidth      = 96
	standInMLP        = 256
	standInLayers     = 4
	standInHeads      = 6
	standInKVHeads    = 2
)

func standIn(seed uint64) (*lm.Checkpoint, error) {
	config, err := json.Marshal(map[string]any{"model_type": "llama", "architectures": []string{"LlamaForCausalLM"}, "vocab_size": standInVocabulary,
		"hidden_size": standInWidth, "intermediate_size": standInMLP, "num_hidden_layers": standInLayers, "num_attention_heads": standInHeads,
		"num_key_value_heads": standInKVHeads, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
		"hidden_act": "silu", "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0})
	if err != nil {
		return nil, err
	}
	kv := standInWidth / standInHeads * standInKVHeads
	list := []checkpoint.Info{{Name: "model.embed_tokens.weight", Shape: []int{standInVocabulary, standInWidth}}}
	for i := range standInLayers {
		add := func(name string, shape ...int) {
			list = append(list, checkpoint.Info{Name: fmt.Sprintf("model.layers.%d.%s.weight", i, name), Shape: shape})
		}
		add("input_layernorm", standInWidth)
		add("self_attn.q_proj", standInWidth, standInWidth)
		add("self_attn.k_proj", kv, standInWidth)
		add("self_attn.v_proj", kv, standInWidth)
		add("self_attn.o_proj", standInWidth, standInWidth)
		add("post_attention_layernorm", standInWidth)
		add("mlp.gate_proj", standInMLP, standInWidth)
		add("mlp.up_proj", standInMLP, standInWidth)
		add("mlp.down_proj", standInWidth, standInMLP)
	}
	list = append(list, checkpoint.Info{Name: "model.norm.weight", Shape: []int{standInWidth}}, checkpoint.Info{Name: "lm_head.weight", Shape: []int{standInVocabulary, standInWidth}})
	return &lm.Checkpoint{Path: fmt.Sprintf("standin:tiny:%d", seed), ModelType: "llama", Config: config, Source: checkpoint.NewStandIn(list, seed)}, nil
}
