// Package seed is the SEED-2 image tokenizer at inference: an image becomes 32 codes, and codes become the image embedding
// that unCLIP Stable Diffusion decodes.
//
// Papers: "Planting a SEED of Vision in Large Language Model", arXiv 2307.08041 §3 (tokenizer), and "Making LLaMA SEE and
// Draw with SEED Tokenizer", arXiv 2310.01218 §3.1 (the version published as SEED-2). Names of parameters are those of
// the published files seed_quantizer.pt and, behind "visual_encoder.", eva_vit_g.pth.
//
// Encode: pixels → EVA-CLIP-g without its last block → LayerNorm → causal Q-Former → 32 vectors z → nearest codebook rows.
// What surprises: three values of eps; the Q-Former is post-norm where the vision transformer is pre-norm; its queries
// see each other causally, but all of the image; keys of the vision transformer have no bias.
//
// Shape letters: see package gpu.
package seed

import (
	"sync"
	"sync/atomic"

	"sower/gpu"
	"sower/gpu/nn"
)

// The values of eps in the three kinds of LayerNorm, as in the published code.
const (
	epsBlock   = 1e-6
	epsVision  = 1e-5
	epsQFormer = 1e-12
	// epsUnit keeps a vector of zeros finite when its length becomes 1.
	epsUnit = 1e-30
)

// Model is a tokenizer on a device. Its methods may be called from several goroutines at once.
type Model struct {
	config Config
	parts  Parts
	dev    *gpu.Device
	made   []*gpu.Tensor

	batch      atomic.Int64 // images of one pass at most
	recordedMu sync.Mutex
	recorded   map[int][]*recorded // idle, by the number of images

	// The encoder.
	pixelTable  *gpu.Tensor // [3 256], what byte v of a channel means
	patchEmbed  nn.Linear   // 3·patch·patch → W
	classToken  *gpu.Tensor // [1 1 W]
	positions   *gpu.Tensor // [1 P+1 W]
	blocks      []block
	lnVision    nn.LayerNorm
	queryTokens *gpu.Tensor // [1 Q H]
	queryNorm   nn.LayerNorm
	layers      []queryLayer
	task0       nn.Linear   // H → H, tanh
	task2       nn.Linear   // H → D
	codebook    *gpu.Tensor // [K D], packed
	norms       *gpu.Tensor // [K], squared lengths of the codebook's rows

	// The de-tokenizer.
	table     *gpu.Tensor // [K D], the codebook again, to look rows up
	decode0   nn.Linear   // D → D, tanh
	decode2   nn.Linear   // D → H
	image     branch
	imageDown [len(downWidths)]nn.Linear // H → 256 → 128 → 32
	imageProj nn.Linear                  // Q·32 → image_embed

	// What training and evaluation add.
	texts          textTower
	reconstruction branch
	paints         painter
}

// block is a pre-norm transformer block: x += Attention(Norm(x)); x += MLP(Norm(x)).
type block struct {
	norm1, norm2   nn.LayerNorm
	qkv, proj      nn.Linear
	qBias, vBias   *gpu.Tensor // [C] each, of a vision transformer in training, whose qkv has no bias of its own then
	zero           *gpu.Tensor // [C], in the place of the keys' bias
	fc1, fc2       nn.Linear
	attentionHeads int
}

func (b *block) forward(p *gpu.Pass, x *gpu.Tensor) *gpu.Tensor { // x [B T C] → [B T C]
	layer := b.qkv
	if b.qBias != nil {
		layer.Bias = p.Reshape(p.Stack(b.qBias, b.zero, b.vBias), 3*x.Dim(2)) // [3C]
	}
	qkv := layer.Forward(p, b.norm1.Forward(p, x))        // [B T 3C]
	q, k, v := p.Split3(qkv)                              // 3 x [B T C]
	y := p.Attention(q, k, v, b.attentionHeads, gpu.Full) // [B T C]
	x = b.proj.Add(p, y, x)                               // [B T C]
	hidden := b.fc1.GELU(p, b.norm2.Forward(p, x))        // [B T MLP]
	return b.fc2.Add(p, hidden, x)                        // [B T C]
}

// attention is the Q-Former's: Norm(Dense(Attention(h, source)) + h).
type attention struct {
	query, key, value, dense nn.Linear
	norm                     nn.LayerNorm
	heads                    int
}

