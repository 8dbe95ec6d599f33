package text

import (
	_ "embed"
	"sync"
	"unicode"
)

//go:embed unicode.bin
var unicodeRuns []byte // made by testdata/make_unicode.py

// The classes of a character. They are those of the tokenizers library and not of one Unicode version.
const (
	isLetter     = 1 << iota // \p{L}
	isNumber                 // \p{N}
	isSpace                  // \s, which is Unicode's White_Space
	isPunct                  // what BERT cuts words at
	isAccent                 // what BERT drops with strip_accents
	isControl                // what BERT drops with clean_text
	isNumeric                // what "Digits" isolates
	isUnassigned             // \p{Cn}
)

// classes has a byte of flags for each code point below U+110000, in pages of 256 of which equal ones are shared.
type classes struct {
	page  [0x110000 >> 8]uint16
	pages [][256]uint8
}

var charClasses = sync.OnceValue(func() *classes {
	var all [0x110000]uint8
	at := 0
	for i := 0; i < len(unicodeRuns); {
		n, shift := 0, 0
		for ; unicodeRuns[i] > 127; i++ {
			n |= int(unicodeRuns[i]&127) << shift
			shift += 7
		}
		n |= int(unicodeRuns[i]) << shift
		for j := range n {
			all[at+j] = unicodeRuns[i+1]
		}
		at += n
		i += 2
	}
	c := &classes{}
	seen := map[[256]uint8]uint16{}
	for p := range c.page {
		page := [256]uint8(all[p<<8:])
		k, ok := seen[page]
		if !ok {
			k = uint16(len(c.pages))
			seen[page] = k
			c.pages = append(c.pages, page)
		}
		c.page[p] = k
	}
	return c
})

func (c *classes) of(r rune) uint8 { return c.pages[c.page[r>>8]][r&255] }

// lower is the full lower-case form of one character without context. Go's tables are older than the library's, and its
// ToLower gives one character only.
func lower(dst []rune, r rune) []rune {
	switch {
	case r < 0x80:
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
	case r == 0x130:
		return append(dst, 'i', 0x307)
	case r == 0xA7CB:
		r = 0x264
	case r == 0xA7DC:
		r = 0x19B
	case r == 0x1C89, r == 0xA7CC, r == 0xA7CE, r == 0xA7D2, r == 0xA7D4, r == 0xA7DA:
		r++
	case r >= 0x10D50 && r <= 0x10D65:
		r += 0x20
	case r >= 0x16EA0 && r <= 0x16EB8:
		r += 0x1B
	default:
		r = unicode.ToLower(r)
	}
	return append(dst, r)
}

// pythonSpace is what str.strip of Python removes: White_Space and the four separators U+001C to U+001F.
func pythonSpace(r rune) bool {
	return r >= 0x1C && r <= 0x1F || charClasses().of(r)&isSpace != 0
}

func whiteSpace(r rune) bool { return charClasses().of(r)&isSpace != 0 }

// wordChar is \w of the regular expressions that look at single_word tokens.
func wordChar(r rune) bool {
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Nl, unicode.Other_Alphabetic, unicode.Pc) || r == 0x200C || r == 0x200D
}
