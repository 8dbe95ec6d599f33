package text

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// spNormalizer is SentencePiece's own normalization: rewriting by the model's table, ▁ for spaces, one more in front.
type spNormalizer struct {
	dummyPrefix, removeExtra bool
	rules                    *charsmap // nil for identity
	user                     *trie     // user-defined pieces are not rewritten
}

// prefix rewrites the beginning of s, which is n bytes long.
func (z *spNormalizer) prefix(s string) (out string, n int) {
	if z.user != nil {
		if v, n := z.user.longest(s); v >= 0 {
			return s[:n], n
		}
	}
	if z.rules != nil {
		if out, n := z.rules.longest(s); n > 0 {
			return out, n
		}
	}
	r, n := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n == 1 {
		return "\uFFFD", 1
	}
	return s[:n], n
}

func (z *spNormalizer) apply(s string) string {
	if z.removeExtra {
		for s != "" {
			out, n := z.prefix(s)
			if out != " " {
				break
			}
			s = s[n:]
		}
	}
	if s == "" {
		return ""
	}
	var b strings.Builder
	b.Grow(len(s) + len(s)/2 + 8)
	if z.dummyPrefix {
		b.WriteString(space)
	}
	afterSpace := z.removeExtra
	for s != "" {
		out, n := z.prefix(s)
		s = s[n:]
		for afterSpace && strings.HasPrefix(out, " ") {
			out = out[1:]
		}
		if out == "" {
			continue
		}
		afterSpace = z.removeExtra && out[len(out)-1] == ' '
		for i := range len(out) {
			if out[i] == ' ' {
				b.WriteString(space)
			} else {
				b.WriteByte(out[i])
			}
		}
	}
	t := b.String()
	for z.removeExtra && strings.HasSuffix(t, space) {
		t = t[:len(t)-len(space)]
	}
	return t
}

func (z *spNormalizer) json() []any {
	var steps []any
	if z.removeExtra {
		steps = append(steps, squeeze{}.json()[0], trimLeading{}.json()[0])
	}
	if z.dummyPrefix {
		steps = append(steps, prepend(space).json()[0])
	}
	steps = append(steps, replace{" ", space}.json()[0])
	if z.removeExtra {
		steps = append(steps, trimTrailing{}.json()[0])
	}
	return steps
}

// expressible says why the model has no equal in tokenizer.json.
func (z *spNormalizer) expressible() error {
	if z.rules != nil {
		return errors.New("its normalization table has no exact equal in tokenizer.json")
	}
	if z.user != nil {
		return errors.New("its user-defined pieces have no exact equal in tokenizer.json")
	}
	return nil
}

// spBPE is SentencePiece's BPE: the pair whose joined text has the best score is joined first, leftmost on ties.
type spBPE struct {
	model  *spModel
	ids    map[string]int32 // pieces that are found in text
	char   map[string]int32 // single characters: their piece, or a number behind all pieces for those that only occur in longer ones
	other  []string         // texts of those numbers
	merges *table
	user   *trie
	unk    int32
	bytes  [256]int32
	unused bool
	cut    bool
	cache  *wordCache
}

// fallbackIDs returns the ids of the byte pieces.
func (m *spModel) fallbackIDs() (ids [256]int32) {
	for b := range ids {
		ids[b] = -1
	}
	for i, p := range m.pieces {
		if p.kind == pieceByte {
			b, _ := pieceByteValue(p.text)
			ids[b] = int32(i)
		}
	}
	return ids
}

func (m *spModel) userPieces() *trie {
	var t *trie
	for i, p := range m.pieces {
		if p.kind == pieceUser {
			if t == nil {
				t = newTrie()
			}
			t.put(p.text, int32(i))
		}
	}
	return t
}

