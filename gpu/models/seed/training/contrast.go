package training

import (
	"fmt"
	"math"
)

// contrast is the loss of the first stage on products s0 [B B] of unit vectors, image i times text j, divided by a temperature: the
// mean of the cross entropies of rows and of columns, the target of i being i, with label smoothing a:
//
//	s = s0/temp;  CE = (1-a)(-log p[i]) + a/C Σ_j (-log p[j]);  loss = (CE(s) + CE(sᵀ))/2
//
// It replaces s0 by the gradient to it, and returns that to the temperature, -Σ ds·s/temp.
func contrast(s0 []float32, b int, temp, smoothing float64) (loss, dtemp float64, err error) {
	if len(s0) != b*b || b < 2 {
		return 0, 0, fmt.Errorf("training: a contrast of %d products, want %d x %d of at least two pairs", len(s0), b, b)
	}
	s, ds := make([]float64, b*b), make([]float64, b*b)
	for i, v := range s0 {
		s[i] = float64(v) / temp
	}
	low := smoothing / float64(b)
	// line adds one row or column: element k stands at from + k·step, the target at k = at.
	line := func(from, step, at int) {
		most := math.Inf(-1)
		for k := range b {
			most = max(most, s[from+k*step])
		}
		sum := 0.0
		for k := range b {
			sum += math.Exp(s[from+k*step] - most)
		}
		norm := most + math.Log(sum)
		for k := range b {
			v := s[from+k*step]
			target := low
			if k == at {
				target += 1 - smoothing
			}
			loss += target * (norm - v)
			ds[from+k*step] += (math.Exp(v-norm) - target) / float64(b) / 2
		}
	}
	for i := range b {
		line(i*b, 1, i)
		line(i, b, i)
	}
	loss /= 2 * float64(b)
	for i, d := range ds {
		dtemp -= d * s[i]
		s0[i] = float32(d / temp)
	}
	return loss, dtemp / temp, nil
}
