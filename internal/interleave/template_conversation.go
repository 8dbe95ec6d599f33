package interleave

func init() { Register(conversation{}) }

// conversation is the instruction layout of SEED-LLaMA (Vicuna's style). A turn is the user's elements and the answer:
//
//	BOS "USER: " [<img> 32 codes </img> | text] … newline "ASSISTANT:" [text | <img> 32 codes </img>] … EOS
//
// Following turns start with a newline. One BOS and one EOS for the whole; loss on answers and EOS. Questions and answers are
// tokenized apart, so an answer has its own leading space where the tokenizer makes one.
type conversation struct{}

func (conversation) Name() string       { return "conversation" }
func (conversation) Kinds() []Kind      { return []Kind{Conversation} }
func (conversation) Overlong() Overlong { return DropLong }

// Roles of a conversation's elements.
const (
	roleUser      = "user"
	roleAssistant = "assistant"
)

func (conversation) Lay(b *Builder, r *Record) ([]Piece, Drop) {
	l := b.layout()
	answers := 0
	speaker := ""
	for i := range r.Elements {
		e := &r.Elements[i]
		if !e.IsImage() && e.Text == "" {
			continue
		}
		answer := e.Role == roleAssistant
		prefix := ""
		if e.Role != speaker {
			switch {
			case answer && speaker == "": // an answer to nothing
				return nil, NotComplete
			case answer:
				prefix = "\nASSISTANT:"
			case speaker == "":
				prefix = "USER: "
			default:
				prefix = "\nUSER: "
			}
			speaker = e.Role
		}
		after := len(l.pieces) > 0 && l.pieces[len(l.pieces)-1].Image
		if answer {
			if prefix != "" {
				l.text(prefix, after, e.IsImage(), false)
				after = false
			}
			if e.IsImage() {
				l.image(e, true)
			} else {
				l.text(e.Text, after, followedByImage(r, i), true)
			}
			answers++
			continue
		}
		if e.IsImage() {
			if prefix != "" {
				l.text(prefix, after, true, false)
			}
			l.image(e, false)
		} else {
			l.text(prefix+e.Text, after, followedByImage(r, i), false)
		}
	}
	if answers == 0 || speaker != roleAssistant {
		return nil, NotComplete
	}
	return l.end(), ""
}

// followedByImage reports whether the element after i is an image of the same speaker, with no words in between.
func followedByImage(r *Record, i int) bool {
	return i+1 < len(r.Elements) && r.Elements[i+1].IsImage() && r.Elements[i+1].Role == r.Elements[i].Role
}
