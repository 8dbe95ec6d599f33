package text

import (
	"strings"
	"unicode/utf8"
)

// decoder makes text of ids.
type decoder interface {
	text(ids []int32, n *names) string
	json() any
}

// steps is the decoder of tokenizer.json: each step rewrites the list of tokens, what is left is joined. Without any, tokens
// are joined by spaces.
type steps []decodeStep

type decodeStep interface {
	apply(tokens []string) []string
	json() any
}

func (d steps) text(ids []int32, n *names) string {
	tokens := make([]string, 0, len(ids))
	for _, id := range ids {
		if t, ok := n.token(id); ok {
			tokens = append(tokens, t)
		}
	}
	if len(d) == 0 {
		return strings.Join(tokens, " ")
	}
	for _, s := range d {
		tokens = s.apply(tokens)
	}
	return strings.Join(tokens, "")
}

func (d steps) json() any {
	switch len(d) {
	case 0:
		return nil
	case 1:
		return d[0].json()
	}
	list := make([]any, len(d))
	for i, s := range d {
		list[i] = s.json()
	}
	return object{"type": "Sequence", "decoders": list}
}

type decodeByteLevel struct{}

func (decodeByteLevel) apply(tokens []string) []string {
	var b strings.Builder
	for _, t := range tokens {
		b.WriteString(fromLetters(t))
	}
	return []string{lossyIfNeeded(b.String())}
}

func (decodeByteLevel) json() any {
	return object{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}
}

func lossyIfNeeded(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return lossy(s)
}

type decodeReplace replace

func (r decodeReplace) apply(tokens []string) []string {
	for i, t := range tokens {
		tokens[i] = strings.ReplaceAll(t, r.old, r.new)
	}
	return tokens
}

func (r decodeReplace) json() any { return replace(r).json()[0] }

// decodeBytes joins runs of <0xXX>; a run that is not UTF-8 gives one U+FFFD for each byte.
type decodeBytes struct{}

func (decodeBytes) apply(tokens []string) []string {
	out := tokens[:0:0]
	var run []byte
	flush := func() {
		if len(run) > 0 && utf8.Valid(run) {
			out = append(out, string(run))
		} else {
			for range run {
				out = append(out, "\uFFFD")
			}
		}
		run = run[:0]
	}
	for _, t := range tokens {
		if b, ok := anyByteValue(t); ok {
			run = append(run, b)
			continue
		}
		flush()
		out = append(out, t)
	}
	flush()
	return out
}

// anyByteValue also takes small hexadecimal digits, as the library does in decoding.
func anyByteValue(s string) (byte, bool) {
	if len(s) != 6 || !strings.HasPrefix(s, "<0x") {
		return 0, false
	}
	return pieceByteValue("<0x" + strings.ToUpper(s[3:5]) + s[5:])
}

func (decodeBytes) json() any { return object{"type": "ByteFallback"} }

type decodeFuse struct{}

func (decodeFuse) apply(tokens []string) []string { return []string{strings.Join(tokens, "")} }
func (decodeFuse) json() any                      { return object{"type": "Fuse"} }

// decodeStrip removes up to start leading and stop trailing characters of each token.
type decodeStrip struct {
	content     rune
	start, stop int
}

func (d decodeStrip) apply(tokens []string) []string {
	c := string(d.content)
	for i, t := range tokens {
		for n := 0; n < d.start && strings.HasPrefix(t, c); n++ {
			t = t[len(c):]
		}
		for n := 0; n < d.stop && strings.HasSuffix(t, c); n++ {
			t = t[:len(t)-len(c)]
		}
		tokens[i] = t
	}
	return tokens
}

func (d decodeStrip) json() any {
	return object{"type": "Strip", "content": string(d.content), "start": d.start, "stop": d.stop}
}

type decodeMetaspace metaspace

func (d decodeMetaspace) apply(tokens []string) []string {
	for i, t := range tokens {
		with := " "
		if i == 0 && d.scheme != "never" {
			with = ""
		}
		tokens[i] = strings.ReplaceAll(t, d.replacement, with)
	}
	return tokens
}

func (d decodeMetaspace) json() any { return metaspace(d).json() }

type decodeWordPiece struct {
	prefix  string
	cleanup bool
}

