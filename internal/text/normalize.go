package text

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// normalizer rewrites the text between two added tokens.
type normalizer interface {
	apply(s string) string
	json() []any // the same in the terms of tokenizer.json; several steps may be needed
}

type object = map[string]any

// prepend puts a string in front of text that is not empty.
type prepend string

func (p prepend) apply(s string) string {
	if s == "" {
		return s
	}
	return string(p) + s
}

func (p prepend) json() []any { return []any{object{"type": "Prepend", "prepend": string(p)}} }

// replace puts one string in the place of another.
type replace struct{ old, new string }

func (r replace) apply(s string) string { return strings.ReplaceAll(s, r.old, r.new) }

func (r replace) json() []any {
	return []any{object{"type": "Replace", "pattern": object{"String": r.old}, "content": r.new}}
}

// A Replace with a regular expression is read only if it is one of those that this package writes.
const (
	regexUnassigned = `\p{Cn}`
	regexLeading    = `\A +`
	regexRuns       = ` {2,}`
	regexTrailing   = `▁+\z`
)

func replaceRegex(regex, content string) object {
	return object{"type": "Replace", "pattern": object{"Regex": regex}, "content": content}
}

// bert is BERT's cleaning of text.
type bert struct {
	clean, chinese, accents, lower bool
	// slow follows BertTokenizer, the one written in Python: it drops unassigned characters, knows tab, line feed and
	// carriage return alone as white space, composes first and lowers before it drops accents.
	slow bool
	// stripAccents as the file says it: absent means as lower.
	stripAccents *bool
}

func (b bert) apply(s string) string {
	if !b.slow && isASCII(s) {
		return b.ascii(s)
	}
	rs := make([]rune, 0, len(s)+8)
	cl := charClasses()
	for _, r := range s {
		if b.clean {
			if b.dropped(cl, r) {
				continue
			}
			if r == '\t' || r == '\n' || r == '\r' || b.blank(cl, r) {
				r = ' '
			}
		}
		if b.chinese && ideograph(r) && (b.slow || r < 0x2B820 || r > 0x2B91F) { // a slip in the library
			rs = append(rs, ' ', r, ' ')
		} else {
			rs = append(rs, r)
		}
	}
	if b.slow {
		return b.applySlow(rs)
	}
	if b.accents {
		kept := make([]rune, 0, len(rs))
		for _, r := range decompose(string(rs)) {
			if cl.of(r)&isAccent == 0 {
				kept = append(kept, r)
			}
		}
		rs = kept
	}
	if b.lower {
		low := make([]rune, 0, len(rs))
		for _, r := range rs {
			low = lower(low, r)
		}
		rs = low
	}
	return string(rs)
}

func (b bert) ascii(s string) string {
	out := make([]byte, 0, len(s))
	for i := range len(s) {
		c := s[i]
		if b.clean {
			if c == '\t' || c == '\n' || c == '\r' {
				c = ' '
			} else if c < ' ' || c == 0x7F {
				continue
			}
		}
		if b.lower && c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		out = append(out, c)
	}
	return string(out)
}

// dropped says that clean_text removes a character. unicode.C holds the unassigned ones.
func (b bert) dropped(cl *classes, r rune) bool {
	if !b.slow {
		return cl.of(r)&isControl != 0
	}
	return r == 0 || r == utf8.RuneError || r != '\t' && r != '\n' && r != '\r' && unicode.Is(unicode.C, r)
}

func (b bert) blank(cl *classes, r rune) bool {
	if b.slow {
		return unicode.Is(unicode.Zs, r)
	}
	return cl.of(r)&isSpace != 0
}

func (b bert) applySlow(rs []rune) string {
	low := make([]rune, 0, len(rs))
	for _, r := range norm.NFC.String(string(rs)) {
		if b.lower {
			low = lower(low, r)
		} else {
			low = append(low, r)
		}
	}
	s := string(low)
	if b.accents {
		s = strings.Map(func(r rune) rune {
			if unicode.Is(unicode.Mn, r) {
				return -1
			}
			return r
		}, norm.NFD.String(s))
	}
	return s
}

func (b bert) json() []any {
	var strip any
	if b.stripAccents != nil {
		strip = *b.stripAccents
	}
	step := object{"type": "BertNormalizer", "clean_text": b.clean, "handle_chinese_chars": b.chinese, "strip_accents": strip, "lowercase": b.lower}
	if b.slow && b.clean {
		return []any{replaceRegex(regexUnassigned, ""), step}
	}
	return []any{step}
}

// dropUnassigned is the step that bert.json writes for slow.
type dropUnassigned struct{}

func (dropUnassigned) apply(s string) string {
	return strings.Map(func(r rune) rune {
		if unassigned(r) {
			return -1
		}
		return r
	}, s)
}

func (dropUnassigned) json() []any { return []any{replaceRegex(regexUnassigned, "")} }

func unassigned(r rune) bool { return charClasses().of(r)&isUnassigned != 0 }

// decompose is NFD. The library's tables are older than Go's by one letter.
func decompose(s string) string {
	if !strings.ContainsRune(s, 0x11938) {
		return norm.NFD.String(s)
	}
	parts := strings.Split(s, "\U00011938")
	for i, p := range parts {
		parts[i] = norm.NFD.String(p)
	}
	return strings.Join(parts, "\U00011938")
}

func ideograph(r rune) bool {
	return r >= 0x3400 && (r >= 0x4E00 && r <= 0x9FFF || r <= 0x4DBF || r >= 0x20000 && r <= 0x2A6DF || r >= 0x2A700 && r <= 0x2B73F ||
		r >= 0x2B740 && r <= 0x2B81F || r >= 0x2B820 && r <= 0x2CEAF || r >= 0xF900 && r <= 0xFAFF || r >= 0x2F800 && r <= 0x2FA1F)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// The steps that a SentencePiece normalizer with remove_extra_whitespaces is written as.

type trimLeading struct{}

func (trimLeading) apply(s string) string { return strings.TrimLeft(s, " ") }
func (trimLeading) json() []any           { return []any{replaceRegex(regexLeading, "")} }

type squeeze struct{}

func (squeeze) apply(s string) string {
	for strings.Contains(s, "  ") {
		s = strings.ReplaceAll(s, "  ", " ")
	}
	return s
}
func (squeeze) json() []any { return []any{replaceRegex(regexRuns, " ")} }

type trimTrailing struct{}

func (trimTrailing) apply(s string) string { return strings.TrimRight(s, "▁") }
func (trimTrailing) json() []any           { return []any{replaceRegex(regexTrailing, "")} }
