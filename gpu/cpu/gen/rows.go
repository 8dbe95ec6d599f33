package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// row walks over n elements of one or more arrays: full calls for 8 elements at a time, then once with a mask for the
// rest. Both may use the pointers at index 0 only; row advances them.
func row(label string, n Register, pointers []Register, body func(mask VecVirtual)) {
	left := GP64()
	MOVQ(n, left)
	SUBQ(Imm(8), left)
	JL(LabelRef(label + "Tail"))
	Label(label)
	body(nil)
	for _, p := range pointers {
		ADDQ(Imm(32), p)
	}
	SUBQ(Imm(8), left)
	JGE(LabelRef(label))
	Label(label + "Tail")
	ADDQ(Imm(8), left)
	JZ(LabelRef(label + "Done"))
	body(tailMask(left))
	Label(label + "Done")
}

// load reads 8 elements, or zeros where the mask is off; store writes the elements where it is on. A nil mask is all on.
func load(p Register, mask VecVirtual) VecVirtual {
	v := YMM()
	if mask == nil {
		VMOVUPS(Mem{Base: p}, v)
	} else {
		VMASKMOVPS(Mem{Base: p}, mask, v)
	}
	return v
}

func store(v, mask VecVirtual, p Register) {
	if mask == nil {
		VMOVUPS(v, Mem{Base: p})
	} else {
		VMASKMOVPS(v, mask, Mem{Base: p})
	}
}

// across combines the 8 lanes of v: halves, then pairs, then neighbours. The result stands in every lane.
func across(v VecVirtual, combine func(a, b, dst Op)) {
	t := YMM()
	VPERM2F128(Imm(1), v, v, t)
	combine(t, v, v)
	VPERMILPS(Imm(0b01_00_11_10), v, t)
	combine(t, v, v)
	VPERMILPS(Imm(0b10_11_00_01), v, t)
	combine(t, v, v)
}

func addPS(a, b, dst Op) { VADDPS(a, b, dst) }

func maxPS(a, b, dst Op) { VMAXPS(a, b, dst) }

func copyOf(p Register) Register {
	c := GP64()
	MOVQ(p, c)
	return c
}

func add() {
	TEXT("addAVX2", NOSPLIT, "func(n int, a, b, y *float32)")
	Doc("addAVX2 writes a + b; y may be a or b.")
	Pragma("noescape")
	n := Load(Param("n"), GP64())
	a := Load(Param("a"), GP64())
	b := Load(Param("b"), GP64())
	y := Load(Param("y"), GP64())
	row("add", n, []Register{a, b, y}, func(mask VecVirtual) {
		v := load(a, mask)
		VADDPS(load(b, mask), v, v)
		store(v, mask, y)
	})
	VZEROUPPER()
	RET()
}

// softmax subtracts the largest element first, so nothing overflows; the scale of attention is folded in.
func softmax() {
	TEXT("softmaxAVX2", NOSPLIT, "func(n int, x *float32, scale float32)")
	Doc("softmaxAVX2 replaces x by exp(scale·(x-max))/sum, scale > 0, within 4 + |scale·(x-max)| units in the last place",
		"where that exceeds 1e-36.")
	Pragma("noescape")
	n := Load(Param("n"), GP64())
	x := Load(Param("x"), GP64())
	scale := YMM()
	VBROADCASTSS(NewParamAddr("scale", 16), scale)

	most, lowest := YMM(), YMM()
	VMOVUPS(bits(0xff800000), lowest) // -Inf
	VMOVAPS(lowest, most)
	p := copyOf(x)
	row("most", n, []Register{p}, func(mask VecVirtual) {
		v := load(p, mask)
		if mask != nil {
			VBLENDVPS(mask, v, lowest, v)
		}
		VMAXPS(v, most, most)
	})
	across(most, maxPS)

	sum := YMM()
	VXORPS(sum, sum, sum)
	p = copyOf(x)
	row("exp", n, []Register{p}, func(mask VecVirtual) {
		v := load(p, mask)
		VSUBPS(most, v, v)
		VMULPS(scale, v, v)
		v = exp(v)
		if mask != nil {
			VANDPS(mask, v, v)
		}
		VADDPS(v, sum, sum)
		store(v, mask, p)
	})
	across(sum, addPS)

	one := YMM()
	VMOVUPS(float(1), one)
	VDIVPS(sum, one, one)
	p = copyOf(x)
	row("divide", n, []Register{p}, func(mask VecVirtual) {
		v := load(p, mask)
		VMULPS(one, v, v)
		store(v, mask, p)
	})
	VZEROUPPER()
	RET()
}

