package text

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// bpe is byte pair encoding as the tokenizers library does it: start from characters, and as long as there is a pair that
// the list of merges has, join the pair that stands first in it, leftmost first.
// Sennrich et al., "Neural machine translation of rare words with subword units", 2016.
type bpe struct {
	ids          map[string]int32
	merges       *table // pair of ids → rank and id
	list         [][2]string
	unk          int32
	unkToken     string
	fuse         bool // neighbouring unknowns are one
	byteFallback bool
	fallback     [256]int32 // id of <0xXX>, or -1
	ignoreMerges bool       // a word that is a token is that token

	raw    bool       // words are bytes, which the vocabulary writes as letters
	byteID [256]int32 // of the letter of a byte, or -1
	whole  map[string]int32
	cut    bool // no merge reaches over the beginning of a run of ▁: words between them are on their own
	cache  *wordCache
}

const space = "▁"

// newBPE checks the merges against the vocabulary.
func newBPE(ids map[string]int32, merges [][2]string, unk *string, fuse, byteFallback, ignoreMerges, raw bool) (*bpe, error) {
	m := &bpe{ids: ids, list: merges, unk: -1, fuse: fuse, byteFallback: byteFallback, ignoreMerges: ignoreMerges, cache: newWordCache()}
	if unk != nil {
		id, ok := ids[*unk]
		if !ok {
			return nil, fmt.Errorf("unk_token %q is not in the vocabulary", *unk)
		}
		m.unk, m.unkToken = id, *unk
	}
	m.merges = newTable(len(merges))
	crossing := false
	for i, p := range merges {
		a, okA := ids[p[0]]
		b, okB := ids[p[1]]
		c, okC := ids[p[0]+p[1]]
		if !okA || !okB || !okC {
			return nil, fmt.Errorf("merge %d (%q %q): a part or the whole is not in the vocabulary", i, p[0], p[1])
		}
		m.merges.put(pairKey(a, b), uint64(i)<<32|uint64(uint32(c)))
		crossing = crossing || !strings.HasSuffix(p[0], space) && strings.HasPrefix(p[1], space)
	}
	complete := byteFallback
	for b := range m.fallback {
		m.fallback[b] = -1
		if id, ok := ids[fmt.Sprintf("<0x%02X>", b)]; ok && byteFallback {
			m.fallback[b] = id
		} else {
			complete = false
		}
	}
	m.cut = !crossing && !ignoreMerges && (complete || m.unk < 0 || !fuse)
	if raw {
		m.setRaw()
	}
	return m, nil
}

// byteLetters has the letter that byte-level vocabularies write for each byte: itself where that is visible.
var byteLetters = func() (t [256]rune) {
	next := rune(256)
	for b := range t {
		if b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE {
			t[b] = rune(b)
		} else {
			t[b] = next
			next++
		}
	}
	return t
}()

var letterBytes = func() map[rune]byte {
	t := map[rune]byte{}
	for b, r := range byteLetters {
		t[r] = byte(b)
	}
	return t
}()

// fromLetters is the inverse; text that is not made of such letters alone is taken as it is.
func fromLetters(s string) string {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		c, ok := letterBytes[r]
		if !ok {
			return s
		}
		b = append(b, c)
	}
	return string(b)
}

func (m *bpe) setRaw() {
	m.raw, m.cut = true, false
	for b, r := range byteLetters {
		id, ok := m.ids[string(r)]
		if !ok {
			id = -1
		}
		m.byteID[b] = id
	}
	if m.ignoreMerges {
		m.whole = map[string]int32{}
		for s, id := range m.ids {
			m.whole[fromLetters(s)] = id
		}
	}
}

func (m *bpe) encode(dst []int32, word string) []int32 {
	if !m.cut {
		return m.cached(dst, word)
	}
	for word != "" {
		n := nextRun(word)
		dst = m.cached(dst, word[:n])
		word = word[n:]
	}
	return dst
}

