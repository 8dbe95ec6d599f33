// Package interleave turns code tables and texts into training sequences of a language model: templates lay out ids and
// labels, over-long sequences are cut or dropped, rows are put in order, split and packed. Nothing is encoded again: a new
// template, context length or vocabulary is a new run of this alone.
package interleave

import (
	"hash/fnv"
	"math"

	"sower/schemas"
)

// Kind is what a record is; each kind has a template.
type Kind string

// The kinds of records. Documents have the kinds of the document table.
const (
	Pair         Kind = "pair" // an image and its caption
	Interleaved  Kind = schemas.DocumentInterleaved
	Conversation Kind = schemas.DocumentConversation
	Edit         Kind = schemas.DocumentEdit
	Text         Kind = "text"
)

// Record is one input row: a pair, a document or a text.
type Record struct {
	Kind Kind
	Key  string
	// Identity says which row this is, whatever its key: documents of one identity are all on one side of the split, and all
	// random choices about a record come from it.
	Identity string
	Elements []Element
	// Repeat is the number of times that the record came before (weights above 1).
	Repeat int
	Input  int // index of the input that it is of
}

// Element is one piece of a record: a text or an image.
type Element struct {
	Text  string
	Codes []uint16 // nil for a text
	Key   string   // the image's key
	Role  string
}

// IsImage reports whether the element is an image.
func (e *Element) IsImage() bool { return e.Codes != nil }

// image returns the first image of a record, nil if it has none.
func (r *Record) image() *Element {
	for i := range r.Elements {
		if r.Elements[i].IsImage() {
			return &r.Elements[i]
		}
	}
	return nil
}

// text returns the first text of a record that is not empty.
func (r *Record) text() string {
	for i := range r.Elements {
		if !r.Elements[i].IsImage() && r.Elements[i].Text != "" {
			return r.Elements[i].Text
		}
	}
	return ""
}

// chance is a number in [0, 1) that depends on seed, record and what it is for: every random choice is one, so nothing
// depends on order, worker or machine.
func (r *Record) chance(seed uint64, what string) float64 {
	return unit(hash(seed, what, r.Identity, r.Repeat))
}

// hash mixes a seed, a purpose, an identity and a repetition.
func hash(seed uint64, what, identity string, repeat int) uint64 {
	h := fnv.New64a()
	var b [8]byte
	for i := range b {
		b[i] = byte(seed >> (8 * i))
	}
	h.Write(b[:])
	h.Write([]byte(what))
	h.Write([]byte{0, byte(repeat), byte(repeat >> 8), byte(repeat >> 16), 0})
	for rest := uint64(repeat) >> 24; rest > 0; rest >>= 8 { // callers shift repetitions up; weights go to 1000
		h.Write([]byte{byte(rest)})
	}
	h.Write([]byte(identity))
	return mix(h.Sum64())
}

// mix is the finalizer of splitmix64: FNV alone leaves its high bits poor for short inputs.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xBF58476D1CE4E5B9
	x ^= x >> 27
	x *= 0x94D049BB133111EB
	return x ^ x>>31
}

// unit maps a hash to [0, 1).
func unit(h uint64) float64 { return float64(h>>11) / (1 << 53) }

// times says how often a record of an input with this weight is used: whole repetitions, and once more for a share of the
// records that the hash of their identity chooses.
func times(weight float64, seed uint64, identity string) int {
	whole := math.Floor(weight)
	n := int(whole)
	if unit(hash(seed, "weight", identity, 0)) < weight-whole {
		n++
	}
	return n
}
