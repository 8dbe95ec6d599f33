package interleave

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Template lays out a record as pieces of ids. A template is a file of this package; init registers it.
type Template interface {
	// Name is what --template takes.
	Name() string
	// Kinds are the kinds of records that it can lay out.
	Kinds() []Kind
	// Overlong is what becomes of sequences that do not fit the context, where the user does not say.
	Overlong() Overlong
	// Lay lays out one record. It returns no pieces and a reason for a record that it cannot use.
	Lay(b *Builder, r *Record) (pieces []Piece, reason Drop)
}

// Drop says why a record gave no sequence.
type Drop string

// The reasons for dropping records.
const (
	NotSampled  Drop = "not_sampled"  // weight below 1, or the fraction of one above
	NoText      Drop = "no_text"      // the template needs a text and there is none
	NoImage     Drop = "no_image"     // the template needs an image and there is none
	TooLong     Drop = "too_long"     // does not fit the context and may not be cut
	NotComplete Drop = "not_complete" // a conversation without an answer, an edit without its three parts
	BadText     Drop = "bad_text"     // an input line that is no text
)

// Drops lists every Drop in the order of reports.
var Drops = []Drop{NotSampled, NoText, NoImage, TooLong, NotComplete, BadText}

// Piece is a run of ids that is never reordered: a text, a whole image block, a BOS or an EOS.
type Piece struct {
	IDs   []int32
	Image bool   // an image block: never cut
	Loss  bool   // ids are predicted
	Key   string // of an image
	Mark  bool   // BOS or EOS: nothing to learn from on its own
}

var templates = map[string]Template{}

// Register adds a template; a name taken twice panics.
func Register(t Template) {
	if templates[t.Name()] != nil {
		panic(fmt.Sprintf("interleave: two templates are named %q", t.Name()))
	}
	templates[t.Name()] = t
}

// Lookup finds a template by name.
func Lookup(name string) (Template, error) {
	if t := templates[name]; t != nil {
		return t, nil
	}
	return nil, fmt.Errorf("interleave: no template %q (have: %s)", name, strings.Join(Names(), ", "))
}

// Names lists the templates.
func Names() []string {
	var out []string
	for n := range templates {
		out = append(out, n)
	}
	sort.Strings(out)
	return out
}

// defaults are the templates of kinds that the user chose none for.
var defaults = map[Kind]string{Pair: "caption", Interleaved: "document", Conversation: "conversation", Edit: "edit", Text: "text"}

// Choose maps every kind to a template: the named ones for the kinds they take, the defaults for the rest.
func Choose(names []string) (map[Kind]Template, error) {
	out := map[Kind]Template{}
	for kind, name := range defaults {
		t, err := Lookup(name)
		if err != nil {
			return nil, err
		}
		out[kind] = t
	}
	by := map[Kind]string{}
	for _, name := range names {
		t, err := Lookup(name)
		if err != nil {
			return nil, err
		}
		for _, kind := range t.Kinds() {
			if by[kind] != "" && by[kind] != name {
				return nil, fmt.Errorf("interleave: --template %s and %s are both for records of kind %q", by[kind], name, kind)
			}
			by[kind] = name
			out[kind] = t
		}
	}
	return out, nil
}

// Builder is what templates lay out with.
type Builder struct {
	Words Words
	// ImageFirst is the share of records in which the image comes before the text.
	ImageFirst float64
	// Swap is the share of images of a document that change places with the element after them.
	Swap float64
	// MaxImages ends a document after that many images and the text after the last; 0 is no limit.
	MaxImages int
	Seed      uint64
	BOS, EOS  bool
}

// Words is what templates need of a tokenizer with image words.
type Words interface {
	// Text appends the ids of a text that stands after and before an image, or not: tokenizers treat the white space there.
	Text(dst []int32, s string, afterImage, beforeImage bool) []int32
	// Image appends the block of an image: <img>, its codes, </img>.
	Image(dst []int32, codes []uint16) []int32
	// BOS and EOS are -1 where the tokenizer has none.
	BOS() int32
	EOS() int32
}

// layout collects the pieces of one record.
type layout struct {
	b      *Builder
	pieces []Piece
}

func (b *Builder) layout() *layout {
	l := &layout{b: b}
	if id := b.Words.BOS(); b.BOS && id >= 0 {
		l.pieces = append(l.pieces, Piece{IDs: []int32{id}, Loss: true, Mark: true}) // its label is masked: it is the first
	}
	return l
}

// text adds a text; after and before say whether an image is its neighbour.
func (l *layout) text(s string, after, before, loss bool) {
	if ids := l.b.Words.Text(nil, s, after, before); len(ids) > 0 {
		l.pieces = append(l.pieces, Piece{IDs: ids, Loss: loss})
	}
}

// textTail adds a text of two parts, with loss on the second alone. They are tokenized together, as a model's user will:
// apart, SentencePiece would put a space of its own before the second. Where a token spans the seam they are taken apart all
// the same, for the loss must begin at the seam.
func (l *layout) textTail(head, tail string, after bool) {
	from := l.b.Words.Text(nil, head, after, false)
	whole := l.b.Words.Text(nil, head+tail, after, false)
	if len(whole) < len(from) || !slices.Equal(whole[:len(from)], from) {
		l.text(head, after, false, false)
		l.text(tail, false, false, true)
		return
	}
	for _, p := range []Piece{{IDs: from}, {IDs: whole[len(from):], Loss: true}} {
		if len(p.IDs) > 0 {
			l.pieces = append(l.pieces, p)
		}
	}
}

func (l *layout) image(e *Element, loss bool) {
	l.pieces = append(l.pieces, Piece{IDs: l.b.Words.Image(nil, e.Codes), Image: true, Loss: loss, Key: e.Key})
}

// end adds EOS and returns the pieces.
func (l *layout) end() []Piece {
	if id := l.b.Words.EOS(); l.b.EOS && id >= 0 {
		l.pieces = append(l.pieces, Piece{IDs: []int32{id}, Loss: true, Mark: true})
	}
	return l.pieces
}
