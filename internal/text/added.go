package text

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"
)

// addedToken is a token that is looked for before everything else. Fields and their spelling are those of tokenizer.json.
type addedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

// splitter finds added tokens: leftmost first, longest first among those that begin there.
type splitter struct {
	tokens []addedToken
	find   *trie
	first  [256]bool // bytes that begin a token
	one    int       // the only such byte, or -1
	space  func(rune) bool
}

// newSplitter looks for texts[i], which is tokens[i].Content or what normalization makes of it. space is what the strip
// flags remove.
func newSplitter(tokens []addedToken, texts []string, space func(rune) bool) *splitter {
	s := &splitter{tokens: tokens, find: newTrie(), one: -1, space: space}
	for i, text := range texts {
		s.find.put(text, int32(i))
		s.first[text[0]] = true
	}
	n := 0
	for b, is := range s.first {
		if is {
			n++
			s.one = b
		}
	}
	if n != 1 {
		s.one = -1
	}
	return s
}

type match struct {
	start, end int // with the white space that the token takes along
	resume     int // where the search goes on: white space that one token takes may begin another
	id         int32
}

// next finds the first token of text at or after search. What lies before from belongs to the token before.
func (s *splitter) next(text string, from, search int) (match, bool) {
	if len(s.tokens) == 0 {
		return match{}, false
	}
	for at := search; at < len(text); {
		if s.one >= 0 {
			i := strings.IndexByte(text[at:], byte(s.one))
			if i < 0 {
				break
			}
			at += i
		} else if !s.first[text[at]] {
			at++
			continue
		}
		k, n := s.find.longest(text[at:])
		if k < 0 {
			at++
			continue
		}
		t := &s.tokens[k]
		m := match{at, at + n, at + n, t.ID}
		if t.SingleWord && !aloneIn(text, m.start, m.end) {
			at = m.end // the search goes on behind a token that does not count
			continue
		}
		if t.LStrip {
			m.start = max(from, len(strings.TrimRightFunc(text[:at], s.space)))
		}
		if t.RStrip {
			m.end = len(text) - len(strings.TrimLeftFunc(text[m.end:], s.space))
		}
		return m, true
	}
	return match{}, false
}

func aloneIn(text string, start, end int) bool {
	before, n := utf8.DecodeLastRuneInString(text[:start])
	after, k := utf8.DecodeRuneInString(text[end:])
	return (n == 0 || !wordChar(before)) && (k == 0 || !wordChar(after))
}

// sortedByID returns the tokens in the order of their ids.
func sortedByID(tokens []addedToken) []addedToken {
	tokens = slices.Clone(tokens)
	slices.SortFunc(tokens, func(a, b addedToken) int { return cmp.Compare(a.ID, b.ID) })
	return tokens
}