// tidy is what cleanup does to English, one after the other.
var tidy = []string{" .", ".", " ?", "?", " !", "!", " ,", ",", " ' ", "'", " n't", "n't", " 'm", "'m", " do not", " don't", " 's", "'s", " 've", "'ve", " 're", "'re"}

func (d decodeWordPiece) apply(tokens []string) []string {
	for i, t := range tokens {
		if i > 0 {
			if rest, ok := strings.CutPrefix(t, d.prefix); ok {
				t = rest
			} else {
				t = " " + t
			}
		}
		if d.cleanup {
			for k := 0; k < len(tidy); k += 2 {
				t = strings.ReplaceAll(t, tidy[k], tidy[k+1])
			}
		}
		tokens[i] = t
	}
	return tokens
}

func (d decodeWordPiece) json() any {
	return object{"type": "WordPiece", "prefix": d.prefix, "cleanup": d.cleanup}
}

// slowDecoder is the decoder of the tokenizers written in Python: runs of ordinary tokens are decoded on their own, and
// added tokens stand between them with spaces around.
type slowDecoder struct {
	added map[int32]bool // tokens that the vocabulary file itself lacks
	join  func(ids []int32, n *names) string
	like  steps // what comes nearest in tokenizer.json
}

func (d *slowDecoder) text(ids []int32, n *names) string {
	var parts []string
	var run []int32
	flush := func() {
		if len(run) > 0 {
			parts = append(parts, d.join(run, n))
		}
		run = run[:0]
	}
	for _, id := range ids {
		t, ok := n.token(id)
		switch {
		case !ok:
		case d.added[id]:
			flush()
			parts = append(parts, t)
		default:
			run = append(run, id)
		}
	}
	flush()
	return strings.Join(parts, " ")
}

func (d *slowDecoder) json() any { return d.like.json() }

func joinByteLevel(ids []int32, n *names) string {
	var b strings.Builder
	for _, id := range ids {
		t, _ := n.token(id)
		b.WriteString(fromLetters(t))
	}
	return lossyIfNeeded(b.String())
}

func joinWordPiece(prefix string) func(ids []int32, n *names) string {
	return func(ids []int32, n *names) string {
		tokens := make([]string, 0, len(ids))
		for _, id := range ids {
			t, _ := n.token(id)
			tokens = append(tokens, t)
		}
		return strings.TrimFunc(strings.ReplaceAll(strings.Join(tokens, " "), " "+prefix, ""), pythonSpace)
	}
}

// joinSentencePiece decodes as LlamaTokenizer of transformers 4.30 does: special tokens are not given to the library, and a
// space stands before those that follow something.
func joinSentencePiece(m *spModel, special map[int32]bool) func(ids []int32, n *names) string {
	return func(ids []int32, n *names) string {
		var b strings.Builder
		var run []int32
		afterSpecial := false
		for i, id := range ids {
			if !special[id] {
				run = append(run, id)
				afterSpecial = false
				continue
			}
			if !afterSpecial && i != 0 {
				b.WriteByte(' ')
			}
			t, _ := n.token(id)
			b.WriteString(m.decode(run) + t)
			run, afterSpecial = run[:0], true
		}
		return b.String() + m.decode(run)
	}
}

// decode is the library's Decode: ▁ is a space, the first one goes, control pieces give nothing, bytes are joined with one
// U+FFFD for each that belongs to no character.
func (m *spModel) decode(ids []int32) string {
	var b strings.Builder
	var run []byte
	flush := func() {
		for len(run) > 0 {
			r, n := utf8.DecodeRune(run)
			b.WriteRune(r)
			run = run[n:]
		}
	}
	begin, seen := true, false
	for _, id := range ids {
		if id < 0 || int(id) >= len(m.pieces) {
			continue
		}
		p := m.pieces[id]
		if p.kind == pieceByte {
			c, _ := pieceByteValue(p.text)
			run = append(run, c)
			continue
		}
		flush()
		if seen || b.Len() > 0 {
			begin = false
		}
		seen = false
		switch p.kind {
		case pieceControl:
		case pieceUnknown:
			b.WriteString(m.unkSurface)
		default:
			t := p.text
			if begin && (m.dummyPrefix || m.removeExtra) {
				if rest, ok := strings.CutPrefix(t, space); ok {
					t, seen = rest, !m.removeExtra
				}
			}
			b.WriteString(strings.ReplaceAll(t, space, " "))
		}
	}
	flush()
	return b.String()
}
