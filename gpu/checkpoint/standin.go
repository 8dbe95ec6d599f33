package checkpoint

import (
	"fmt"
	"math"
	"sort"
	"strings"
)

// StandInRule numbers the rule below; it stands in identities, so a changed rule is a new number.
const StandInRule = 1

const golden = 0x9E3779B97F4A7C15

// standIn is a Source whose elements are a pure function of (tensor name, element index, seed), so that any language
// can make the same weights and no file travels.
//
// For tensor NAME and seed S, in 64-bit wrap-around arithmetic:
//
//	base = fnv1a64(NAME) XOR S*golden
//	r_i  = splitmix64(base + i*golden)        i = row-major element index
//	u_i  = float32(r_i >> 40) * 2^-23 - 1     24 bits, exact, in [-1, 1)
//	w_i  = float32(offset + scale * u_i)      in float64, rounded once
//
// offset and scale follow from name and shape (see spread). docs/numerics.md has the table.
type standIn struct {
	list   []Info
	byName map[string]Info
	seed   uint64
}

// NewStandIn makes stand-in weights of the given names and shapes.
func NewStandIn(tensors []Info, seed uint64) Source {
	s := &standIn{byName: make(map[string]Info, len(tensors)), seed: seed}
	for _, t := range tensors {
		t.DType = F32
		s.list = append(s.list, t)
		s.byName[t.Name] = t
	}
	sort.Slice(s.list, func(i, j int) bool { return s.list[i].Name < s.list[j].Name })
	return s
}

func (s *standIn) Tensors() []Info { return s.list }

func (s *standIn) Find(name string) (Info, bool) {
	i, ok := s.byName[name]
	return i, ok
}

func (s *standIn) Close() error { return nil }

func (s *standIn) Read(name string, offset int, dst []float32) error {
	info, ok := s.byName[name]
	if !ok {
		return fmt.Errorf("checkpoint: stand-in: no tensor %q", name)
	}
	if offset < 0 || offset+len(dst) > info.Len() {
		return fmt.Errorf("checkpoint: stand-in: read %q: elements %d to %d of %d", name, offset, offset+len(dst), info.Len())
	}
	base := fnv1a64(name) ^ s.seed*golden
	add, scale := spread(name, info.Shape)
	for i := range dst {
		x := base + uint64(offset+i)*golden
		x ^= x >> 30
		x *= 0xBF58476D1CE4E5B9
		x ^= x >> 27
		x *= 0x94D049BB133111EB
		x ^= x >> 31
		u := float64(int64(x>>40)-1<<23) * (1.0 / (1 << 23))
		dst[i] = float32(add + float64(scale*u)) // the conversion keeps the product from being fused into the sum
	}
	return nil
}

func fnv1a64(s string) uint64 {
	h := uint64(0xCBF29CE484222325)
	for i := 0; i < len(s); i++ {
		h = (h ^ uint64(s[i])) * 0x100000001B3
	}
	return h
}

// spread gives the offset and scale of a tensor. The gains keep the 32 queries, and the images, apart: with equal gains
// a random Q-Former gives every query the same code.
func spread(name string, shape []int) (offset, scale float64) {
	suffix := func(ends ...string) bool {
		for _, e := range ends {
			if strings.HasSuffix(name, e) {
				return true
			}
		}
		return false
	}
	switch {
	case len(shape) == 1 && suffix("weight"): // a norm
		return 1, 0.1
	case len(shape) == 1: // a bias
		return 0, 0.02
	case name == "quantize.embedding.weight":
		return 0, 2
	case name == "query_tokens":
		return 0, 1
	case strings.Contains(name, "cls_token") || strings.Contains(name, "pos_embed"):
		return 0, 0.05
	}
	fanIn, gain := 1, 1.0
	for _, d := range shape[1:] {
		fanIn *= d
	}
	switch {
	case name == "encode_task_layer.2.weight" || suffix(".self.query.weight", ".self.key.weight"):
		gain = 3
	case suffix(".output.dense.weight", ".output_query.dense.weight"):
		gain = 0.25
	}
	return 0, float64(gain * math.Sqrt(3/float64(fanIn)))
}
