package generate

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Sampler chooses tokens by their scores.
type Sampler struct {
	// Temperature divides the scores; 0 takes the best token, the lowest id on ties.
	Temperature float64
	// TopP draws from the fewest best tokens whose probabilities sum to at least this; 0 and 1 draw from all.
	TopP float64
	// Seed decides all draws: number n of a row follows from seed, row and n alone.
	Seed uint64
}

// Validate names every setting that cannot work.
func (s Sampler) Validate() error {
	var errs []error
	if !(s.Temperature >= 0) || math.IsInf(s.Temperature, 0) {
		errs = append(errs, fmt.Errorf("generate: --temperature %v: want 0 (the best token) or more", s.Temperature))
	}
	if !(s.TopP >= 0 && s.TopP <= 1) {
		errs = append(errs, fmt.Errorf("generate: --top-p %v: want more than 0 and at most 1", s.TopP))
	}
	return errors.Join(errs...)
}

var errScores = errors.New("no token has a finite score: weights or adapter are damaged")

// choose returns a token. Scores of -Inf are of tokens that may not follow.
func (s Sampler) choose(scores []float32, row, n uint64) (int32, error) {
	best := -1
	for i, v := range scores {
		if v != v {
			return 0, errScores
		}
		if best < 0 || v > scores[best] {
			best = i
		}
	}
	if best < 0 || math.IsInf(float64(scores[best]), 0) {
		return 0, errScores
	}
	if s.Temperature == 0 {
		return int32(best), nil
	}
	// The best token has weight 1, so that no sum overflows or vanishes.
	top := float64(scores[best])
	weights := make([]float64, len(scores))
	total, count := 0.0, 0
	for i, v := range scores {
		if w := math.Exp((float64(v) - top) / s.Temperature); w > 0 {
			weights[i] = w
			total += w
			count++
		}
	}
	u := s.uniform(row, n)
	if s.TopP > 0 && s.TopP < 1 {
		return nucleus(weights, total, s.TopP, u, count), nil
	}
	return draw(weights, u*total, func(i int) int { return i }, len(weights)), nil
}

// nucleus draws from the fewest best tokens with a share of at least p of the total weight.
func nucleus(weights []float64, total, p, u float64, count int) int32 {
	// Tokens below this weight have less than 1-p of the total all together: none of them can be needed, and few are left to sort.
	least := (1 - p) * total / float64(count)
	var ids []int32
	for i, w := range weights {
		if w >= least && w > 0 {
			ids = append(ids, int32(i))
		}
	}
	slices.SortFunc(ids, func(a, b int32) int { return cmp.Or(cmp.Compare(weights[b], weights[a]), cmp.Compare(a, b)) })
	sum, n := 0.0, 0
	for n < len(ids) && (n == 0 || sum < p*total) {
		sum += weights[ids[n]]
		n++
	}
	return draw(weights, u*sum, func(i int) int { return int(ids[i]) }, n)
}

// draw returns the token in whose stretch of the weights, laid end to end in the order of at, x lies.
func draw(weights []float64, x float64, at func(int) int, n int) int32 {
	last := 0
	for i := range n {
		id := at(i)
		if weights[id] == 0 {
			continue
		}
		last = id
		if x -= weights[id]; x < 0 {
			break
		}
	}
	return int32(last)
}

const gamma = 0x9e3779b97f4a7c15 // of splitmix64

// uniform is number n of a row, in [0, 1).
func (s Sampler) uniform(row, n uint64) float64 {
	return float64(mix(mix(mix(s.Seed+gamma)+row+gamma)+n+gamma)>>11) / (1 << 53)
}

// mix is the finalizer of splitmix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
