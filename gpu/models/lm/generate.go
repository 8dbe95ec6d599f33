package lm

import (
	"errors"
	"fmt"
	"slices"

	"sower/gpu"
)

// GenerateOptions are the settings of Generate.
type GenerateOptions struct {
	// New is how many tokens to add at most.
	New int
	// Stop are the tokens that end a row; the one that did is part of the output.
	Stop []int32
	// Choose picks a row's next token by its scores [V], which it may change. nil is Greedy.
	Choose func(row int, scores []float32) int32
	// NoCache computes every step from the first token on, for tests.
	NoCache bool
}

// Greedy is the token of the highest score, the lowest id on ties.
func Greedy(_ int, scores []float32) int32 {
	best := 0
	for i, v := range scores {
		if v > scores[best] {
			best = i
		}
	}
	return int32(best)
}

// Generate continues prompts, each a row of its own, and returns what was added to each. Rows of different lengths are padded on
// the left, which does not show in the output.
func Generate(m Model, prompts [][]int32, o GenerateOptions) ([][]int32, error) {
	if o.Choose == nil {
		o.Choose = Greedy
	}
	rows, longest := len(prompts), 0
	for i, ids := range prompts {
		if len(ids) == 0 {
			return nil, fmt.Errorf("lm: generate: prompt %d is empty; begin with the token that begins a text", i)
		}
		longest = max(longest, len(ids))
	}
	if rows == 0 || o.New < 1 {
		return nil, errors.New("lm: generate: want prompts and at least one new token")
	}
	g := &generator{m: m, o: o, ids: make([][]int32, rows), start: make([]int, rows), ended: make([]bool, rows)}
	for i, ids := range prompts {
		g.start[i] = longest - len(ids)
		g.ids[i] = append(make([]int32, g.start[i], longest+o.New), ids...)
	}
	if !o.NoCache {
		var err error
		if g.cache, err = NewCache(m, rows, longest+o.New); err != nil {
			return nil, err
		}
		defer g.cache.Close()
	}
	out := make([][]int32, rows)
	for range o.New {
		if err := g.step(out); err != nil {
			return nil, fmt.Errorf("lm: generate: %w", err)
		}
		if !slices.Contains(g.ended, false) {
			break
		}
	}
	return out, nil
}

// generator is rows of equal length, padding on the left included.
type generator struct {
	m     Model
	o     GenerateOptions
	ids   [][]int32
	start []int
	ended []bool
	cache *Cache // or nil
}

// step adds a token to each row.
func (g *generator) step(out [][]int32) error {
	from, n, rows := 0, len(g.ids[0]), len(g.ids)
	if g.cache != nil {
		from = g.cache.Len()
	}
	b := &Batch{B: rows, T: n - from}
	last := make([]int32, rows)
	for r, ids := range g.ids {
		b.IDs = append(b.IDs, ids[from:]...)
		for t := from; t < n; t++ {
			b.Positions = append(b.Positions, int32(max(t-g.start[r], -1)))
			b.Starts = append(b.Starts, int32(g.start[r]))
		}
		last[r] = int32((r+1)*b.T - 1)
	}
	p := g.m.Device().NewPass(gpu.Inference)
	h := g.m.Hidden(p, b, g.cache)
	if b.T > 1 {
		h = p.Lookup(p.Reshape(h, rows*b.T, h.Dim(-1)), p.IDs(last, rows))
	}
	logits := p.Logits(h, g.m.Head())
	scores := make([]float32, logits.Len())
	p.ReadF32(logits, scores)
	if err := p.Close(); err != nil {
		return err
	}
	v := len(scores) / rows
	for r := range rows {
		next := int32(0) // of a row that has ended, seen by no other
		if !g.ended[r] {
			next = g.o.Choose(r, scores[r*v:(r+1)*v])
			out[r] = append(out[r], next)
			g.ended[r] = slices.Contains(g.o.Stop, next)
		}
		g.ids[r] = append(g.ids[r], next)
	}
	return nil
}
