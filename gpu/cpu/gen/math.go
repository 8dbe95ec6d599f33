package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"

	"sower/gpu/cpu/gen/poly"
)

// Vectors of 8 equal constants, made once each and used as memory operands.
var constants = map[uint32]Mem{}

func bits(u uint32) Mem {
	m, ok := constants[u]
	if !ok {
		m = GLOBL(fmt.Sprintf("const_%08x", u), RODATA|NOPTR)
		for i := range 8 {
			DATA(4*i, U32(u))
		}
		constants[u] = m
	}
	return m
}

func float(x float64) Mem { return bits(math.Float32bits(float32(x))) }

var signBit, allButSign = uint32(1 << 31), uint32(1<<31 - 1)

// horner evaluates a polynomial, constant first, at s.
func horner(c []float64, s VecVirtual) VecVirtual {
	p := YMM()
	VMOVUPS(float(c[len(c)-1]), p)
	for i := len(c) - 2; i >= 0; i-- {
		VFMADD213PS(float(c[i]), s, p) // p = p·s + c
	}
	return p
}

// split writes x = n·ln2 + r with |r| ≤ ln2/2 and returns n and exp(r)-1. ln2 is taken in two parts, the first with so
// few bits that n·ln2 is exact.
func split(x VecVirtual) (n, em1 VecVirtual) {
	n, r := YMM(), YMM()
	VMULPS(float(1/math.Ln2), x, n)
	VROUNDPS(Imm(0), n, n) // to nearest
	VMOVAPS(x, r)
	VFNMADD231PS(float(poly.Ln2High), n, r)
	VFNMADD231PS(float(poly.Ln2Low), n, r)
	q, r2 := horner(poly.Exp(), r), YMM()
	VMULPS(r, r, r2)
	VFMADD213PS(r, r2, q) // exp(r)-1 = r + r²·q
	return n, q
}

// exp returns exp(x) for x ≤ 0, within 1 unit in the last place; what is below exp(-87) = 1.6e-38 becomes 0, NaN stays.
func exp(x VecVirtual) VecVirtual {
	clamped, zero := YMM(), YMM()
	VCMPPS(Imm(1), float(-87), x, zero) // x < -87; false for NaN
	lowest := YMM()
	VMOVUPS(float(-87), lowest)
	VMAXPS(x, lowest, clamped) // the order keeps NaN
	n, e := split(clamped)
	VADDPS(float(1), e, e)
	VCVTPS2DQ(n, n)
	VPSLLD(Imm(23), n, n)
	VPADDD(n, e, e) // times 2^n
	VANDNPS(e, zero, e)
	return e
}

// elementwise emits a kernel that maps x to y, 8 elements at a time. The last, partial vector goes through the same
// instructions under a mask, so that an element's value does not depend on where in the row it stands.
func elementwise(name, doc string, f func(x VecVirtual) VecVirtual) {
	TEXT(name, NOSPLIT, "func(n int, x, y *float32)")
	Doc(doc)
	Pragma("noescape")
	n := Load(Param("n"), GP64())
	x := Load(Param("x"), GP64())
	y := Load(Param("y"), GP64())
	SUBQ(Imm(8), n)
	JL(LabelRef("tail"))
	Label("loop")
	v := YMM()
	VMOVUPS(Mem{Base: x}, v)
	VMOVUPS(f(v), Mem{Base: y})
	ADDQ(Imm(32), x)
	ADDQ(Imm(32), y)
	SUBQ(Imm(8), n)
	JGE(LabelRef("loop"))
	Label("tail")
	ADDQ(Imm(8), n)
	JZ(LabelRef("done"))
	mask := tailMask(n)
	v = YMM()
	VMASKMOVPS(Mem{Base: x}, mask, v)
	VMASKMOVPS(f(v), mask, Mem{Base: y})
	Label("done")
	VZEROUPPER()
	RET()
}

var maskTable *Mem

// tailMask selects the first n < 8 lanes.
func tailMask(n Register) VecVirtual {
	if maskTable == nil {
		m := GLOBL("tail_mask", RODATA|NOPTR)
		for i := range 16 {
			DATA(4*i, I32(-int32((15-i)/8)))
		}
		maskTable = &m
	}
	at, back, mask := GP64(), GP64(), YMM()
	LEAQ(*maskTable, at)
	MOVQ(n, back)
	NEGQ(back)
	VMOVUPS(Mem{Base: at, Index: back, Scale: 4}.Offset(32), mask)
	return mask
}