// softmaxGrad computes in float64, 4 elements at a time: a difference of nearly equal numbers decides what the scores learn.
func softmaxGrad() {
	TEXT("softmaxGradAVX2", NOSPLIT, "func(n int, dy, y, dx *float32, scale float64)")
	Doc("softmaxGradAVX2 writes scale·y·(dy - Σ y·dy) for one row, in float64 and rounded once; dx may be dy.")
	Pragma("noescape")
	n := Load(Param("n"), GP64())
	dy := Load(Param("dy"), GP64())
	y := Load(Param("y"), GP64())
	dx := Load(Param("dx"), GP64())
	scale := YMM()
	VBROADCASTSD(NewParamAddr("scale", 32), scale)
	sums := [2]VecVirtual{YMM(), YMM()}
	for _, v := range sums {
		VXORPD(v, v, v)
	}
	p, q := copyOf(dy), copyOf(y)
	row("dot", n, []Register{p, q}, func(mask VecVirtual) {
		v, w := widen(load(p, mask)), widen(load(q, mask))
		for h, sum := range sums {
			VFMADD231PD(w[h], v[h], sum)
		}
	})
	sum, t := sums[0], YMM()
	VADDPD(sums[1], sum, sum)
	VPERM2F128(Imm(1), sum, sum, t)
	VADDPD(t, sum, sum)
	VPERMILPD(Imm(0b0101), sum, t)
	VADDPD(t, sum, sum)
	row("result", n, []Register{dy, y, dx}, func(mask VecVirtual) {
		v, w := widen(load(dy, mask)), widen(load(y, mask))
		out, upper := YMM(), XMM()
		for h := range v {
			VSUBPD(sum, v[h], v[h])
			VMULPD(scale, w[h], w[h])
			VMULPD(w[h], v[h], v[h])
		}
		VCVTPD2PSY(v[0], out.AsX())
		VCVTPD2PSY(v[1], upper)
		VINSERTF128(Imm(1), upper, out, out)
		store(out, mask, dx)
	})
	VZEROUPPER()
	RET()
}

// widen is 8 elements in float64.
func widen(v VecVirtual) [2]VecVirtual {
	w, upper := [2]VecVirtual{YMM(), YMM()}, XMM()
	VEXTRACTF128(Imm(1), v, upper)
	VCVTPS2PD(v.AsX(), w[0])
	VCVTPS2PD(upper, w[1])
	return w
}

// layerNorm reads a row three times (it stays in the L1 cache): mean, then the variance around that mean, then the
// result. A one-pass variance would lose digits when the mean is large.
func layerNorm() {
	TEXT("layerNormAVX2", NOSPLIT, "func(n int, x, weight, bias, y *float32, eps float32)")
	Doc("layerNormAVX2 writes (x-mean)/sqrt(variance+eps)·weight + bias for one row; y may be x.")
	Pragma("noescape")
	n := Load(Param("n"), GP64())
	x := Load(Param("x"), GP64())
	weight := Load(Param("weight"), GP64())
	bias := Load(Param("bias"), GP64())
	y := Load(Param("y"), GP64())
	count := YMM()
	VXORPS(count, count, count)
	VCVTSI2SSQ(n, count.AsX(), count.AsX())
	VBROADCASTSS(count.AsX(), count)
	mean, factor := moments(n, x, count, NewParamAddr("eps", 40))

	row("apply", n, []Register{x, weight, bias, y}, func(mask VecVirtual) {
		v := load(x, mask)
		VSUBPS(mean, v, v)
		VMULPS(factor, v, v)
		b := load(bias, mask)
		VFMADD132PS(load(weight, mask), b, v) // v = v·weight + b
		store(v, mask, y)
	})
	VZEROUPPER()
	RET()
}

// moments are the mean of a row of count elements, and 1/sqrt(variance+eps).
func moments(n, x Register, count VecVirtual, at Mem) (mean, factor VecVirtual) {
	mean = YMM()
	VXORPS(mean, mean, mean)
	p := copyOf(x)
	row("mean", n, []Register{p}, func(mask VecVirtual) {
		VADDPS(load(p, mask), mean, mean)
	})
	across(mean, addPS)
	VDIVPS(count, mean, mean)

	factor = YMM()
	VXORPS(factor, factor, factor)
	p = copyOf(x)
	row("variance", n, []Register{p}, func(mask VecVirtual) {
		v := load(p, mask)
		VSUBPS(mean, v, v)
		if mask != nil {
			VANDPS(mask, v, v)
		}
		VFMADD231PS(v, v, factor)
	})
	across(factor, addPS)
	VDIVPS(count, factor, factor)
	eps, one := YMM(), YMM()
	VBROADCASTSS(at, eps)
	VADDPS(eps, factor, factor)
	VSQRTPS(factor, factor)
	VMOVUPS(float(1), one)
	VDIVPS(factor, one, factor)
	return mean, factor
}

