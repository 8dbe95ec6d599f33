package lm

import (
	"errors"
	"fmt"

	"sower/gpu"
)

// Batch is B rows of T tokens.
type Batch struct {
	B, T int
	IDs  []int32 // [B T]
	// Positions [B T] number the tokens of a document from 0 on; -1 marks padding. nil means 0, 1, 2, … along each row,
	// continuing those of a cache.
	Positions []int32
	// Starts [B T] are the first columns that tokens see, counted from the first column of a cache: that of their document.
	// A token sees columns Starts to its own. nil means 0.
	Starts []int32
	// Vectors [N C] take the place of the word embeddings of tokens At, which are counted over all rows: b·T + t. Those tokens
	// still have ids, of no consequence.
	Vectors *gpu.Tensor
	At      []int32
}

// Numbering says how padding counts in positions.
type Numbering bool

// Tokens counts real tokens, as OPT always does and as generation does; Columns counts padding, too, as a LLaMA without
// position_ids does, whose rotation makes it the same.
const (
	Tokens  Numbering = false
	Columns Numbering = true
)

// Masked makes a batch of rows padded on the left or on the right: mask [B T] is 1 at tokens and 0 at padding. What comes
// out at padding is not defined. Padding between tokens is an error.
func Masked(ids, mask []int32, B, T int, n Numbering) (*Batch, error) {
	b := &Batch{B: B, T: T, IDs: ids, Positions: make([]int32, B*T), Starts: make([]int32, B*T)}
	if len(mask) != B*T {
		return nil, fmt.Errorf("lm: a mask of %d elements, want %d x %d", len(mask), B, T)
	}
	for r := range B {
		first, last, count := T, -1, int32(0)
		for t, m := range mask[r*T : (r+1)*T] {
			b.Positions[r*T+t] = int32(t)
			if m != 0 {
				first, last = min(first, t), t
				count++
			}
			if n == Tokens {
				b.Positions[r*T+t] = count - 1
				if m == 0 {
					b.Positions[r*T+t] = -1
				}
			}
		}
		if int(count) != last-first+1 && count > 0 {
			return nil, fmt.Errorf("lm: row %d of the mask has padding between its tokens, want it on the left or on the right", r)
		}
		for t := range T {
			b.Starts[r*T+t] = int32(first)
		}
	}
	return b, b.Validate()
}

// Packed makes a batch of rows that hold several documents one after the other: lengths[r] are those of row r. What is left of
// a row is padding, which sees nothing. Positions begin anew with each document.
func Packed(ids []int32, lengths [][]int, T int) (*Batch, error) {
	B := len(lengths)
	b := &Batch{B: B, T: T, IDs: ids, Positions: make([]int32, B*T), Starts: make([]int32, B*T)}
	for r, row := range lengths {
		at := 0
		for _, n := range row {
			if n < 0 || at+n > T {
				return nil, fmt.Errorf("lm: documents of lengths %v in a row of %d tokens", row, T)
			}
			for t := at; t < at+n; t++ {
				b.Positions[r*T+t], b.Starts[r*T+t] = int32(t-at), int32(at)
			}
			at += n
		}
		for t := at; t < T; t++ {
			b.Positions[r*T+t], b.Starts[r*T+t] = -1, int32(T)
		}
	}
	return b, b.Validate()
}

// Validate says what is wrong with the lengths of a batch.
func (b *Batch) Validate() error {
	n := b.B * b.T
	switch {
	case b.B < 1 || b.T < 1:
		return fmt.Errorf("lm: a batch of %d rows of %d tokens", b.B, b.T)
	case len(b.IDs) != n:
		return fmt.Errorf("lm: %d ids, want %d x %d", len(b.IDs), b.B, b.T)
	case b.Positions != nil && len(b.Positions) != n || b.Starts != nil && len(b.Starts) != n:
		return fmt.Errorf("lm: %d positions and %d starts, want %d of either, or none", len(b.Positions), len(b.Starts), n)
	case b.Vectors == nil && len(b.At) > 0 || b.Vectors != nil && b.Vectors.Dim(0) != len(b.At):
		return errors.New("lm: want as many places as vectors")
	}
	return nil
}

// Place brings what attention needs into a pass: the position of each token, I32 [B T], and the first columns that tokens see,
// nil for all. limit bounds positions; those of padding become padding, a row of a table by the model's choice.
func (b *Batch) Place(p *gpu.Pass, cache *Cache, limit, shift int, padding int32) (positions, starts *gpu.Tensor) {
	past := 0
	if cache != nil {
		past = cache.Len()
	}
	places := make([]int32, b.B*b.T)
	for i := range places {
		at := int32(past + i%b.T)
		if b.Positions != nil {
			at = b.Positions[i]
		}
		switch {
		case int(at) >= limit:
			p.Fail(fmt.Errorf("lm: position %d in row %d, want less than %d", at, i/b.T, limit))
		case at < 0:
			places[i] = padding
		default:
			places[i] = at + int32(shift)
		}
	}
	if b.Starts != nil {
		starts = p.IDs(b.Starts, b.B, b.T)
	}
	return p.IDs(places, b.B, b.T), starts
}

// Targets turns labels [B T] of tokens into targets of the tokens before them, and counts those that are not
// gpu.Ignored. A token is no target of one that it does not see: the first of a document never is.
func (b *Batch) Targets(labels []int32) (targets []int32, count int, err error) {
	if len(labels) != b.B*b.T {
		return nil, 0, fmt.Errorf("lm: %d labels, want %d x %d", len(labels), b.B, b.T)
	}
	targets = make([]int32, len(labels))
	for i := range targets {
		targets[i] = gpu.Ignored
		if t := i % b.T; t+1 < b.T && labels[i+1] != gpu.Ignored && (b.Starts == nil || int(b.Starts[i+1]) <= t) {
			targets[i] = labels[i+1]
			count++
		}
	}
	return targets, count, nil
}
