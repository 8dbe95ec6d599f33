package interleave

func init() { Register(document{}) }

// document keeps the order of a document's elements (SEED-LLaMA's MMC4 and OBELICS):
//
//	BOS element … EOS        element = <img> 32 codes </img>, or a text
//
// A share of the images (Builder.Swap; 0.5 for MMC4 as published, 0 for OBELICS) changes places with the element after it. The
// document ends after Builder.MaxImages images and the text after the last. Loss on everything.
type document struct{}

func (document) Name() string       { return "document" }
func (document) Kinds() []Kind      { return []Kind{Interleaved, Conversation, Edit} }
func (document) Overlong() Overlong { return Split }

func (document) Lay(b *Builder, r *Record) ([]Piece, Drop) {
	elements := make([]*Element, 0, len(r.Elements))
	images := 0
	for i := range r.Elements {
		e := &r.Elements[i]
		if !e.IsImage() && e.Text == "" {
			continue
		}
		if e.IsImage() {
			if b.MaxImages > 0 && images == b.MaxImages {
				break
			}
			images++
		}
		elements = append(elements, e)
		if !e.IsImage() && b.MaxImages > 0 && images == b.MaxImages {
			break
		}
	}
	if len(elements) == 0 {
		return nil, NoText
	}
	if b.Swap > 0 {
		for i := 0; i+1 < len(elements); i++ {
			if elements[i].IsImage() && unit(hash(b.Seed, "swap", r.Identity, r.Repeat<<16|i)) < b.Swap {
				elements[i], elements[i+1] = elements[i+1], elements[i]
				i++ // the image has moved on; it is not swapped again
			}
		}
	}
	l := b.layout()
	for i, e := range elements {
		if e.IsImage() {
			l.image(e, true)
			continue
		}
		l.text(e.Text, i > 0 && elements[i-1].IsImage(), i+1 < len(elements) && elements[i+1].IsImage(), true)
	}
	return l.end(), ""
}
