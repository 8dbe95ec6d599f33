package main

import "math"

// fit interpolates f at n Chebyshev points of [lo, hi] and returns the polynomial's coefficients, constant first, in
// the variable s = (x - mid)/half that runs over [-1, 1]. Interpolation there is within a small factor of the best
// possible polynomial, and needs no table from anywhere.
func fit(f func(float64) float64, lo, hi float64, n int) []float64 {
	mid, half := (lo+hi)/2, (hi-lo)/2
	value := make([]float64, n)
	angle := func(j, k int) float64 { return math.Pi * float64(j) * (float64(k) + 0.5) / float64(n) }
	for k := range value {
		value[k] = f(mid + half*math.Cos(angle(1, k)))
	}
	sum := make([]float64, n)
	last, this := []float64{1}, []float64{0, 1} // Chebyshev polynomials T0 and T1 as coefficients
	for j := range n {
		c := 0.0
		for k := range value {
			c += value[k] * math.Cos(angle(j, k)) * 2 / float64(n)
		}
		if j == 0 {
			c /= 2
		}
		for i, t := range last {
			sum[i] += c * t
		}
		next := make([]float64, len(this)+1)
		for i, t := range this {
			next[i+1] = 2 * t
		}
		for i, t := range last {
			next[i] -= t
		}
		last, this = this, next
	}
	return sum
}

// expTail is (exp(r) - 1 - r) / r², the part of exp that is worth a polynomial.
func expTail(r float64) float64 {
	term, sum := 0.5, 0.0
	for k := 3.0; math.Abs(term) > 1e-18; k++ {
		sum += term
		term *= r / k
	}
	return sum
}

// millsRatio is Φ(-t)·exp(t²/2) = erfcx(t/√2)/2 for t ≥ 0: what is left of the normal distribution's tail once its
// exponential is taken out.
func millsRatio(t float64) float64 {
	x := t / math.Sqrt2
	if x < 3 {
		return math.Erfc(x) * math.Exp(x*x) / 2
	}
	f := 0.0 // the continued fraction of erfcx
	for k := 200.0; k > 0; k-- {
		f = k / 2 / (x + f)
	}
	return 1 / ((x + f) * math.Sqrt(math.Pi)) / 2
}
