package llama

import (
	"fmt"

	"sower/gpu"
	"sower/gpu/checkpoint"
	"sower/gpu/models/lm"
	"sower/gpu/nn"
)

func init() {
	lm.Register("llama", func(dev *gpu.Device, config []byte, src checkpoint.Source, o lm.Options) (lm.Model, error) {
		c, err := ParseConfig(config)
		if err != nil {
			return nil, err
		}
		return Load(dev, src, c, o)
	})
}

// Model is a LLaMA on a device.
type Model struct {
	config     Config
	sizes      lm.Sizes
	dev        *gpu.Device
	embed      *lm.Embedding
	cos, sin   *gpu.Tensor // [P D/2]
	layers     []layer
	norm       nn.RMSNorm
	head       *gpu.Head
	linears    []lm.Module
	parameters []lm.Parameter
	made       []*gpu.Tensor
}

type layer struct {
	tap            string // name of its result
	norm1, norm2   nn.RMSNorm
	q, k, v, o     *nn.Linear
	gate, up, down *nn.Linear
}

// Load reads a model under Hugging Face's names onto a device. Tensors that it does not use are ignored. The source may be closed
// afterwards.
func Load(dev *gpu.Device, src checkpoint.Source, c Config, o lm.Options) (*Model, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	m := &Model{config: c, dev: dev, sizes: lm.Sizes{Vocabulary: max(c.VocabSize, o.Rows), Width: c.HiddenSize, Layers: c.NumHiddenLayers,
		Heads: c.NumAttentionHeads, KVHeads: c.NumKeyValueHeads, HeadDim: c.HeadDim, Positions: c.MaxPositionEmbeddings, Tied: c.TieWordEmbeddings}}
	if o.Positions > 0 {
		m.sizes.Positions = min(o.Positions, c.MaxPositionEmbeddings)
	}
	b, width, d := lm.NewBuilder(dev, src, o), c.HiddenSize, c.HeadDim
	const embedPath = "model.embed_tokens"
	m.embed = b.Embedding(embedPath, c.VocabSize, width)
	cos, sin := c.rotations(m.sizes.Positions)
	m.cos, m.sin = b.Values(cos, m.sizes.Positions, d/2), b.Values(sin, m.sizes.Positions, d/2)
	for i := range c.NumHiddenLayers {
		at := fmt.Sprintf("model.layers.%d.", i)
		m.layers = append(m.layers, layer{
			tap:   fmt.Sprintf("hidden.%d", i+1),
			norm1: b.RMSNorm(at+"input_layernorm", width, float32(c.RMSNormEps)),
			q:     b.Linear(at+"self_attn.q_proj", c.NumAttentionHeads*d, width, c.AttentionBias),
			k:     b.Linear(at+"self_attn.k_proj", c.NumKeyValueHeads*d, width, c.AttentionBias),
			v:     b.Linear(at+"self_attn.v_proj", c.NumKeyValueHeads*d, width, c.AttentionBias),
			o:     b.Linear(at+"self_attn.o_proj", width, c.NumAttentionHeads*d, c.AttentionBias),
			norm2: b.RMSNorm(at+"post_attention_layernorm", width, float32(c.RMSNormEps)),
			gate:  b.Linear(at+"mlp.gate_proj", c.IntermediateSize, width, c.MLPBias),
			up:    b.Linear(at+"mlp.up_proj", c.IntermediateSize, width, c.MLPBias),
			down:  b.Linear(at+"mlp.down_proj", width, c.IntermediateSize, c.MLPBias),
		})
	}
	m.layers[len(m.layers)-1].tap = "hidden.raw"
	m.norm = b.RMSNorm("model.norm", width, float32(c.RMSNormEps))
	var tied *lm.Embedding
	if c.TieWordEmbeddings {
		tied = m.embed
	}
	m.head = b.Head("lm_head", c.VocabSize, width, tied, embedPath)
	var err error
	if m.made, err = b.Load(); err != nil {
		return nil, fmt.Errorf("llama: %w", err)
	}
	m.linears, m.parameters = b.Linears, b.Parameters
	return m, nil
}

// forward computes one layer: x [B T C] → [B T C].
func (l *layer) forward(p *gpu.Pass, m *Model, i int, x, positions, starts *gpu.Tensor, cache *lm.Cache) *gpu.Tensor {
	heads, groups := m.sizes.Heads, m.sizes.KVHeads
	h := l.norm1.Forward(p, x)
	q := p.Rotate(l.q.Forward(p, h), positions, m.cos, m.sin, heads)  // [B T heads·D]
	k := p.Rotate(l.k.Forward(p, h), positions, m.cos, m.sin, groups) // [B T groups·D]
	keys, values := cache.Extend(p, i, k, l.v.Forward(p, h))
	x = l.o.Add(p, p.CausalAttention(q, keys, values, heads, groups, starts), x)
	h = l.norm2.Forward(p, x)
	return l.down.Add(p, p.Gate(l.gate.Forward(p, h), l.up.Forward(p, h)), x)
}

// Hidden implements lm.Model. Taps: "hidden.0", the embeddings, "hidden.i", after layer i, "hidden.raw", after the last.
func (m *Model) Hidden(p *gpu.Pass, b *lm.Batch, cache *lm.Cache) *gpu.Tensor {
	if err := b.Validate(); err != nil {
		return p.Fail(err)
	}
	cache.Check(p, b)
	positions, starts := b.Place(p, cache, m.sizes.Positions, 0, 0)
	x := m.embed.Forward(p, b) // [B T C]
	p.Tap("hidden.0", x)
	x = p.Layers(len(m.layers), x, func(i int, x *gpu.Tensor) *gpu.Tensor {
		x = m.layers[i].forward(p, m, i, x, positions, starts, cache)
		p.Tap(m.layers[i].tap, x)
		return x
	})
	cache.Advance(p, b)
	return m.norm.Forward(p, x)
}

// Architecture implements lm.Model.
func (m *Model) Architecture() string { return "llama" }

// Config is the configuration.
func (m *Model) Config() Config { return m.config }

// Sizes implements lm.Model.
func (m *Model) Sizes() lm.Sizes { return m.sizes }

// Head implements lm.Model.
func (m *Model) Head() *gpu.Head { return m.head }

// Linears implements lm.Model.
func (m *Model) Linears() []lm.Module { return m.linears }

// Parameters implements lm.Model.
func (m *Model) Parameters() []lm.Parameter { return m.parameters }

// Device implements lm.Model.
func (m *Model) Device() *gpu.Device { return m.dev }

// Close implements lm.Model.
func (m *Model) Close() error {
	for _, t := range m.made {
		t.Free()
	}
	m.made = nil
	return nil
}