func newSPBPE(m *spModel) *spBPE {
	b := &spBPE{model: m, ids: map[string]int32{}, char: map[string]int32{}, user: m.userPieces(), unk: m.unk, bytes: m.fallbackIDs(), cache: newWordCache()}
	scores := map[float32]uint64{}
	total := 0
	for i, p := range m.pieces {
		if p.kind == pieceNormal || p.kind == pieceUser || p.kind == pieceUnused {
			b.ids[p.text] = int32(i)
			b.unused = b.unused || p.kind == pieceUnused
			scores[p.score] = 0
			n := 0
			for j, r := range p.text {
				c := p.text[j : j+utf8.RuneLen(r)]
				b.char[c] = -1
				n++
			}
			total += n - 1
		}
	}
	order := make([]float32, 0, len(scores))
	for s := range scores {
		order = append(order, s)
	}
	slices.SortFunc(order, func(x, y float32) int { return cmp.Compare(y, x) })
	for rank, s := range order {
		scores[s] = uint64(rank)
	}
	for _, p := range m.pieces {
		for j, r := range p.text {
			c := p.text[j : j+utf8.RuneLen(r)]
			if id, ok := b.char[c]; ok && id < 0 {
				if id, ok = b.ids[c]; !ok {
					id = int32(len(m.pieces) + len(b.other))
					b.other = append(b.other, c)
				}
				b.char[c] = id
			}
		}
	}
	b.merges = newTable(total / 4)
	crossing := false
	b.eachMerge(func(left, right string, l, r, id int32) {
		b.merges.put(pairKey(l, r), scores[m.pieces[id].score]<<32|uint64(id))
		crossing = crossing || !strings.HasSuffix(left, space) && strings.HasPrefix(right, space)
	})
	// Unknown characters that are neighbours become one token, and unused pieces are taken apart by how some pair of the
	// text was joined first: both look beyond a word.
	b.cut = !crossing && !b.unused && b.user == nil && m.byteFallback
	return b
}

// eachMerge calls f for each way to join two symbols to a piece.
func (b *spBPE) eachMerge(f func(left, right string, l, r, id int32)) {
	for id, p := range b.model.pieces {
		if _, ok := b.ids[p.text]; !ok {
			continue
		}
		for at := range p.text {
			if at == 0 {
				continue
			}
			l, okL := b.symbol(p.text[:at])
			r, okR := b.symbol(p.text[at:])
			if okL && okR {
				f(p.text[:at], p.text[at:], l, r, int32(id))
			}
		}
	}
}

func (b *spBPE) symbol(s string) (int32, bool) {
	if id, ok := b.ids[s]; ok {
		return id, true
	}
	id, ok := b.char[s]
	return id, ok
}

func (b *spBPE) encode(dst []int32, s string) []int32 {
	if !b.cut {
		return b.encodeAll(dst, s)
	}
	for s != "" {
		n := nextRun(s)
		word := s[:n]
		s = s[n:]
		if n > cacheLongest {
			dst = b.encodeAll(dst, word)
			continue
		}
		at := b.cache.place(word)
		if c := at.Load(); c != nil && c.word == word {
			dst = append(dst, c.ids...)
			continue
		}
		n = len(dst)
		dst = b.encodeAll(dst, word)
		store(at, word, dst[n:])
	}
	return dst
}

