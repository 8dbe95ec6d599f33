package text

import (
	"hash/maphash"
	"math/bits"
	"strings"
	"sync/atomic"
)

// table maps pairs of numbers to a number, with open addressing: several times faster than a Go map, and tokenizing is
// little else than looking up pairs. It is filled once and read by all.
type table struct {
	keys  []uint64 // 0 is an empty slot; keys are stored plus one
	vals  []uint64
	shift uint
	n     int
}

func newTable(n int) *table {
	size := 1 << bits.Len(uint(n+n/2+1))
	return &table{keys: make([]uint64, size), vals: make([]uint64, size), shift: uint(64 - bits.Len(uint(size-1)))}
}

func (t *table) slot(key uint64) int { return int(key * 0x9E3779B97F4A7C15 >> t.shift) }

// put sets a value; a later one for the same key wins.
func (t *table) put(key, val uint64) {
	if (t.n+1)*3 > len(t.keys)*2 { // never full, or get would not end
		old := *t
		*t = *newTable(len(old.keys))
		for i, k := range old.keys {
			if k != 0 {
				t.put(k-1, old.vals[i])
			}
		}
	}
	mask := len(t.keys) - 1
	i := t.slot(key) & mask
	for t.keys[i] != 0 && t.keys[i] != key+1 {
		i = (i + 1) & mask
	}
	if t.keys[i] == 0 {
		t.n++
	}
	t.keys[i], t.vals[i] = key+1, val
}

func (t *table) get(key uint64) (uint64, bool) {
	mask := len(t.keys) - 1
	for i := t.slot(key) & mask; t.keys[i] != 0; i = (i + 1) & mask {
		if t.keys[i] == key+1 {
			return t.vals[i], true
		}
	}
	return 0, false
}

func pairKey(a, b int32) uint64 { return uint64(uint32(a))<<32 | uint64(uint32(b)) }

// wordCache remembers the ids of words. It has a fixed number of places, a word has one place, and a new word takes it
// over: so it is bounded, needs no lock, and any number of goroutines share what one has found.
type wordCache struct {
	seed  maphash.Seed
	slots []atomic.Pointer[cached]
}

type cached struct {
	word string
	ids  []int32
}

const (
	cacheSlots   = 1 << 15
	cacheLongest = 48 // bytes; longer words hardly repeat. 32,768 places of at most some 300 bytes
)

func newWordCache() *wordCache {
	return &wordCache{seed: maphash.MakeSeed(), slots: make([]atomic.Pointer[cached], cacheSlots)}
}

func (c *wordCache) place(word string) *atomic.Pointer[cached] {
	return &c.slots[maphash.String(c.seed, word)%cacheSlots]
}

func store(at *atomic.Pointer[cached], word string, ids []int32) {
	at.Store(&cached{strings.Clone(word), append([]int32(nil), ids...)})
}

// trie finds the longest of a set of byte strings that begins a text.
type trie struct {
	next  *table  // node and byte → node
	value []int32 // by node; -1 inside a string
}

func newTrie() *trie { return &trie{next: newTable(16), value: []int32{-1}} }

func (t *trie) put(s string, value int32) {
	node := int32(0)
	for i := range len(s) {
		key := pairKey(node, int32(s[i]))
		to, ok := t.next.get(key)
		if !ok {
			to = uint64(len(t.value))
			t.value = append(t.value, -1)
			t.next.put(key, to)
		}
		node = int32(to)
	}
	t.value[node] = value
}

// longest returns the value and length of the longest match, or -1.
func (t *trie) longest(s string) (value int32, n int) {
	value = -1
	node := int32(0)
	for i := range len(s) {
		to, ok := t.next.get(pairKey(node, int32(s[i])))
		if !ok {
			break
		}
		node = int32(to)
		if t.value[node] >= 0 {
			value, n = t.value[node], i+1
		}
	}
	return value, n
}
