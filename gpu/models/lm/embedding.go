package lm

import (
	"slices"

	"sower/gpu"
)

// Embedding is a table of word embeddings, some of whose rows may be trained. It has the form of a head, as a tied one is both.
type Embedding struct {
	head gpu.Head
	row  map[int32]int32 // of trained tokens, in head.Rows
}

func newEmbedding(h gpu.Head) *Embedding {
	e := &Embedding{head: h, row: map[int32]int32{}}
	for i, id := range h.IDs {
		e.row[id] = int32(i)
	}
	return e
}

// Forward looks the tokens of a batch up and puts its vectors in their places: [B T C].
func (e *Embedding) Forward(p *gpu.Pass, b *Batch) *gpu.Tensor {
	ids, base := b.IDs, int32(e.head.Weight.Dim(0))
	var to, from []int32
	for i, id := range b.IDs {
		row, trained := e.row[id]
		if !trained {
			continue
		}
		to, from = append(to, int32(i)), append(from, row)
		if id >= base { // beyond the table: any row, which is replaced
			if &ids[0] == &b.IDs[0] {
				ids = slices.Clone(ids)
			}
			ids[i] = 0
		}
	}
	x := p.Lookup(e.head.Weight, p.IDs(ids, b.B, b.T))
	if len(to) > 0 {
		x = p.ReplaceRows(x, e.head.Rows, to, from)
	}
	if len(b.At) > 0 {
		from := make([]int32, len(b.At))
		for i := range from {
			from[i] = int32(i)
		}
		x = p.ReplaceRows(x, b.Vectors, b.At, from)
	}
	return x
}