func (a *attention) forward(p *gpu.Pass, h, source *gpu.Tensor, mask gpu.Mask) *gpu.Tensor { // h [B Q H], source [B T C]
	q := a.query.Forward(p, h)                     // [B Q H]
	k := a.key.Forward(p, source)                  // [B T H]
	v := a.value.Forward(p, source)                // [B T H]
	y := p.Attention(q, k, v, a.heads, mask)       // [B Q H]
	return a.norm.Forward(p, a.dense.Add(p, y, h)) // [B Q H]
}

// queryLayer is a post-norm layer of the Q-Former. Every CrossEvery-th looks at the image.
type queryLayer struct {
	self                 attention
	cross                *attention // nil in layers that do not
	intermediate, output nn.Linear
	norm                 nn.LayerNorm
}

func (l *queryLayer) forward(p *gpu.Pass, h, features *gpu.Tensor, mask gpu.Mask) *gpu.Tensor { // h [B Q H], features [B T W]
	h = l.self.forward(p, h, h, mask) // [B Q H]
	if l.cross != nil {
		h = l.cross.forward(p, h, features, gpu.Full) // [B Q H]
	}
	hidden := l.intermediate.GELU(p, h)                  // [B Q MLP]
	return l.norm.Forward(p, l.output.Add(p, hidden, h)) // [B Q H]
}

// Vision is the vision transformer and the norm behind it: rgb [B S S 3] of bytes → features [B P+1 W].
func (m *Model) Vision(p *gpu.Pass, rgb *gpu.Tensor) *gpu.Tensor {
	return m.Normalize(p, m.ViT(p, rgb))
}

// Normalize is the norm between the two: x [B P+1 W] → features [B P+1 W].
func (m *Model) Normalize(p *gpu.Pass, x *gpu.Tensor) *gpu.Tensor {
	x = m.lnVision.Forward(p, x)
	p.Tap("ln_vision", x)
	return x
}

// ViT is the vision transformer: rgb [B S S 3] of bytes → [B P+1 W].
func (m *Model) ViT(p *gpu.Pass, rgb *gpu.Tensor) *gpu.Tensor {
	p.Tap("pixels", rgb)
	x := p.Patches(rgb, m.pixelTable, m.config.PatchSize) // [B P 3·patch·patch], normalized
	x = m.patchEmbed.Forward(p, x)                        // [B P W], a convolution with stride = size
	x = p.Prepend(m.classToken, x)                        // [B P+1 W]
	x = p.Add(x, m.positions)                             // [B P+1 W]
	x = p.Layers(len(m.blocks), x, func(i int, x *gpu.Tensor) *gpu.Tensor {
		return m.blocks[i].forward(p, x)
	}) // [B P+1 W], no final norm
	p.Tap("vit", x)
	return x
}

// CausalQueries is the Q-Former: features [B P+1 W] → causal embeddings [B Q H]. Embedding i depends on the image and on
// the queries up to i.
func (m *Model) CausalQueries(p *gpu.Pass, features *gpu.Tensor) *gpu.Tensor {
	h := m.queryNorm.Forward(p, m.queryTokens) // [1 Q H]
	h = p.Repeat(h, features.Dim(0))           // [B Q H]
	mask := gpu.Causal
	if m.config.Bidirectional {
		mask = gpu.Full
	}
	h = p.Layers(len(m.layers), h, func(i int, h *gpu.Tensor) *gpu.Tensor {
		return m.layers[i].forward(p, h, features, mask)
	}) // [B Q H]
	p.Tap("causal", h)
	return h
}

// Embed gives the vectors to be quantized: rgb [B S S 3] of bytes → z [B Q D].
func (m *Model) Embed(p *gpu.Pass, rgb *gpu.Tensor) *gpu.Tensor {
	z := m.EncodeTask(p, m.CausalQueries(p, m.Vision(p, rgb))) // [B Q D]
	p.Tap("z", z)
	return z
}

// Quantize finds the nearest rows of the codebook: z [B Q D] → codes [B Q] of I32.
func (m *Model) Quantize(p *gpu.Pass, z *gpu.Tensor) *gpu.Tensor {
	codes := p.Nearest(z, m.codebook, m.norms) // [B Q]
	p.Tap("codes", codes)
	return codes
}

// ImageEmbedding is the de-tokenizer: codes [B Q] of I32 → embeddings [B image_embed].
func (m *Model) ImageEmbedding(p *gpu.Pass, codes *gpu.Tensor) *gpu.Tensor {
	y := m.DecodeTask(p, m.CodeVectors(p, codes)) // [B Q H]
	x := m.ImageHead(p, m.ImageBranch(p, y))      // [B image_embed]
	p.Tap("image_embed", x)
	return x
}
