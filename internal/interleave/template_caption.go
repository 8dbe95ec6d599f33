package interleave

import "strings"

func init() { Register(caption{}) }

// caption is the pretraining layout of SEED-LLaMA (arXiv 2310.01218) for image-text pairs. A share of the pairs, chosen by
// the hash of their identity, has the image first:
//
//	BOS <img> 32 codes </img> caption EOS
//	BOS caption <img> 32 codes </img> EOS
//
// Loss on everything.
type caption struct{}

func (caption) Name() string       { return "caption" }
func (caption) Kinds() []Kind      { return []Kind{Pair} }
func (caption) Overlong() Overlong { return Truncate }

func (caption) Lay(b *Builder, r *Record) ([]Piece, Drop) {
	im, text, drop := pair(r)
	if drop != "" {
		return nil, drop
	}
	l := b.layout()
	if r.chance(b.Seed, "image first") < b.ImageFirst {
		l.image(im, true)
		l.text(text, true, false, true)
	} else {
		l.text(text, false, true, true)
		l.image(im, true)
	}
	return l.end(), ""
}

// pair takes an image and its text out of a record.
func pair(r *Record) (*Element, string, Drop) {
	im, text := r.image(), strings.TrimSpace(r.text())
	switch {
	case im == nil:
		return nil, "", NoImage
	case text == "":
		return nil, "", NoText
	}
	return im, text, ""
}