// normalTail returns q = Φ(-|x|), Φ the normal distribution, and e = exp(-x²/2).
//
//	q = e · w·P(w),  w = 1/(|x| + 4)
//
// P is a polynomial of degree 9 for the Mills ratio divided by w, error 1.1e-8. Two roundings would be magnified: that of
// x² by the exponential and that of w by the slope of P. Fused multiply-adds give what was lost, and it is put back to
// first order.
func normalTail(x VecVirtual) (q, e VecVirtual) {
	const shift, far = poly.Shift, poly.Far
	c, slope, offset := poly.Mills()
	t, isFar := YMM(), YMM()
	VANDPS(bits(allButSign), x, t)
	VCMPPS(Imm(14), float(13), t, isFar) // t > 13: q is below 1e-38
	VMINPS(float(far), t, t)
	h, low := YMM(), YMM()
	VMULPS(t, t, h)
	VMOVAPS(h, low)
	VFMSUB231PS(t, t, low) // t² - h, the rounding error of h
	VMULPS(float(-0.5), h, h)
	e = exp(h)
	VMULPS(e, low, low)
	VFMADD231PS(float(-0.5), low, e) // exp(-(h+low)/2) ≈ e·(1 - low/2)
	d, w, s, rest := YMM(), YMM(), YMM(), YMM()
	VADDPS(float(shift), t, d)
	VMOVUPS(float(1), rest)
	VDIVPS(d, rest, w)
	VFNMADD231PS(d, w, rest) // 1 - d·w
	VSUBPS(float(shift), d, d)
	VSUBPS(d, t, d)
	VFNMADD231PS(d, w, rest) // 1 - (t+4)·w, exactly but for its last rounding
	VMULPS(w, rest, rest)    // what w lacks
	VMOVUPS(float(offset), s)
	VFMADD231PS(float(slope), w, s)
	VFMADD231PS(float(slope), rest, s)
	VADDPS(rest, w, w)
	q = horner(c, s)
	VMULPS(w, q, q)
	VMULPS(e, q, q)
	VANDNPS(q, isFar, q)
	return q, e
}

// gelu computes x·Φ(x) from the small tail q = Φ(-|x|): x·q on the left, x - x·q on the right. So neither side loses
// digits the way 1 + erf(x/√2) does for negative x.
func gelu() {
	elementwise("geluAVX2", "geluAVX2 writes x·Φ(x), Φ the normal distribution (erf form), within 6 units in the last place (0.7 on average) where "+
		"that exceeds 1e-36.", func(x VecVirtual) VecVirtual {
		p, _ := normalTail(x)
		VMULPS(x, p, p) // x·q
		right := YMM()
		VSUBPS(p, x, right)
		VBLENDVPS(x, p, right, right) // by the sign bit of x
		return right
	})
}

// geluGrad has the derivative Φ(x) + x·φ(x), Φ from the tail, q on the left and 1 - q on the right, and φ = exp(-x²/2)/√(2π).
func geluGrad() {
	TEXT("geluGradAVX2", NOSPLIT, "func(n int, dy, x, dx *float32)")
	Doc("geluGradAVX2 writes dy·(Φ(x) + x·φ(x)), within 2e-7 of the larger of |dy| and the result.")
	Pragma("noescape")
	n := Load(Param("n"), GP64())
	dy := Load(Param("dy"), GP64())
	px := Load(Param("x"), GP64())
	dx := Load(Param("dx"), GP64())
	row("geluGrad", n, []Register{dy, px, dx}, func(mask VecVirtual) {
		x := load(px, mask)
		q, e := normalTail(x)
		right := YMM()
		VMOVUPS(float(1), right)
		VSUBPS(q, right, right)
		VBLENDVPS(x, q, right, right) // by the sign bit of x
		VMULPS(float(0.3989422804014327), e, e)
		VFMADD231PS(x, e, right)
		VMULPS(load(dy, mask), right, right)
		store(right, mask, dx)
	})
	VZEROUPPER()
	RET()
}

// tanh is e/(e+2) with e = exp(2|x|)-1, which loses no digits near 0, and the sign of x.
func tanh() {
	elementwise("tanhAVX2", "tanhAVX2 writes tanh(x), within 4 units in the last place.", func(x VecVirtual) VecVirtual {
		t, most := YMM(), YMM()
		VANDPS(bits(allButSign), x, t)
		VADDPS(t, t, t)
		VMOVUPS(float(20), most)
		VMINPS(t, most, t) // tanh(10) rounds to 1; the order keeps NaN
		n, e := split(t)
		power := YMM()
		VCVTPS2DQ(n, n)
		VPSLLD(Imm(23), n, n)
		VPADDD(float(1), n, power) // 2^n
		less := YMM()
		VSUBPS(float(1), power, less)
		VFMADD213PS(less, power, e) // 2^n·(exp(r)-1) + (2^n - 1)
		under, out := YMM(), YMM()
		VADDPS(float(2), e, under)
		VDIVPS(under, e, out)
		sign := YMM()
		VANDPS(bits(signBit), x, sign)
		VORPS(sign, out, out)
		return out
	})
}
