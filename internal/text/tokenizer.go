package text

import (
	"strings"
	"unicode/utf8"
)

// Tokenizer maps text to ids. Implementations are safe for concurrent use.
type Tokenizer interface {
	// Encode appends the ids of s, without BOS and EOS, to dst. It takes any string: where s is not UTF-8, U+FFFD stands
	// for each cut-off or wrong sequence (as Python's errors="replace"), except in "bytes", which keeps every byte.
	Encode(dst []int32, s string) []int32
	// Decode gives text for eyes: not every tokenizer can give back the text it took. Unknown ids give nothing.
	Decode(ids []int32) string
	Vocab() Vocab
	// ID finds a token by its exact text as the vocabulary writes it, added tokens included.
	ID(token string) (int32, bool)
	// Token is the inverse of ID.
	Token(id int32) (string, bool)
}

// Vocab describes a vocabulary; ids are -1 where it has none.
type Vocab struct {
	Size               int // one more than the largest id, added tokens included
	Pad, BOS, EOS, Unk int32
	Prefix, Suffix     []int32 // what the tokenizer's own template puts around a text
	Digest             string  // SHA-256, in hex, of everything that decides the ids
}

// model is the last part of the chain: ids for one word.
type model interface {
	// encode gets UTF-8, or the bytes of a part of it if the words are raw.
	encode(dst []int32, word string) []int32
	// json is the model in the terms of tokenizer.json; names holds the token of each id, "" where there is none.
	json(names []string) (any, error)
}

// chain is the one implementation of Tokenizer for all vocabularies that come from files.
type chain struct {
	raw        *splitter // added tokens that are looked for in the text as it came
	normalized *splitter // added tokens that are looked for after normalization
	norm       []normalizer
	pre        []pretokenizer
	model      model
	decode     decoder
	names      names
	vocab      Vocab
	spec       *spec
}

func (c *chain) Vocab() Vocab { return c.vocab }

func (c *chain) ID(token string) (int32, bool) { id, ok := c.names.ids[token]; return id, ok }

func (c *chain) Token(id int32) (string, bool) { return c.names.token(id) }

func (c *chain) Decode(ids []int32) string { return c.decode.text(ids, &c.names) }

func (c *chain) Encode(dst []int32, s string) []int32 {
	if !c.spec.keepBytes && !utf8.ValidString(s) {
		s = lossy(s)
	}
	at, search := 0, 0
	for at < len(s) {
		m, ok := c.raw.next(s, at, search)
		if !ok {
			return c.encodePiece(dst, s[at:], at == 0)
		}
		if m.start > at {
			dst = c.encodePiece(dst, s[at:m.start], at == 0)
		}
		dst = append(dst, m.id)
		at, search = m.end, m.resume
	}
	return dst
}

// encodePiece encodes what lies between two added tokens; first says that it begins the text.
func (c *chain) encodePiece(dst []int32, s string, first bool) []int32 {
	for _, n := range c.norm {
		s = n.apply(s)
	}
	at, search := 0, 0
	for at < len(s) {
		m, ok := c.normalized.next(s, at, search)
		if !ok {
			return c.encodeWords(dst, piece{s[at:], first && at == 0})
		}
		if m.start > at {
			dst = c.encodeWords(dst, piece{s[at:m.start], first && at == 0})
		}
		dst = append(dst, m.id)
		at, search = m.end, m.resume
	}
	return dst
}

func (c *chain) encodeWords(dst []int32, p piece) []int32 {
	if len(c.pre) == 0 {
		return c.model.encode(dst, p.s)
	}
	sc := scratches.Get().(*scratch)
	sc.in = append(sc.in[:0], p)
	for _, pre := range c.pre {
		sc.out = sc.out[:0]
		for _, p := range sc.in {
			sc.out = pre.split(sc.out, p)
		}
		sc.in, sc.out = sc.out, sc.in
	}
	for _, w := range sc.in {
		dst = c.model.encode(dst, w.s)
	}
	clear(sc.in) // else a pooled scratch would keep the text alive
	clear(sc.out)
	scratches.Put(sc)
	return dst
}

// names maps ids to token texts and back.
type names struct {
	ids    map[string]int32
	tokens []string // by id; "" where there is none

}

func (n *names) token(id int32) (string, bool) {
	if id < 0 || int(id) >= len(n.tokens) || n.tokens[id] == "" {
		return "", false
	}
	return n.tokens[id], true
}

// lossy replaces what is not UTF-8 by U+FFFD, one for each longest beginning of a sequence, as the Unicode standard
// recommends and Python and Rust do. Go's own range loop gives one for each byte.
func lossy(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 8)
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			n = brokenLen(s)
			b.WriteString("\uFFFD")
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// brokenLen is the length of the longest beginning of s, which does not start with a whole character, that could have
// become one; at least 1.
func brokenLen(s string) int {
	lo, hi, want := byte(0x80), byte(0xBF), 0
	switch c := s[0]; {
	case c >= 0xC2 && c <= 0xDF:
		want = 1
	case c >= 0xE0 && c <= 0xEF:
		want = 2
		if c == 0xE0 {
			lo = 0xA0
		} else if c == 0xED {
			hi = 0x9F
		}
	case c >= 0xF0 && c <= 0xF4:
		want = 3
		if c == 0xF0 {
			lo = 0x90
		} else if c == 0xF4 {
			hi = 0x8F
		}
	}
	n := 1
	for n <= want && n < len(s) && s[n] >= lo && s[n] <= hi {
		lo, hi = 0x80, 0xBF
		n++
	}
	return n
}
