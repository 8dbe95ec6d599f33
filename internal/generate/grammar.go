package generate

import (
	"math"
	"slices"

	"sower/schemas"
)

// Mode says what a row generates.
type Mode int

// The modes. Text holds no image; Mixed may hold whole images; Image is one image, behind a prompt that ends in <img>; Free is whatever the
// scores say, broken images as well, to see what a model has learned of their form.
const (
	Text Mode = iota
	Mixed
	Image
	Free
)

// Finish says why a row ended.
type Finish string

// The reasons: the token that ends a text, a text of --stop, an image that is complete, and the limit of tokens.
const (
	AtEOS    Finish = "eos"
	AtStop   Finish = "stop"
	AtImage  Finish = "image"
	AtLength Finish = "length"
)

// grammar knows which tokens may follow in a row.
type grammar struct {
	mode  Mode
	v     *schemas.Vocabulary // nil: of a model without images, where any token may follow
	eos   []int32
	left  int // tokens that may still come
	codes int // of the image that is open, -1 outside
}

func newGrammar(mode Mode, v *schemas.Vocabulary, eos []int32, tokens int) *grammar {
	g := &grammar{mode: mode, v: v, eos: eos, left: tokens, codes: -1}
	if mode == Image {
		g.codes, g.left = 0, int(v.ImageLength)-1 // <img> is part of the prompt
	}
	return g
}

// perImage is the number of codes of an image.
func (g *grammar) perImage() int { return int(g.v.ImageLength) - 2 }

// mask gives -Inf to the scores of tokens that may not follow.
func (g *grammar) mask(scores []float32) {
	if g.v == nil || g.mode == Free {
		return
	}
	n := int32(len(scores))
	ban := func(from, to int32) {
		for i := max(from, 0); i < min(to, n); i++ {
			scores[i] = float32(math.Inf(-1))
		}
	}
	only := func(from, to int32) {
		ban(0, from)
		ban(to, n)
	}
	switch {
	case g.codes >= 0 && g.codes < g.perImage():
		only(g.v.Offset, g.v.Offset+g.v.K)
	case g.codes >= 0:
		only(g.v.End, g.v.End+1)
	default:
		ban(g.v.Offset, g.v.Offset+g.v.K)
		ban(g.v.End, g.v.End+1)
		if g.mode != Mixed || g.left < int(g.v.ImageLength) {
			ban(g.v.Begin, g.v.Begin+1)
		}
	}
}

// accept takes the next token and says whether the row ends with it, and why.
func (g *grammar) accept(id int32) Finish {
	g.left--
	switch {
	case g.mode == Free:
		if slices.Contains(g.eos, id) {
			return AtEOS
		}
	case g.v != nil && g.codes >= 0 && id == g.v.End:
		g.codes = -1
		if g.mode == Image {
			return AtImage
		}
	case g.v != nil && g.codes >= 0:
		g.codes++
	case g.v != nil && id == g.v.Begin:
		g.codes = 0
	case slices.Contains(g.eos, id):
		return AtEOS
	}
	if g.left <= 0 {
		return AtLength
	}
	return ""
}
