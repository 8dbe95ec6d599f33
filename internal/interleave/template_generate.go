package interleave

func init() { Register(generate{}) }

// generate asks for an image and is answered by it. The request is one of a few, chosen by the hash of the pair's identity:
//
//	BOS "USER: " request ": " caption newline "ASSISTANT:" <img> 32 codes </img> EOS
//
// Loss on image and EOS.
type generate struct{}

func (generate) Name() string       { return "generate" }
func (generate) Kinds() []Kind      { return []Kind{Pair} }
func (generate) Overlong() Overlong { return DropLong }

// requests are the ways to ask.
var requests = []string{
	"Draw this",
	"Make a picture of the following",
	"Show me an image of",
	"Paint what I describe",
	"Create an image that fits these words",
	"What would this look like",
	"Picture this for me",
	"Produce an illustration of",
}

func (generate) Lay(b *Builder, r *Record) ([]Piece, Drop) {
	im, text, drop := pair(r)
	if drop != "" {
		return nil, drop
	}
	request := requests[int(r.chance(b.Seed, "request")*float64(len(requests)))]
	l := b.layout()
	l.text("USER: "+request+": "+text+"\nASSISTANT:", false, true, false)
	l.image(im, true)
	return l.end(), ""
}
