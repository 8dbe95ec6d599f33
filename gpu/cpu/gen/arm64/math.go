package main

import (
	"math"

	"sower/gpu/cpu/gen/poly"
)

// These are the functions of ../math.go, operation for operation: a change there belongs here, too. Where AVX2 has
// multiply-adds that overwrite a factor, the sum is overwritten here.

// horner evaluates a polynomial, constant first, at s.
func (g *gen) horner(c []float64, s octet) octet {
	p := g.float(c[len(c)-1])
	for i := len(c) - 2; i >= 0; i-- {
		next := g.into(g.float(c[i]), fmla, p, s)
		g.drop(p)
		p = next
	}
	return p
}

// multiplyAdd is d += n·c.
func (g *gen) multiplyAdd(d octet, op three, n octet, c float64) {
	m := g.float(c)
	g.into(d, op, n, m)
	g.drop(m)
}

// split writes x = n·ln2 + r with |r| ≤ ln2/2 and returns n and exp(r)-1.
func (g *gen) split(x octet) (n, em1 octet) {
	n = g.with(fmul, x, 1/math.Ln2)
	g.to(n, frintn, n)
	r := g.copyOf(x)
	g.multiplyAdd(r, fmls, n, poly.Ln2High)
	g.multiplyAdd(r, fmls, n, poly.Ln2Low)
	q := g.horner(poly.Exp(), r)
	r2 := g.of(fmul, r, r)
	g.into(r, fmla, r2, q) // exp(r)-1 = r + r²·q
	g.drop(q, r2)
	return n, r
}

// exp returns exp(x) for x ≤ 0, within 1 unit in the last place; what is below exp(-87) = 1.6e-38 becomes 0, NaN stays. x
// is not needed any more.
func (g *gen) exp(x octet) octet {
	lowest := g.float(-87)
	zero := g.of(fcmgt, lowest, x) // x < -87; false for NaN
	g.into(x, fmax, x, lowest)
	g.drop(lowest)
	n, e := g.split(x)
	one := g.float(1)
	g.into(e, fadd, e, one)
	g.to(n, fcvtns, n)
	g.to(n, shl23, n)
	g.into(e, add, n, e) // times 2^n
	g.into(e, bic, e, zero)
	g.drop(x, one, n, zero)
	return e
}

// elementwise emits a kernel that maps x to y; f may reuse the registers of its argument and returns others or the same.
func (g *gen) elementwise(name, doc string, f func(x octet) octet) {
	g.kernel(name, frame(2), "n int, x, y *float32", doc)
	const n, x, y = "R0", "R1", "R2"
	g.param("n", n)
	g.param("x", x)
	g.param("y", y)
	g.line("MOVD $%s(SB), %s", table, constantsAt)
	g.row("loop", n, []pointer{{reg: x, in: true}, {reg: y, out: true}}, func(p []string, _ string) {
		g.store(f(g.load(p[0])), p[1])
	})
	g.end()
}

// gelu computes x·Φ(x) from the small tail q = Φ(-|x|): see ../math.go.
func (g *gen) gelu() {
	c, slope, offset := poly.Mills()
	g.elementwise("geluNEON", "writes x·Φ(x), Φ the normal distribution (erf form), within 6 units in the last place (0.7 on average) where that "+
		"exceeds 1e-36: the bits of AVX2.", func(x octet) octet {
		t := g.to(g.octet(), fabs, x)
		isFar := g.with(fcmgt, t, 13) // t > 13: q is below 1e-38
		far := g.float(poly.Far)
		g.into(t, fmin, t, far)
		g.drop(far)
		h := g.of(fmul, t, t)
		low := g.to(g.octet(), fneg, h)
		g.into(low, fmla, t, t) // t² - h, the rounding error of h
		half := g.float(-0.5)
		g.into(h, fmul, h, half)
		e := g.exp(h)
		g.into(low, fmul, e, low)
		g.into(e, fmla, low, half) // exp(-(h+low)/2) ≈ e·(1 - low/2)
		g.drop(low, half)
		shift := g.float(poly.Shift)
		d := g.of(fadd, t, shift)
		rest := g.float(1)
		w := g.of(fdiv, rest, d)
		g.into(rest, fmls, d, w) // 1 - d·w
		g.into(d, fsub, d, shift)
		g.into(d, fsub, t, d)
		g.into(rest, fmls, d, w)    // 1 - (t+4)·w, exactly but for its last rounding
		g.into(rest, fmul, w, rest) // what w lacks
		g.drop(t, shift, d)
		s, m := g.float(offset), g.float(slope)
		g.into(s, fmla, w, m)
		g.into(s, fmla, rest, m)
		g.into(w, fadd, w, rest)
		g.drop(m, rest)
		p := g.horner(c, s)
		g.drop(s)
		g.into(p, fmul, w, p)
		g.into(p, fmul, e, p) // q
		g.into(p, bic, p, isFar)
		g.into(p, fmul, x, p) // x·q
		g.drop(w, e, isFar)
		right := g.of(fsub, x, p)
		g.to(x, cmlt, x)
		g.into(x, bsl, p, right)
		g.drop(p, right)
		return x
	})
}

// tanh is e/(e+2) with e = exp(2|x|)-1, which loses no digits near 0, and the sign of x.
func (g *gen) tanh() {
	g.elementwise("tanhNEON", "writes tanh(x), within 4 units in the last place: the bits of AVX2.", func(x octet) octet {
		t := g.to(g.octet(), fabs, x)
		g.into(t, fadd, t, t)
		most := g.float(20)
		g.into(t, fmin, t, most) // tanh(10) rounds to 1; NaN stays
		g.drop(most)
		n, e := g.split(t)
		g.drop(t)
		g.to(n, fcvtns, n)
		g.to(n, shl23, n)
		one := g.float(1)
		power := g.into(n, add, n, one) // 2^n
		less := g.into(one, fsub, power, one)
		g.into(less, fmla, power, e) // 2^n·(exp(r)-1) + (2^n - 1)
		g.drop(power, e)
		under := g.with(fadd, less, 2)
		g.into(under, fdiv, less, under)
		g.drop(less)
		sign := g.bits(1 << 31)
		g.into(sign, and, x, sign)
		g.into(under, orr, under, sign)
		g.drop(x, sign)
		return under
	})
}
