package interleave

func init() { Register(plainText{}) }

// plainText is a text alone:
//
//	BOS text EOS
//
// Loss on everything.
type plainText struct{}

func (plainText) Name() string       { return "text" }
func (plainText) Kinds() []Kind      { return []Kind{Text} }
func (plainText) Overlong() Overlong { return Split }

func (plainText) Lay(b *Builder, r *Record) ([]Piece, Drop) {
	l := b.layout()
	before := len(l.pieces)
	l.text(r.text(), false, false, true)
	if len(l.pieces) == before {
		return nil, NoText
	}
	return l.end(), ""
}