// nextRun returns where the second run of ▁ begins, or the length.
func nextRun(s string) int {
	i := 0
	for strings.HasPrefix(s[i:], space) {
		i += len(space)
	}
	if n := strings.Index(s[i:], space); n >= 0 {
		return i + n
	}
	return len(s)
}

func (m *bpe) cached(dst []int32, word string) []int32 {
	if len(word) > cacheLongest {
		return m.encodeWord(dst, word)
	}
	at := m.cache.place(word)
	if c := at.Load(); c != nil && c.word == word {
		return append(dst, c.ids...)
	}
	n := len(dst)
	dst = m.encodeWord(dst, word)
	store(at, word, dst[n:])
	return dst
}

func (m *bpe) encodeWord(dst []int32, word string) []int32 {
	if m.ignoreMerges {
		ids := m.ids
		if m.raw {
			ids = m.whole
		}
		if id, ok := ids[word]; ok {
			return append(dst, id)
		}
	}
	if m.merges.n == 0 {
		return m.symbols(dst, word)
	}
	sc := mergeScratches.Get().(*mergeScratch)
	sc.syms = m.symbols(sc.syms[:0], word)
	dst = sc.merge(dst, m.merges)
	mergeScratches.Put(sc)
	return dst
}

// symbols starts a word: one id for each character that the vocabulary has, else its bytes, else the unknown token.
func (m *bpe) symbols(dst []int32, word string) []int32 {
	unknown := false // an unknown token is due; bytes do not end a run of unknowns, as in the library
	for i, n := 0, 0; i < len(word); i += n {
		id, ok := int32(-1), false
		var char string
		if m.raw {
			n = 1
			id = m.byteID[word[i]]
			if ok = id >= 0; !ok {
				char = string(byteLetters[word[i]])
			}
		} else {
			_, n = utf8.DecodeRuneInString(word[i:])
			char = word[i : i+n]
			id, ok = m.ids[char]
		}
		if !ok {
			if m.byteFallback && m.hasBytes(char) {
				for j := range len(char) {
					dst = append(dst, m.fallback[char[j]])
				}
			} else if m.unk >= 0 {
				if unknown && !m.fuse {
					dst = append(dst, m.unk)
				}
				unknown = true
			}
			continue
		}
		if unknown {
			dst = append(dst, m.unk)
			unknown = false
		}
		dst = append(dst, id)
	}
	if unknown {
		dst = append(dst, m.unk)
	}
	return dst
}

func (m *bpe) hasBytes(s string) bool {
	for i := range len(s) {
		if m.fallback[s[i]] < 0 {
			return false
		}
	}
	return true
}

func (m *bpe) json(names []string) (any, error) {
	merges := m.list
	if merges == nil {
		merges = [][2]string{}
	}
	var unk any
	if m.unk >= 0 {
		unk = m.unkToken
	}
	return object{"type": "BPE", "dropout": nil, "unk_token": unk, "continuing_subword_prefix": nil, "end_of_word_suffix": nil, "fuse_unk": m.fuse,
		"byte_fallback": m.byteFallback, "ignore_merges": m.ignoreMerges, "vocab": vocabulary(names), "merges": merges}, nil
}

// mergeScratch joins the symbols of one word by a table from pairs of symbols to rank and joined symbol.
type mergeScratch struct {
	syms, next, prev []int32
	heap             []uint64 // rank and position; the smallest on top
	// joined, if set, hears of each pair that is up for joining.
	joined func(id, a, b int32)
}

var mergeScratches = sync.Pool{New: func() any { return new(mergeScratch) }}

