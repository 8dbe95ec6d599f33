package generate

import (
	"fmt"
	"strings"

	"sower/internal/interleave"
)

// DefaultTemplate lays prompts out where the adapter's manifest does not say how its corpus was.
const DefaultTemplate = "caption"

// Templates are the layouts that prompts for images and captions can have.
var Templates = []string{"caption", "seed1", "generate", "conversation"}

// Template is the layout of pairs in the corpus that the adapter was trained on.
func (g *Generator) Template() string {
	if name := g.option("template_pair"); name != "" {
		return name
	}
	return DefaultTemplate
}

// TextPrompt is a text as it is, behind what begins a text.
func (g *Generator) TextPrompt(s string) []int32 {
	ids := append([]int32(nil), g.prefix...)
	if g.words != nil {
		return g.words.Text(ids, s, false, false)
	}
	return g.Tokenizer.Encode(ids, s)
}

// ImagePrompt asks for an image of a text: the template's layout up to the image's first code.
//
//	caption       BOS text <img>
//	seed1         BOS "Generate an image " text <img>
//	generate      BOS "USER: Draw this: " text newline "ASSISTANT:" <img>     one of the requests that it was trained on
//	conversation  BOS "USER: " text newline "ASSISTANT:" <img>
func (g *Generator) ImagePrompt(template, s string) ([]int32, error) {
	if g.words == nil {
		return nil, g.noImages()
	}
	if strings.TrimSpace(s) == "" && template == "caption" { // an image of nothing in particular
		return append(append([]int32(nil), g.prefix...), g.Vocabulary.Begin), nil
	}
	image := interleave.Element{Codes: make([]uint16, g.Vocabulary.ImageLength-2), Role: "assistant"}
	pieces, err := g.lay(template, false, []interleave.Element{{Text: strings.TrimSpace(s), Role: "user"}, image})
	if err != nil {
		return nil, err
	}
	var ids []int32
	for _, p := range pieces {
		if p.Image {
			return append(ids, g.Vocabulary.Begin), nil
		}
		ids = append(ids, p.IDs...)
	}
	return nil, fmt.Errorf("generate: template %s has no image", template)
}

// CaptionPrompt asks for the text of an image: the template's layout up to the text. A question goes behind the image.
//
//	caption       BOS <img> codes </img> question
//	seed1         BOS <img> codes </img> "A photo of" question
//	conversation  BOS "USER: " <img> codes </img> question newline "ASSISTANT:"
func (g *Generator) CaptionPrompt(template string, codes []uint16, question string) ([]int32, error) {
	if g.words == nil {
		return nil, g.noImages()
	}
	if want := int(g.Vocabulary.ImageLength) - 2; len(codes) != want {
		return nil, fmt.Errorf("generate: an image of %d codes, but the adapter was trained with %d", len(codes), want)
	}
	for _, c := range codes {
		if int32(c) >= g.Vocabulary.K {
			return nil, fmt.Errorf("generate: code %d, but the adapter was trained with %d: give the --model of its corpus", c, g.Vocabulary.K)
		}
	}
	elements := []interleave.Element{{Codes: codes, Role: "user"}}
	question = strings.TrimSpace(question)
	if template == "conversation" {
		if question != "" {
			elements = append(elements, interleave.Element{Text: question, Role: "user"})
		}
		question = ""
	}
	elements = append(elements, interleave.Element{Text: "x", Role: "assistant"}) // in the answer's place
	pieces, err := g.lay(template, true, elements)
	if err != nil {
		return nil, err
	}
	last := len(pieces) - 1
	for last >= 0 && (pieces[last].Image || pieces[last].Mark) {
		last--
	}
	var ids []int32
	afterImage := true
	for i, p := range pieces {
		if i == last {
			break
		}
		ids = append(ids, p.IDs...)
		afterImage = p.Image
	}
	if last < 0 || !containsImage(pieces[:last]) {
		return nil, fmt.Errorf("generate: template %s has no text behind an image: give --template caption, seed1 or conversation", template)
	}
	if question != "" {
		if !afterImage {
			question = " " + question
		}
		ids = g.words.Text(ids, question, afterImage, false)
	}
	return ids, nil
}

func containsImage(pieces []interleave.Piece) bool {
	for _, p := range pieces {
		if p.Image {
			return true
		}
	}
	return false
}

// lay lays a record out by a template of package interleave, without its EOS.
func (g *Generator) lay(template string, imageFirst bool, elements []interleave.Element) ([]interleave.Piece, error) {
	t, err := interleave.Lookup(template)
	if err != nil {
		return nil, err
	}
	b := &interleave.Builder{Words: g.words, BOS: len(g.prefix) > 0}
	if imageFirst {
		b.ImageFirst = 1
	}
	kind := interleave.Pair
	if template == "conversation" {
		kind = interleave.Conversation
	}
	pieces, drop := t.Lay(b, &interleave.Record{Kind: kind, Elements: elements})
	if drop != "" {
		return nil, fmt.Errorf("generate: template %s cannot ask for this (%s): give a text in --prompt, or another --template (have: %s)", template, drop, strings.Join(Templates, ", "))
	}
	return pieces, nil
}
