package retrieval

import (
	"math"
	"math/rand/v2"
	"testing"
)

func unit(r *rand.Rand, n int) []float32 {
	v, sum := make([]float32, n), 0.0
	for i := range v {
		v[i] = float32(r.NormFloat64())
		sum += float64(v[i]) * float64(v[i])
	}
	for i := range v {
		v[i] /= float32(math.Sqrt(sum))
	}
	return v
}

// TestRecall finds what is the same, and by chance what has nothing in common.
func TestRecall(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var a, b [][]float32
	for range 400 {
		a, b = append(a, unit(r, 16)), append(b, unit(r, 16))
	}
	if got := RecallOf(a, a); got != (Recall{100, 100, 100}) {
		t.Errorf("each finds itself: %+v", got)
	}
	if got := RecallOf(a, b); got.At1 > 2 || got.At10 > 6 || got.At10 < 0.5 {
		t.Errorf("chance: %+v", got)
	}
	if got := Of(a, a); got.Mean != 100 {
		t.Errorf("%+v", got)
	}
}