// merge appends what is left of sc.syms when nothing can be joined.
func (sc *mergeScratch) merge(dst []int32, merges *table) []int32 {
	syms := sc.syms
	if len(syms) <= 24 && sc.joined == nil {
		return mergeShort(dst, syms, merges)
	}
	n := len(syms)
	sc.next, sc.prev = slices.Grow(sc.next[:0], n)[:n], slices.Grow(sc.prev[:0], n)[:n]
	sc.heap = sc.heap[:0]
	for i := range n {
		sc.next[i], sc.prev[i] = int32(i+1), int32(i-1)
	}
	for i := range n - 1 {
		if v, ok := sc.pair(merges, int32(i), int32(i+1)); ok {
			sc.heap = append(sc.heap, v>>32<<32|uint64(i))
		}
	}
	for i := len(sc.heap)/2 - 1; i >= 0; i-- {
		sc.down(i)
	}
	for len(sc.heap) > 0 {
		top := sc.pop()
		i := int32(uint32(top))
		if syms[i] < 0 || int(sc.next[i]) >= n {
			continue
		}
		j := sc.next[i]
		v, ok := merges.get(pairKey(syms[i], syms[j]))
		if !ok || v>>32 != top>>32 {
			continue // the pair that was meant is gone
		}
		syms[i], syms[j] = int32(uint32(v)), -1
		sc.next[i] = sc.next[j]
		if k := sc.next[i]; int(k) < n {
			sc.prev[k] = i
			if v, ok := sc.pair(merges, i, k); ok {
				sc.push(v>>32<<32 | uint64(i))
			}
		}
		if k := sc.prev[i]; k >= 0 {
			if v, ok := sc.pair(merges, k, i); ok {
				sc.push(v>>32<<32 | uint64(k))
			}
		}
	}
	for i := int32(0); int(i) < n; i = sc.next[i] {
		dst = append(dst, syms[i])
	}
	return dst
}

func (sc *mergeScratch) pair(merges *table, i, j int32) (uint64, bool) {
	v, ok := merges.get(pairKey(sc.syms[i], sc.syms[j]))
	if ok && sc.joined != nil {
		sc.joined(int32(uint32(v)), sc.syms[i], sc.syms[j])
	}
	return v, ok
}

// mergeShort looks at all pairs each time, keeping their ranks, which for short words beats a heap.
func mergeShort(dst, syms []int32, merges *table) []int32 {
	const none = uint64(1<<63 | 1<<62)
	var vals [24]uint64
	for i := 0; i+1 < len(syms); i++ {
		vals[i] = none
		if v, ok := merges.get(pairKey(syms[i], syms[i+1])); ok {
			vals[i] = v
		}
	}
	for len(syms) > 1 {
		best, at := none, -1
		for i := range len(syms) - 1 {
			if vals[i]>>32 < best>>32 {
				best, at = vals[i], i
			}
		}
		if at < 0 {
			break
		}
		syms[at] = int32(uint32(best))
		copy(syms[at+1:], syms[at+2:])
		copy(vals[at:], vals[at+1:len(syms)-1])
		syms = syms[:len(syms)-1]
		for i := max(at-1, 0); i <= at && i+1 < len(syms); i++ {
			vals[i] = none
			if v, ok := merges.get(pairKey(syms[i], syms[i+1])); ok {
				vals[i] = v
			}
		}
	}
	return append(dst, syms...)
}

func (sc *mergeScratch) push(v uint64) {
	h := append(sc.heap, v)
	i := len(h) - 1
	for i > 0 && h[(i-1)/2] > v {
		h[i] = h[(i-1)/2]
		i = (i - 1) / 2
	}
	h[i] = v
	sc.heap = h
}

func (sc *mergeScratch) pop() uint64 {
	h := sc.heap
	top := h[0]
	h[0] = h[len(h)-1]
	sc.heap = h[:len(h)-1]
	if len(sc.heap) > 0 {
		sc.down(0)
	}
	return top
}

func (sc *mergeScratch) down(i int) {
	h := sc.heap
	v := h[i]
	for {
		k := 2*i + 1
		if k >= len(h) {
			break
		}
		if k+1 < len(h) && h[k+1] < h[k] {
			k++
		}
		if h[k] >= v {
			break
		}
		h[i] = h[k]
		i = k
	}
	h[i] = v
}