// layerNormGrad reads a row four times: mean, variance, the two sums that the gradient needs, then the gradient itself, together with what
// the row adds to the gradients of weight and bias.
func layerNormGrad() {
	TEXT("layerNormGradAVX2", NOSPLIT, "func(n int, dy, x, weight, dx, dweight, dbias *float32, eps float32)")
	Doc("layerNormGradAVX2 writes factor·(g - mean(g) - h·mean(g·h)) for one row, with h = (x-mean)·factor, factor = 1/sqrt(variance+eps) and",
		"g = dy·weight, and adds dy·h to dweight and dy to dbias; dx may be dy.")
	Pragma("noescape")
	n := Load(Param("n"), GP64())
	dy := Load(Param("dy"), GP64())
	x := Load(Param("x"), GP64())
	weight := Load(Param("weight"), GP64())
	dx := Load(Param("dx"), GP64())
	dweight := Load(Param("dweight"), GP64())
	dbias := Load(Param("dbias"), GP64())
	count := YMM()
	VXORPS(count, count, count)
	VCVTSI2SSQ(n, count.AsX(), count.AsX())
	VBROADCASTSS(count.AsX(), count)
	mean, factor := moments(n, x, count, NewParamAddr("eps", 56))

	sum, along := YMM(), YMM()
	VXORPS(sum, sum, sum)
	VXORPS(along, along, along)
	p, q, r := copyOf(x), copyOf(dy), copyOf(weight)
	row("sums", n, []Register{p, q, r}, func(mask VecVirtual) {
		v, g := load(p, mask), load(q, mask)
		VSUBPS(mean, v, v)
		VMULPS(load(r, mask), g, g)
		VADDPS(g, sum, sum)
		VFMADD231PS(v, g, along)
	})
	across(sum, addPS)
	across(along, addPS)
	VDIVPS(count, sum, sum)
	VMULPS(factor, along, along)
	VDIVPS(count, along, along)

	row("gradient", n, []Register{dy, x, weight, dx, dweight, dbias}, func(mask VecVirtual) {
		h, d := load(x, mask), load(dy, mask)
		VSUBPS(mean, h, h)
		VMULPS(factor, h, h)
		b := load(dbias, mask)
		VADDPS(d, b, b)
		store(b, mask, dbias)
		w := load(dweight, mask)
		VFMADD231PS(d, h, w)
		store(w, mask, dweight)
		VMULPS(load(weight, mask), d, d)
		VSUBPS(sum, d, d)
		VFNMADD231PS(h, along, d)
		VMULPS(factor, d, d)
		store(d, mask, dx)
	})
	VZEROUPPER()
	RET()
}

// sigmoid is 1/(1+exp(-x)), from e = exp(-|x|): 1/(1+e) on the right, e/(1+e) on the left, where 1 - 1/(1+e) would lose
// digits.
func sigmoid(x VecVirtual) VecVirtual {
	t, under, s, left := YMM(), YMM(), YMM(), YMM()
	VORPS(bits(signBit), x, t) // -|x|
	e := exp(t)
	VADDPS(float(1), e, under)
	VMOVUPS(float(1), s)
	VDIVPS(under, s, s)
	VMULPS(e, s, left)
	VBLENDVPS(x, left, s, s) // by the sign bit of x
	return s
}

func gate() {
	TEXT("gateAVX2", NOSPLIT, "func(n int, gate, up, y *float32)")
	Doc("gateAVX2 writes up·gate/(1+exp(-gate)), within 5 units in the last place where that exceeds 1e-36; y may be gate or up.")
	Pragma("noescape")
	n := Load(Param("n"), GP64())
	g := Load(Param("gate"), GP64())
	u := Load(Param("up"), GP64())
	y := Load(Param("y"), GP64())
	row("gateRow", n, []Register{g, u, y}, func(mask VecVirtual) {
		v := load(g, mask)
		s := sigmoid(v)
		VMULPS(v, s, s)
		VMULPS(load(u, mask), s, s)
		store(s, mask, y)
	})
	VZEROUPPER()
	RET()
}

// gateGrad has the derivative of SiLU as s·(1 + g·(1-s)), s the sigmoid.
func gateGrad() {
	TEXT("gateGradAVX2", NOSPLIT, "func(n int, dy, gate, up, dgate, dup *float32)")
	Doc("gateGradAVX2 writes the gradients of up·gate/(1+exp(-gate)) to gate and up, given that of the result.")
	Pragma("noescape")
	n := Load(Param("n"), GP64())
	dy := Load(Param("dy"), GP64())
	g := Load(Param("gate"), GP64())
	u := Load(Param("up"), GP64())
	dg := Load(Param("dgate"), GP64())
	du := Load(Param("dup"), GP64())
	row("gateGrad", n, []Register{dy, g, u, dg, du}, func(mask VecVirtual) {
		v, d := load(g, mask), load(dy, mask)
		s := sigmoid(v)
		to := YMM()
		VMULPS(v, s, to)
		VMULPS(d, to, to)
		slope := YMM()
		VMOVUPS(float(1), slope)
		VSUBPS(s, slope, slope)
		VFMADD213PS(float(1), v, slope) // 1 + g·(1-s)
		VMULPS(s, slope, slope)
		VMULPS(load(u, mask), slope, slope)
		VMULPS(d, slope, slope)
		store(slope, mask, dg)
		store(to, mask, du)
	})
	VZEROUPPER()
	RET()
}
