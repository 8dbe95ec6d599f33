package text

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// wordPiece covers a word by the longest tokens from the left, those behind the first with a prefix; a word that cannot be
// covered, or is too long, is unknown. Devlin et al., "BERT", 2018.
type wordPiece struct {
	ids      map[string]int32
	prefix   string
	unk      int32
	unkToken string
	maxChars int
	longest  int // bytes of the longest token
	cache    *wordCache
}

func newWordPiece(ids map[string]int32, prefix, unk string, maxChars int) (*wordPiece, error) {
	id, ok := ids[unk]
	if !ok {
		return nil, fmt.Errorf("unk_token %q is not in the vocabulary", unk)
	}
	if maxChars < 0 {
		return nil, errors.New("max_input_chars_per_word is negative")
	}
	m := &wordPiece{ids: ids, prefix: prefix, unk: id, unkToken: unk, maxChars: maxChars, cache: newWordCache()}
	for s := range ids {
		m.longest = max(m.longest, len(s))
	}
	return m, nil
}

func (m *wordPiece) encode(dst []int32, word string) []int32 {
	if len(word) > cacheLongest {
		return m.cover(dst, word)
	}
	at := m.cache.place(word)
	if c := at.Load(); c != nil && c.word == word {
		return append(dst, c.ids...)
	}
	n := len(dst)
	dst = m.cover(dst, word)
	store(at, word, dst[n:])
	return dst
}

func (m *wordPiece) cover(dst []int32, word string) []int32 {
	if len(word) > m.maxChars && utf8.RuneCountInString(word) > m.maxChars {
		return append(dst, m.unk)
	}
	n := len(dst)
	buf := make([]byte, 0, 64)
	for at := 0; at < len(word); {
		end := min(len(word), at+m.longest)
		buf = buf[:0]
		if at > 0 {
			buf = append(buf, m.prefix...)
		}
		k := len(buf)
		buf = append(buf, word[at:end]...)
		for ; end > at; end-- {
			if end < len(word) && !utf8.RuneStart(word[end]) {
				continue
			}
			if id, ok := m.ids[string(buf[:k+end-at])]; ok {
				dst = append(dst, id)
				break
			}
		}
		if end == at {
			return append(dst[:n], m.unk)
		}
		at = end
	}
	return dst
}

func (m *wordPiece) json(names []string) (any, error) {
	return object{"type": "WordPiece", "unk_token": m.unkToken, "continuing_subword_prefix": m.prefix, "max_input_chars_per_word": m.maxChars,
		"vocab": vocabulary(names)}, nil
}
