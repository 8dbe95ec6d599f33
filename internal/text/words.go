package text

import (
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// piece is a part of the text on its way to the model.
type piece struct {
	s     string
	first bool // it begins the text
}

// pretokenizer cuts a piece into words.
type pretokenizer interface {
	split(dst []piece, p piece) []piece
	json() any // the same in the terms of tokenizer.json
}

type scratch struct{ in, out []piece }

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// byteLevel cuts by GPT-2's pattern. Its words are raw: the model takes bytes where the file format writes letters.
type byteLevel struct{ prefix, pattern bool }

func (b byteLevel) split(dst []piece, p piece) []piece {
	s := p.s
	if b.prefix && s[0] != ' ' {
		s = " " + s
	}
	if !b.pattern {
		return append(dst, piece{s, p.first})
	}
	cl := charClasses()
	for first := p.first; s != ""; first = false {
		n := gpt2Word(cl, s)
		dst = append(dst, piece{s[:n], first})
		s = s[n:]
	}
	return dst
}

func (b byteLevel) json() any {
	return object{"type": "ByteLevel", "add_prefix_space": b.prefix, "trim_offsets": true, "use_regex": b.pattern}
}

// asciiWord has the class of ASCII characters in GPT-2's pattern.
var asciiWord = func() (t [utf8.RuneSelf]uint8) {
	for c := range t {
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			t[c] = isLetter
		case c >= '0' && c <= '9':
			t[c] = isNumber
		case c == ' ' || c >= 9 && c <= 13:
			t[c] = isSpace
		}
	}
	return t
}()

func wordClass(cl *classes, s string) (class uint8, n int) {
	if s[0] < utf8.RuneSelf {
		return asciiWord[s[0]], 1
	}
	r, n := utf8.DecodeRuneInString(s)
	return cl.of(r) & (isLetter | isNumber | isSpace), n
}

// gpt2Word returns the length of the first match of GPT-2's pattern, of which regexp lacks the look-ahead:
//
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
func gpt2Word(cl *classes, s string) int {
	if s[0] == '\'' && len(s) > 1 {
		switch s[1] {
		case 's', 't', 'm', 'd':
			return 2
		}
		if len(s) > 2 && (s[1:3] == "re" || s[1:3] == "ve" || s[1:3] == "ll") {
			return 3
		}
	}
	i := 0
	if s[0] == ' ' && len(s) > 1 {
		i = 1
	}
	class, n := wordClass(cl, s[i:])
	if class != isSpace {
		for i += n; i < len(s); i += n {
			var c uint8
			if c, n = wordClass(cl, s[i:]); c != class {
				break
			}
		}
		return i
	}
	// A run of white space leaves its last character to the word behind it.
	i, last := 0, 0
	for i < len(s) {
		class, n = wordClass(cl, s[i:])
		if class != isSpace {
			break
		}
		last = i
		i += n
	}
	if i < len(s) && last > 0 {
		return last
	}
	return i
}

// metaspace writes spaces as ▁ (or another character) and may cut before each.
type metaspace struct {
	replacement string
	scheme      string // "always", "first" or "never": where one more is put in front
	cut         bool
}

func (m metaspace) split(dst []piece, p piece) []piece {
	s := strings.ReplaceAll(p.s, " ", m.replacement)
	if (m.scheme == "always" || m.scheme == "first" && p.first) && !strings.HasPrefix(s, m.replacement) {
		s = m.replacement + s
	}
	if !m.cut {
		return append(dst, piece{s, p.first})
	}
	for first := p.first; s != ""; first = false {
		n := strings.Index(s[1:], m.replacement) + 1
		if n == 0 {
			n = len(s)
		}
		dst = append(dst, piece{s[:n], first})
		s = s[n:]
	}
	return dst
}

func (m metaspace) json() any {
	return object{"type": "Metaspace", "replacement": m.replacement, "prepend_scheme": m.scheme, "split": m.cut}
}

// digits cuts numbers off, each digit alone or in runs.
type digits struct{ individual bool }

func (d digits) split(dst []piece, p piece) []piece {
	cl := charClasses()
	from, was := 0, false
	for i, r := range p.s {
		is := cl.of(r)&isNumeric != 0
		if i > from && (is != was || is && d.individual) {
			dst = append(dst, piece{p.s[from:i], p.first && from == 0})
			from = i
		}
		was = is
	}
	return append(dst, piece{p.s[from:], p.first && from == 0})
}

func (d digits) json() any { return object{"type": "Digits", "individual_digits": d.individual} }

// bertWords cuts at white space, which goes, and around each punctuation mark. slow takes the marks of Unicode, as Python
// has them, for those of the library's older table.
type bertWords struct{ slow bool }

func (b bertWords) split(dst []piece, p piece) []piece {
	cl := charClasses()
	from := 0
	for i := 0; i < len(p.s); {
		r, n := rune(p.s[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(p.s[i:])
		}
		class := cl.of(r) & (isSpace | isPunct)
		if b.slow && r >= utf8.RuneSelf && unicode.IsPunct(r) {
			class |= isPunct
		}
		if class != 0 {
			if i > from {
				dst = append(dst, piece{p.s[from:i], p.first && from == 0})
			}
			if class&isSpace == 0 {
				dst = append(dst, piece{p.s[i : i+n], p.first && i == 0})
			}
			from = i + n
		}
		i += n
	}
	if from < len(p.s) {
		dst = append(dst, piece{p.s[from:], p.first && from == 0})
	}
	return dst
}

func (bertWords) json() any { return object{"type": "BertPreTokenizer"} }
