package language

import (
	"math"
	"math/rand/v2"
	"testing"

	"sower/internal/generate"
	"sower/schemas"
)

// TestCounts gives probabilities: they sum to 1 at every place, and what is frequent costs less.
func TestCounts(t *testing.T) {
	const k, images = 37, 500
	c := NewCounts(2, k)
	r := rand.New(rand.NewPCG(1, 1))
	entropy := 0.0
	for range images {
		c.Add([]uint16{uint16(r.IntN(4)), 7})
	}
	for place := range 2 {
		sum := 0.0
		for code := range uint16(k) {
			sum += math.Exp2(-c.Bits(place, code))
		}
		if math.Abs(sum-1) > 1e-9 {
			t.Errorf("place %d: probabilities sum to %v", place, sum)
		}
	}
	for code := range uint16(4) {
		entropy += c.Bits(0, code) / 4
	}
	if math.Abs(entropy-2) > 0.1 {
		t.Errorf("four codes, all alike, cost %v bits, want about 2", entropy)
	}
	if seen, other := c.Bits(1, 7), c.Bits(1, 8); seen > 0.1 || other < 9 {
		t.Errorf("the one code of a place costs %v bits, another %v", seen, other)
	}
}

// TestSurprise compares with the definition.
func TestSurprise(t *testing.T) {
	scores := []float32{1, -2, 300, 299, 0}
	for id := range scores {
		want := -math.Log2(math.Exp(float64(scores[id])-300) / (math.Exp(1-300.) + math.Exp(-2-300.) + 1 + math.Exp(-1) + math.Exp(-300.)))
		if got := surprise(scores, id); math.Abs(got-want) > 1e-9*want+1e-12 {
			t.Errorf("token %d: %v, want %v", id, got, want)
		}
	}
}

// TestWhole knows images from what only looks like one.
func TestWhole(t *testing.T) {
	s := &study{g: &generate.Generator{Vocabulary: &schemas.Vocabulary{Offset: 10, K: 5, Begin: 15, End: 16, ImageLength: 5}}}
	for _, c := range []struct {
		ids  []int32
		want bool
	}{
		{[]int32{10, 14, 12, 16}, true}, {[]int32{10, 14, 16, 16}, false}, {[]int32{10, 14, 12, 2}, false}, {[]int32{10, 14, 16}, false}, {[]int32{10, 14, 12, 13, 16}, false},
		{[]int32{10, 9, 12, 16}, false}, {[]int32{10, 15, 12, 16}, false}, {nil, false},
	} {
		if got := s.whole(c.ids); got != c.want {
			t.Errorf("%v: %v", c.ids, got)
		}
	}
}
