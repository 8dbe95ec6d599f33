package interleave

func init() { Register(edit{}) }

// edit changes a picture as told:
//
//	BOS "USER: " <img> source </img> instruction newline "ASSISTANT:" <img> target </img> EOS
//
// Loss on the target and EOS.
type edit struct{}

func (edit) Name() string       { return "edit" }
func (edit) Kinds() []Kind      { return []Kind{Edit} }
func (edit) Overlong() Overlong { return DropLong }

func (edit) Lay(b *Builder, r *Record) ([]Piece, Drop) {
	var source, target *Element
	instruction := ""
	for i := range r.Elements {
		e := &r.Elements[i]
		switch {
		case e.IsImage() && e.Role == "source":
			source = e
		case e.IsImage() && e.Role == "target":
			target = e
		case !e.IsImage() && e.Text != "":
			instruction = e.Text
		}
	}
	switch {
	case source == nil || target == nil:
		return nil, NotComplete
	case instruction == "":
		return nil, NoText
	}
	l := b.layout()
	l.text("USER: ", false, true, false)
	l.image(source, false)
	l.text(instruction+"\nASSISTANT:", true, true, false)
	l.image(target, true)
	return l.end(), ""
}
