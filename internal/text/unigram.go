package text

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"unicode/utf8"
)

// unigram finds the cut of the text whose tokens have the best sum of scores. A character that no token covers costs 10
// more than the worst token. Kudo, "Subword regularization", 2018.
type unigram struct {
	scores       []float64 // by id; NaN for tokens that are not found in text
	find         *trie
	unk          int32
	unkScore     float64
	byteFallback bool
	fallback     [256]int32
	single       bool           // sums are rounded to float32 at each step, as in the sentencepiece library
	user         map[int32]bool // user-defined tokens
	unused       bool           // it has tokens that are never found in text
}

// newUnigram takes the tokens that may be found in text; others are "".
func newUnigram(find []string, scores []float64, unk int32) (*unigram, error) {
	m := &unigram{scores: scores, find: newTrie(), unk: unk}
	low, total := math.Inf(1), 0
	for id, s := range find {
		if math.IsNaN(scores[id]) || math.IsInf(scores[id], 0) {
			return nil, fmt.Errorf("token %d (%q): score %v", id, s, scores[id])
		}
		if total += len(s); total > maxTrie {
			return nil, fmt.Errorf("tokens of more than %d bytes", maxTrie)
		}
		if s != "" {
			m.find.put(s, int32(id))
			low = min(low, scores[id])
		}
	}
	if math.IsInf(low, 1) {
		return nil, errors.New("no token can be found in text")
	}
	m.setLowest(low)
	for b := range m.fallback {
		m.fallback[b] = -1
	}
	return m, nil
}

func (m *unigram) setLowest(low float64) { m.unkScore = low - 10 }

type bestEnd struct {
	score float64
	start int32
	id    int32
}

var lattices = sync.Pool{New: func() any { return new([]bestEnd) }}

func (m *unigram) encode(dst []int32, s string) []int32 {
	sc := lattices.Get().(*[]bestEnd)
	best := *sc
	if cap(best) < len(s)+1 {
		best = make([]bestEnd, len(s)+1)
	}
	best = best[:len(s)+1]
	for i := range best {
		best[i] = bestEnd{start: -1}
	}
	reach := func(end int, score float64, start int, id int32) {
		if b := &best[end]; b.start < 0 || score > b.score {
			*b = bestEnd{score, int32(start), id}
		}
	}
	for at := 0; at < len(s); {
		_, width := utf8.DecodeRuneInString(s[at:])
		here := best[at].score
		alone := false
		node := int32(0)
		for i := at; i < len(s); i++ {
			to, ok := m.find.next.get(pairKey(node, int32(s[i])))
			if !ok {
				break
			}
			node = int32(to)
			id := m.find.value[node]
			if id < 0 {
				continue
			}
			n := i + 1 - at
			score := m.scores[id]
			if m.user[id] {
				score = float64(float32(n-1) * 0.1) // measured: a tenth for each byte but the first
			}
			score += here
			if m.single {
				score = float64(float32(score))
			}
			reach(i+1, score, at, id)
			alone = alone || n == width
		}
		if !alone {
			score := m.unkScore + here
			if m.single {
				score = float64(float32(score))
			}
			reach(at+width, score, at, -1)
		}
		at += width
	}
	// The path is found from its end; it is appended backwards and turned around.
	from, unknown := len(dst), false
	for end := len(s); end > 0; {
		b := best[end]
		switch {
		case b.id >= 0 && b.id != m.unk:
			dst = append(dst, b.id)
		case m.byteFallback && m.hasBytes(s[b.start:end]):
			for i := end - 1; i >= int(b.start); i-- {
				dst = append(dst, m.fallback[s[i]])
			}
		case !unknown: // neighbouring unknowns are one
			dst = append(dst, m.unk)
		}
		unknown = b.id < 0 || b.id == m.unk
		end = int(b.start)
	}
	for i, j := from, len(dst)-1; i < j; i, j = i+1, j-1 {
		dst[i], dst[j] = dst[j], dst[i]
	}
	*sc = best
	lattices.Put(sc)
	return dst
}

func (m *unigram) hasBytes(s string) bool {
	for i := range len(s) {
		if m.fallback[s[i]] < 0 {
			return false
		}
	}
	return true
}

func (m *unigram) json(names []string) (any, error) {
	if m.unused {
		return nil, errors.New("unused pieces have no equal in tokenizer.json")
	}
	vocab := make([][2]any, len(names))
	for id, s := range names {
		score := 0.0
		if id < len(m.scores) {
			score = m.scores[id]
		}
		vocab[id] = [2]any{s, score}
	}
	return object{"type": "Unigram", "unk_id": m.unk, "byte_fallback": m.byteFallback, "vocab": vocab}, nil
}
