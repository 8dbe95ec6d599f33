// Package poly makes the polynomials of the row kernels, the same for every kind of processor.
package poly

import "math"

// Ln2High and Ln2Low add up to ln 2; the first has so few bits that its product with a small integer is exact.
var (
	Ln2High = float64(math.Float32frombits(math.Float32bits(math.Ln2) &^ 0xfff))
	Ln2Low  = math.Ln2 - Ln2High
)

// Exp is the polynomial q, constant first, of exp(r) - 1 = r + r²·q(r) for |r| ≤ ln2/2.
func Exp() []float64 {
	const half = 0.34657359 * 1.0001
	c := fit(func(s float64) float64 { return expTail(s * half) }, -1, 1, 6)
	scale := 1.0
	for i := range c {
		c[i] /= scale // from s to r = half·s
		scale *= half
	}
	return c
}

// Mills is P of Φ(-t)·exp(t²/2) = w·P(s) with w = 1/(t + Shift) and s = slope·w + offset, for 0 ≤ t ≤ Far: degree 9,
// error 1.1e-8.
func Mills() (c []float64, slope, offset float64) {
	lo, hi := 1/(Far+Shift), 1.0/Shift
	mid, half := (lo+hi)/2, (hi-lo)/2
	return fit(func(w float64) float64 { return millsRatio(1/w-Shift) / w }, lo, hi, 10), 1 / half, -mid / half
}

// The limits of Mills.
const (
	Shift = 4
	Far   = 13.1
)

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
