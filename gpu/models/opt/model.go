package opt

import (
	"fmt"

	"sower/gpu"
	"sower/gpu/checkpoint"
	"sower/gpu/models/lm"
	"sower/gpu/nn"
)

const (
	eps        = 1e-5 // of every LayerNorm, whatever config.json says
	firstRow   = 2    // of position 0 in the table of positions
	paddingRow = 1
	decoder    = "model.decoder."
	embedPath  = decoder + "embed_tokens"
)

func init() {
	lm.Register("opt", func(dev *gpu.Device, config []byte, src checkpoint.Source, o lm.Options) (lm.Model, error) {
		c, err := ParseConfig(config)
		if err != nil {
			return nil, err
		}
		return Load(dev, src, c, o)
	})
}

// Model is an OPT on a device.
type Model struct {
	config     Config
	sizes      lm.Sizes
	dev        *gpu.Device
	embed      *lm.Embedding
	positions  *gpu.Tensor // [P+2 C]
	layers     []layer
	norm       nn.LayerNorm
	head       *gpu.Head
	linears    []lm.Module
	parameters []lm.Parameter
	made       []*gpu.Tensor
}

type layer struct {
	tap          string       // name of its result
	norm1, norm2 nn.LayerNorm // self_attn_layer_norm and, misleadingly, the layer's final_layer_norm
	q, k, v, out *nn.Linear
	fc1, fc2     *nn.Linear
}

// Load reads a model under Hugging Face's names onto a device. Tensors that it does not use are ignored. The source may be closed
// afterwards.
func Load(dev *gpu.Device, src checkpoint.Source, c Config, o lm.Options) (*Model, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	width := c.HiddenSize
	m := &Model{config: c, dev: dev, sizes: lm.Sizes{Vocabulary: max(c.VocabSize, o.Rows), Width: width, Layers: c.NumHiddenLayers,
		Heads: c.NumAttentionHeads, KVHeads: c.NumAttentionHeads, HeadDim: width / c.NumAttentionHeads, Positions: c.MaxPositionEmbeddings, Tied: true}}
	b := lm.NewBuilder(dev, src, o)
	m.embed = b.Embedding(embedPath, c.VocabSize, width)
	m.positions = b.Table(decoder+"embed_positions", c.MaxPositionEmbeddings+firstRow, width)
	for i := range c.NumHiddenLayers {
		at := fmt.Sprintf("%slayers.%d.", decoder, i)
		linear := func(name string, out, in int) *nn.Linear { return b.Linear(at+name, out, in, true) }
		m.layers = append(m.layers, layer{
			tap:   fmt.Sprintf("hidden.%d", i+1),
			norm1: b.LayerNorm(at+"self_attn_layer_norm", width, eps),
			q:     linear("self_attn.q_proj", width, width),
			k:     linear("self_attn.k_proj", width, width),
			v:     linear("self_attn.v_proj", width, width),
			out:   linear("self_attn.out_proj", width, width),
			norm2: b.LayerNorm(at+"final_layer_norm", width, eps),
			fc1:   linear("fc1", c.FFNDim, width),
			fc2:   linear("fc2", width, c.FFNDim),
		})
	}
	m.layers[len(m.layers)-1].tap = "hidden.raw"
	m.norm = b.LayerNorm(decoder+"final_layer_norm", width, eps)
	m.head = b.Head("lm_head", c.VocabSize, width, m.embed, embedPath)
	var err error
	if m.made, err = b.Load(); err != nil {
		return nil, fmt.Errorf("opt: %w", err)
	}
	m.linears, m.parameters = b.Linears, b.Parameters
	return m, nil
}

// forward computes one layer: x [B T C] → [B T C].
func (l *layer) forward(p *gpu.Pass, heads, i int, x, starts *gpu.Tensor, cache *lm.Cache) *gpu.Tensor {
	h := l.norm1.Forward(p, x)
	q := l.q.Forward(p, h) // [B T C]
	keys, values := cache.Extend(p, i, l.k.Forward(p, h), l.v.Forward(p, h))
	x = l.out.Add(p, p.CausalAttention(q, keys, values, heads, heads, starts), x)
	return l.fc2.Add(p, l.fc1.ReLU(p, l.norm2.Forward(p, x)), x)
}

// Hidden implements lm.Model. Taps: "hidden.0", the embeddings with positions, "hidden.i", after layer i, "hidden.raw",
// after the last.
func (m *Model) Hidden(p *gpu.Pass, b *lm.Batch, cache *lm.Cache) *gpu.Tensor {
	if err := b.Validate(); err != nil {
		return p.Fail(err)
	}
	cache.Check(p, b)
	positions, starts := b.Place(p, cache, m.sizes.Positions, firstRow, paddingRow)
	x := p.Add(m.embed.Forward(p, b), p.Lookup(m.positions, positions)) // [B T C]
	p.Tap("hidden.0", x)
	x = p.Layers(len(m.layers), x, func(i int, x *gpu.Tensor) *gpu.Tensor {
		x = m.layers[i].forward(p, m.sizes.Heads, i, x, starts, cache)
		p.Tap(m.layers[i].tap, x)
		return x
	})
	cache.Advance(p, b)
	return m.norm.Forward(p, x)
}

// Architecture implements lm.Model.
func (m *Model) Architecture() string { return "opt" }

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