// encodeAll keeps characters that are in no piece as the negative of their position less two: they take no part in joining.
// User-defined pieces do not either, so they are kept as numbers behind all others.
func (b *spBPE) encodeAll(dst []int32, s string) []int32 {
	sc := mergeScratches.Get().(*mergeScratch)
	syms := sc.syms[:0]
	frozen := int32(len(b.model.pieces) + len(b.other))
	for i := 0; i < len(s); {
		if b.user != nil {
			if id, n := b.user.longest(s[i:]); id >= 0 {
				syms = append(syms, frozen+id)
				i += n
				continue
			}
		}
		_, n := utf8.DecodeRuneInString(s[i:])
		id, ok := b.char[s[i:i+n]]
		if !ok {
			id = 2*frozen + int32(i)
		}
		syms = append(syms, id)
		i += n
	}
	sc.syms = syms
	var split map[int32][2]int32
	if b.unused {
		split = map[int32][2]int32{}
		sc.joined = func(id, l, r int32) {
			if b.model.pieces[id].kind == pieceUnused {
				split[id] = [2]int32{l, r}
			}
		}
	}
	from := len(dst)
	dst = sc.merge(dst, b.merges)
	sc.joined = nil
	mergeScratches.Put(sc)

	// Most often all symbols are pieces and stay as they are.
	plain := !b.unused
	for _, id := range dst[from:] {
		plain = plain && int(id) < len(b.model.pieces)
	}
	if plain {
		return dst
	}
	out, unknown := slices.Clone(dst[from:]), false
	dst = dst[:from]
	var emit func(id int32)
	emit = func(id int32) {
		text := ""
		switch {
		case id >= 2*frozen:
			at := id - 2*frozen
			_, n := utf8.DecodeRuneInString(s[at:])
			text = s[at : int(at)+n]
		case id >= frozen:
			id -= frozen
		case int(id) >= len(b.model.pieces):
			text = b.other[int(id)-len(b.model.pieces)]
		default:
			if p, ok := split[id]; ok {
				emit(p[0])
				emit(p[1])
				return
			}
		}
		was := unknown
		unknown = text != "" && !b.model.byteFallback
		switch {
		case text == "":
			dst = append(dst, id)
		case !unknown:
			for i := range len(text) {
				dst = append(dst, b.bytes[text[i]])
			}
		case !was:
			dst = append(dst, b.unk)
		}
	}
	for _, id := range out {
		emit(id)
	}
	return dst
}

// json writes the scores as a list of merges.
func (b *spBPE) json(names []string) (any, error) {
	if b.unused {
		return nil, errors.New("unused pieces have no equal in tokenizer.json")
	}
	if len(b.other) > 0 {
		return nil, fmt.Errorf("a piece holds the character %q, which is none itself: that has no equal in tokenizer.json", b.other[0])
	}
	type pair struct {
		left, right string
		l, r        int32
		score       float32
	}
	var pairs []pair
	seen := map[float32]string{}
	var clash error
	b.eachMerge(func(left, right string, l, r, id int32) {
		score := b.model.pieces[id].score
		if other, ok := seen[score]; ok && other != left+right {
			clash = fmt.Errorf("pieces %q and %q have the same score, which has no equal in tokenizer.json", other, left+right)
		}
		seen[score] = left + right
		pairs = append(pairs, pair{left, right, l, r, score})
	})
	if clash != nil {
		return nil, clash
	}
	slices.SortFunc(pairs, func(x, y pair) int {
		return cmp.Or(cmp.Compare(y.score, x.score), cmp.Compare(x.l, y.l), cmp.Compare(x.r, y.r))
	})
	merges := make([][2]string, len(pairs))
	for i, p := range pairs {
		merges[i] = [2]string{p.left, p.right}
	}
	return object{"type": "BPE", "dropout": nil, "unk_token": names[b.unk], "continuing_subword_prefix": nil, "end_of_word_suffix": nil, "fuse_unk": true,
		"byte_fallback": b.model.byteFallback, "ignore_merges": false, "vocab": vocabulary(names), "merges": merges}, nil
}

// newSPUnigram is the unigram model of a SentencePiece file.
func newSPUnigram(m *spModel) (*unigram, error) {
	find, scores := make([]string, len(m.pieces)), make([]float64, len(m.pieces))
	user := map[int32]bool{}
	low := 0.0
	first, unused := true, false
	for i, p := range m.pieces {
		scores[i] = float64(p.score)
		switch p.kind {
		case pieceNormal:
			find[i] = p.text
			if first {
				low, first = scores[i], false
			}
			low = min(low, scores[i])
		case pieceUser:
			find[i] = p.text
			user[int32(i)] = true
		case pieceUnused:
			unused = true
		}
	}
	u, err := newUnigram(find, scores, m.unk)
	if err != nil {
		return nil, err
	}
	u.setLowest(low)
	u.unkScore = float64(float32(u.unkScore))
	u.single, u.user, u.byteFallback, u.fallback, u.unused = true, user, m.byteFallback, m.fallbackIDs(), unused
	return u, nil
}
