package checkpoint

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// GGUFLlama is a GGUF file of the LLaMA architecture as a Source under Hugging Face names, with the rows in Hugging
// Face's order.
type GGUFLlama struct {
	file    *GGUF
	config  LlamaConfig
	tensors map[string]llamaTensor
	list    []Info
}

// llamaTensor is a tensor of the file under another name. headDim is above 0 where rows are in another order.
type llamaTensor struct {
	info    Info
	from    *ggufTensor
	headDim int
}

// llamaNames maps what follows "blk.N." in the file; and what stands alone, with the model's prefix.
var llamaNames = map[string]string{
	"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
	"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
	"ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}

var llamaTop = map[string]string{"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
	"output.weight": "lm_head.weight"}

// HuggingFace is the view of a file whose general.architecture is "llama" that a model written for Hugging Face's
// safetensors can load: model.embed_tokens.weight, model.layers.N.self_attn.q_proj.weight and so on; lm_head.weight
// exists only where the file has output.weight, otherwise the embedding serves as head (TieWordEmbeddings).
// rope_freqs.weight is not among the tensors; its values are in Config's RopeScaling.
//
// It fails for other architectures, split files and mixtures of experts, for tensors that have no Hugging Face name or an
// element type that is not read, and for metadata that no model can have. That no tensor is missing is for the model to
// check. Closing the view closes the file.
func (g *GGUF) HuggingFace() (*GGUFLlama, error) {
	v, err := huggingFace(g)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %s: %w", g.what, err)
	}
	return v, nil
}

func huggingFace(g *GGUF) (*GGUFLlama, error) {
	c, err := llamaConfig(g)
	if err != nil {
		return nil, err
	}
	v := &GGUFLlama{file: g, tensors: map[string]llamaTensor{}}
	for _, info := range g.list {
		if info.Name == ropeFreqs {
			continue
		}
		name, part, err := llamaName(info.Name, c.NumHiddenLayers)
		if err != nil {
			return nil, err
		}
		t := llamaTensor{info: info, from: g.tensors[info.Name]}
		if err := t.from.readable(); err != nil {
			return nil, err
		}
		t.info.Name = name
		heads := map[string]int{"attn_q": c.NumAttentionHeads, "attn_k": c.NumKeyValueHeads}[part]
		if heads > 0 {
			if len(info.Shape) == 0 || info.Shape[0] != heads*c.HeadDim {
				return nil, fmt.Errorf("tensor %s has shape %v, want %d rows for %d heads of %d", info.Name, info.Shape, heads*c.HeadDim, heads, c.HeadDim)
			}
			t.headDim = c.HeadDim
		}
		if strings.HasSuffix(name, ".bias") {
			c.AttentionBias = c.AttentionBias || strings.Contains(name, ".self_attn.")
			c.MLPBias = c.MLPBias || strings.Contains(name, ".mlp.")
		}
		v.tensors[name] = t
		v.list = append(v.list, t.info)
	}
	embed, ok := v.Find("model.embed_tokens.weight")
	if !ok || len(embed.Shape) != 2 || embed.Shape[1] != c.HiddenSize {
		return nil, fmt.Errorf("tensor token_embd.weight has shape %v, want [vocabulary %d]", embed.Shape, c.HiddenSize)
	}
	// The key llama.vocab_size is optional and files whose vocabulary was extended have a stale one.
	c.VocabSize = embed.Shape[0]
	_, head := v.Find("lm_head.weight")
	c.TieWordEmbeddings = !head
	v.config = c
	sort.Slice(v.list, func(i, j int) bool { return v.list[i].Name < v.list[j].Name })
	return v, nil
}

// llamaName is the Hugging Face name of a tensor, and for one of a layer the part of the file's name between number and
// suffix.
func llamaName(name string, layers int) (hf, part string, err error) {
	if top, ok := llamaTop[name]; ok {
		return top, "", nil
	}
	f := strings.Split(name, ".")
	if len(f) == 4 && f[0] == "blk" && llamaNames[f[2]] != "" && (f[3] == "weight" || f[3] == "bias" && !strings.HasSuffix(f[2], "_norm")) {
		n, err := strconv.Atoi(f[1])
		if err == nil && strconv.Itoa(n) == f[1] && n >= 0 && n < layers {
			return fmt.Sprintf("model.layers.%d.%s.%s", n, llamaNames[f[2]], f[3]), f[2], nil
		}
	}
	return "", "", fmt.Errorf("tensor %q has no Hugging Face name in a LLaMA model of %d layers", name, layers)
}

// Config is the model's configuration.
func (v *GGUFLlama) Config() LlamaConfig { return v.config }

// Meta is the file's metadata.
func (v *GGUFLlama) Meta() *Meta { return v.file.meta }

// Tensors implements Source.
func (v *GGUFLlama) Tensors() []Info { return v.list }

// Find implements Source.
func (v *GGUFLlama) Find(name string) (Info, bool) {
	t, ok := v.tensors[name]
	return t.info, ok
}

// Close implements Source.
func (v *GGUFLlama) Close() error {
	v.tensors = nil
	return v.file.Close()
}

// Read implements Source.
func (v *GGUFLlama) Read(name string, offset int, dst []float32) error {
	t, ok := v.tensors[name]
	if !ok {
		return fmt.Errorf("checkpoint: %s: no tensor %q", v.file.what, name)
	}
	if err := t.read(offset, dst); err != nil {
		return fmt.Errorf("checkpoint: %s: read %q: %w", v.file.what, name, err)
	}
	return nil
}

func (t *llamaTensor) read(offset int, dst []float32) error {
	n := t.info.Len()
	if t.headDim == 0 || offset < 0 || offset > n || len(dst) > n-offset {
		return t.from.read(offset, dst) // which refuses what lies outside
	}
	for width := n / t.info.Shape[0]; len(dst) > 0; {
		row, col := offset/width, offset%width
		part := dst[:min(width-col, len(dst))]
		if err := t.from.read(fileRow(row, t.headDim)*width+col, part); err != nil {
			return err
		}
		dst, offset = dst[len(part):], offset+len(part)
	}
	return nil
}

// fileRow is where a GGUF file keeps a row of a query or key projection. Hugging Face rotates channels i and i + D/2 of
// a head together, llama.cpp 2i and 2i + 1, so its converter interleaves the halves of each head.
func fileRow(row, headDim int) int {
	head, in := row/headDim, row%headDim
	return head*headDim + 2*(in%(headDim/2)) + in/(headDim/2)
}
