package interleave

func init() { Register(conversation{}) }

// conversation is the instruction layout of SEED-LLaMA (Vicuna's style). A turn is the user's elements and the answer:
//
//	BOS "USER: " [<img> 32 codes </img> | text] … newline "ASSISTANT:" [text | <img> 32 codes </img>] … EOS
//
// Following turns start with a newline. One BOS and one EOS for the whole; loss on answers and EOS. Questions (up to
// "ASSISTANT:") and answers are tokenized apart, so an answer has its own leading space where the tokenizer makes one.
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
	// A question waits for what follows: "ASSISTANT:" belongs to its text, as it will when the model is asked.
	question, after := "", false
	ask := func(before bool) {
		if question != "" {
			l.text(question, after, before, false)
		}
		question = ""
	}
	afterImage := func() bool { return question == "" && len(l.pieces) > 0 && l.pieces[len(l.pieces)-1].Image }
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
		if answer {
			if prefix != "" {
				if question == "" {
					after = afterImage()
				}
				question += prefix
				ask(e.IsImage())
			}
			if e.IsImage() {
				l.image(e, true)
			} else {
				l.text(e.Text, afterImage(), followedByImage(r, i), true)
			}
			answers++
			continue
		}
		ask(e.IsImage())
		after = afterImage()
		question = prefix
		if e.IsImage() {
			ask(true)
			l.image(e, false)
		} else {
			question += e.Text
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
