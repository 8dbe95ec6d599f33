package seed

import (
	"fmt"

	"sower/gpu"
	"sower/gpu/nn"
)

// branch is a stack of blocks with positions of its own: pos_embed and blocks reconstruct the causal embeddings, pos_embed_image and
// blocks_image lead to the image embedding and to the painter.
type branch struct {
	positions *gpu.Tensor // [1 Q H]
	blocks    []block
}

func (m *Model) loadBranch(l *nn.Loader, suffix string) branch {
	c := m.config
	b := branch{positions: l.Tensor("pos_embed"+suffix, 1, c.Queries, c.QFormerWidth)}
	for i := range c.DecodeDepth {
		b.blocks = append(b.blocks, loadFusedBlock(l, fmt.Sprintf("blocks%s.%d.", suffix, i), c))
	}
	return b
}

// loadFusedBlock loads a block of the de-tokenizer's width.
func loadFusedBlock(l *nn.Loader, name string, c Config) block {
	b := loadBlock(l, l.Linear, name, c.QFormerWidth, c.DecodeMLP, c.DecodeHeads)
	b.qkv = l.Linear(name+"attn.qkv", 3*c.QFormerWidth, c.QFormerWidth)
	return b
}

// forward maps y [B Q H] → [B Q H], without a norm at its end.
func (b *branch) forward(p *gpu.Pass, y *gpu.Tensor) *gpu.Tensor {
	y = p.Add(y, b.positions)
	return p.Layers(len(b.blocks), y, func(i int, y *gpu.Tensor) *gpu.Tensor { return b.blocks[i].forward(p, y) })
}

// EncodeTask is the layers before the codebook: causal [B Q H] → z [B Q D].
func (m *Model) EncodeTask(p *gpu.Pass, causal *gpu.Tensor) *gpu.Tensor {
	return m.task2.Forward(p, m.task0.Tanh(p, causal))
}

// DecodeTask is the layers behind the codebook: e [B Q D] → y [B Q H].
func (m *Model) DecodeTask(p *gpu.Pass, e *gpu.Tensor) *gpu.Tensor {
	return m.decode2.Forward(p, m.decode0.Tanh(p, e))
}

// Reconstruct is the branch that gives the causal embeddings back: y [B Q H] → [B Q H].
func (m *Model) Reconstruct(p *gpu.Pass, y *gpu.Tensor) *gpu.Tensor {
	return m.reconstruction.forward(p, y)
}

// ImageBranch is the blocks of the other branch: y [B Q H] → [B Q H].
func (m *Model) ImageBranch(p *gpu.Pass, y *gpu.Tensor) *gpu.Tensor { return m.image.forward(p, y) }

// ImageHead is what follows: x [B Q H] → embeddings [B image_embed].
func (m *Model) ImageHead(p *gpu.Pass, x *gpu.Tensor) *gpu.Tensor {
	x = m.imageDown[0].ReLU(p, x)                 // [B Q 256]
	x = m.imageDown[1].ReLU(p, x)                 // [B Q 128]
	x = m.imageDown[2].Forward(p, x)              // [B Q 32]
	x = p.Reshape(x, x.Dim(0), x.Dim(1)*x.Dim(2)) // [B Q·32]
	return m.imageProj.Forward(p, x)              // [B image_embed]
}

// CodeVectors looks codes up: codes [B Q] of I32 → e [B Q D].
func (m *Model) CodeVectors(p *gpu.Pass, codes *gpu.Tensor) *gpu.Tensor {
	return p.Lookup(m.table, codes)
}
