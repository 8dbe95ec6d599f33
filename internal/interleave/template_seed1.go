package interleave

func init() { Register(seed1{}) }

// seed1 is the layout of the first SEED with OPT (arXiv 2307.08041): a prefix says what to do. A share of the pairs has the
// image first:
//
//	BOS <img> 32 codes </img> "A photo of" caption EOS              loss on caption and EOS
//	BOS "Generate an image" caption <img> 32 codes </img> EOS       loss on image and EOS
type seed1 struct{}

func (seed1) Name() string       { return "seed1" }
func (seed1) Kinds() []Kind      { return []Kind{Pair} }
func (seed1) Overlong() Overlong { return Truncate }

func (seed1) Lay(b *Builder, r *Record) ([]Piece, Drop) {
	im, text, drop := pair(r)
	if drop != "" {
		return nil, drop
	}
	l := b.layout()
	if r.chance(b.Seed, "image first") < b.ImageFirst {
		l.image(im, false)
		l.textTail("A photo of", " "+text, true)
	} else {
		l.text("Generate an image "+text, false, true, false)
		l.image(im, true)
	}
	return l.end(), ""
}
