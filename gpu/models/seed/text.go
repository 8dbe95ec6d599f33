package seed

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"sower/gpu"
	"sower/gpu/nn"
)

// textTower is the Q-Former read as a BERT: its attention is shared with the queries, embeddings and feed-forward layers are the
// text's own, and it does not look at the image.
type textTower struct {
	words, positions *gpu.Tensor // [V H], [positions H]
	intermediate     []nn.Linear // a layer each, H → MLP
	output           []nn.Linear // MLP → H
	norms            []nn.LayerNorm
	vision, text     nn.Linear   // H → E
	unit             *gpu.Tensor // [E] of 1/√E
}

// TextParams lists the parameters that only texts need, with names of the training code's checkpoints.
func (c Config) TextParams() []Param {
	if c.Text == nil {
		return nil
	}
	var p params
	h := c.QFormerWidth
	p.add(bert+"embeddings.word_embeddings.weight", c.Text.Vocabulary, h)
	p.add(bert+"embeddings.position_embeddings.weight", c.Text.Positions, h)
	for i := range c.QFormerDepth {
		name := fmt.Sprintf("%sencoder.layer.%d.", bert, i)
		p.linear(name+"intermediate.dense", c.QFormerMLP, h)
		p.linear(name+"output.dense", h, c.QFormerMLP)
		p.norm(name+"output.LayerNorm", h)
	}
	p.linear("vision_proj", c.Text.Embed, h)
	p.linear("text_proj", c.Text.Embed, h)
	return p
}

func (m *Model) loadText(l *nn.Loader) {
	c := m.config
	if c.Text == nil {
		l.Fail(bert+"embeddings.word_embeddings.weight", fmt.Errorf("config.json names no sizes of a text tower (text)"))
		return
	}
	h, t := c.QFormerWidth, &m.texts
	t.words = l.Tensor(bert+"embeddings.word_embeddings.weight", c.Text.Vocabulary, h)
	t.positions = l.Tensor(bert+"embeddings.position_embeddings.weight", c.Text.Positions, h)
	for i := range c.QFormerDepth {
		name := fmt.Sprintf("%sencoder.layer.%d.", bert, i)
		t.intermediate = append(t.intermediate, l.Linear(name+"intermediate.dense", c.QFormerMLP, h))
		t.output = append(t.output, l.Linear(name+"output.dense", h, c.QFormerMLP))
		t.norms = append(t.norms, l.LayerNorm(name+"output.LayerNorm", h, epsQFormer))
	}
	t.vision, t.text = l.Linear("vision_proj", c.Text.Embed, h), l.Linear("text_proj", c.Text.Embed, h)
	t.unit = l.Values(UnitWeight(c.Text.Embed), c.Text.Embed)
}

// textBatch is tokens laid out by length: those of one length are adjacent, so that a group of them is [n T H] without padding.
type textBatch struct {
	ids, positions []int32
	first          []int32 // row of each text's first token, in the order of the texts
	groups         []textGroup
}

// textGroup is n texts of T tokens from row on.
type textGroup struct{ row, n, t int }

func layOut(texts [][]int32) textBatch {
	order := make([]int, len(texts))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(len(texts[a]), len(texts[b])) })
	b := textBatch{first: make([]int32, len(texts))}
	for _, i := range order {
		row, t := len(b.ids), len(texts[i])
		b.first[i] = int32(row)
		if last := len(b.groups) - 1; last >= 0 && b.groups[last].t == t {
			b.groups[last].n++
		} else {
			b.groups = append(b.groups, textGroup{row, 1, t})
		}
		for k, id := range texts[i] {
			b.ids, b.positions = append(b.ids, id), append(b.positions, int32(k))
		}
	}
	return b
}

// TextVectors is the text side of the contrast: the first token of each text behind the shared layers, projected, of unit length
// [B E]. A text is the ids of its tokens without padding, of which there are 1 to Positions.
func (m *Model) TextVectors(p *gpu.Pass, texts [][]int32) *gpu.Tensor {
	t := &m.texts
	for i, ids := range texts {
		if len(ids) < 1 || len(ids) > m.config.Text.Positions {
			return p.Fail(fmt.Errorf("seed: text %d has %d tokens, want 1 to %d", i, len(ids), m.config.Text.Positions))
		}
	}
	b := layOut(texts)
	h := p.Add(p.Lookup(t.words, p.IDs(b.ids, len(b.ids))), p.Lookup(t.positions, p.IDs(b.positions, len(b.ids)))) // [N H], N tokens
	h = m.queryNorm.Forward(p, h)
	for i := range m.layers {
		h = m.textLayer(p, i, h, b.groups)
	}
	first := p.Lookup(h, p.IDs(b.first, len(b.first))) // [B H]
	return m.unit(p, t.text.Forward(p, first))         // [B E]
}

// textLayer is a layer of the Q-Former on texts: h [N H] → [N H].
func (m *Model) textLayer(p *gpu.Pass, i int, h *gpu.Tensor, groups []textGroup) *gpu.Tensor {
	a, t := &m.layers[i].self, &m.texts
	q, k, v := a.query.Forward(p, h), a.key.Forward(p, h), a.value.Forward(p, h) // [N H]
	parts := make([]*gpu.Tensor, len(groups))
	for g, group := range groups {
		of := func(x *gpu.Tensor) *gpu.Tensor {
			return p.Reshape(p.Rows(x, group.row, group.n*group.t), group.n, group.t, m.config.QFormerWidth)
		}
		parts[g] = p.Attention(of(q), of(k), of(v), a.heads, gpu.Full)
	}
	h = a.norm.Forward(p, a.dense.Add(p, p.Stack(parts...), h))
	hidden := t.intermediate[i].GELU(p, h)
	return t.norms[i].Forward(p, t.output[i].Add(p, hidden, h))
}

// ImageVectors is the image side of the contrast: one query's causal embedding, projected, of unit length: causal [B Q H] → [B E].
func (m *Model) ImageVectors(p *gpu.Pass, causal *gpu.Tensor, query int) *gpu.Tensor {
	b, q := causal.Dim(0), causal.Dim(1)
	if query < 0 || query >= q {
		return p.Fail(fmt.Errorf("seed: query %d of %d", query, q))
	}
	rows := make([]int32, b)
	for i := range rows {
		rows[i] = int32(i*q + query)
	}
	one := p.Lookup(p.Reshape(causal, b*q, causal.Dim(2)), p.IDs(rows, b)) // [B H]
	return m.unit(p, m.texts.vision.Forward(p, one))
}

// unit divides rows by their length, as a norm by the root of the mean square with weights of 1/√E.
func (m *Model) unit(p *gpu.Pass, x *gpu.Tensor) *gpu.Tensor {
	return p.RMSNorm(x, m.texts.unit, epsUnit)
}

// UnitWeight is E times 1/√E, so that a norm by the root of the mean square is one by the length.
func UnitWeight(width int) []float32 {
	w := make([]float32, width)
	for i := range w {
		w[i] = float32(1 / math.Sqrt(float64(width)))
	}
	return w
}
