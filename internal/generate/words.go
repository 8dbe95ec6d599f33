package generate

import "strings"

// Words turns a row's tokens into text as they come.
type Words struct {
	decode func([]int32) string
	prompt string // as decoded, which the text is cut off from; "" cuts nothing
	before []int32
	ids    []int32
	stops  []string
	text   string
	ended  bool
	shown  int
}

// NewWords begins the text of a row. With a prompt, tokens are decoded behind it, for a tokenizer may drop the space before
// what begins a text; without, they begin one. stops are texts that end the row and are no part of it.
func NewWords(decode func([]int32) string, prompt []int32, stops []string) *Words {
	w := &Words{decode: decode, before: prompt, stops: stops}
	if len(prompt) > 0 {
		w.prompt = decode(prompt)
	}
	return w
}

// Add takes a token and says whether a stop has come.
func (w *Words) Add(id int32) (stop bool) {
	if w.ended {
		return true
	}
	w.ids = append(w.ids, id)
	w.text = w.decoded()
	at := -1
	for _, s := range w.stops {
		if i := strings.Index(w.text, s); i >= 0 && (at < 0 || i < at) {
			at = i
		}
	}
	if at >= 0 {
		w.text, w.ended = w.text[:at], true
	}
	return w.ended
}

func (w *Words) decoded() string {
	if text, ok := strings.CutPrefix(w.decode(append(w.before[:len(w.before):len(w.before)], w.ids...)), w.prompt); ok {
		return text
	}
	return w.decode(w.ids) // a decoder that changes its mind about the prompt's end
}

// Text is all of the text so far.
func (w *Words) Text() string { return w.text }

// Fresh returns what may be shown of the text and was not returned before: no character that is still incomplete and nothing
// that may turn out to be the beginning of a stop, unless the row has ended.
func (w *Words) Fresh(ended bool) string {
	to := len(w.text)
	if !ended && !w.ended {
		to = len(strings.TrimRight(w.text, "\ufffd"))
		for _, s := range w.stops {
			for n := min(len(s)-1, to); n > 0; n-- {
				if strings.HasSuffix(w.text[:to], s[:n]) {
					to -= n
					break
				}
			}
		}
	}
	if to <= w.shown {
		return ""
	}
	fresh := w.text[w.shown:to]
	w.shown = to
	return fresh
}
