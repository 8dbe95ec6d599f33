package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// The block is held in four registers of two rows each. The first half of a register has the columns 0 to 3 of both rows,
// the second half the columns 4 to 7, so that an unpack and VPMADDWD give all eight columns of a butterfly in 32 bits.

const (
	constBits, passBits = 13, 2

	fix0298, fix0390, fix0541, fix0765, fix0899, fix1175 = 2446, 3196, 4433, 6270, 7373, 9633
	fix1501, fix1847, fix1961, fix2053, fix2562, fix3072 = 12299, 15137, 16069, 16819, 20995, 25172
)

// pass transforms the columns of p and returns the transposed result, saturated to 16 bits, in p.
func pass(p [4]VecVirtual, shift int) {
	sum := in(VPADDW, p[0], p[2])  // rows 0+4, 1+5
	diff := in(VPSUBW, p[0], p[2]) // rows 0-4
	odd := in(VPADDW, p[1], p[3])  // rows 3+7 in the second places
	z := in(VPUNPCKHWD, odd, sum)
	a := in(VPUNPCKHWD, p[3], p[0]) // rows 7, 1
	b := in(VPUNPCKHWD, p[2], p[1]) // rows 5, 3
	e := in(VPUNPCKLWD, p[1], p[3]) // rows 2, 6

	z3 := in(VPMADDWD, z, pairs(fix1175-fix1961, fix1175))
	z4 := in(VPMADDWD, z, pairs(fix1175, fix1175-fix0390))
	o0 := in(VPMADDWD, a, pairs(fix0298-fix0899, -fix0899))
	VPADDD(z3, o0, o0)
	o3 := in(VPMADDWD, a, pairs(-fix0899, fix1501-fix0899))
	VPADDD(z4, o3, o3)
	o1 := in(VPMADDWD, b, pairs(fix2053-fix2562, -fix2562))
	VPADDD(z4, o1, o1)
	o2 := in(VPMADDWD, b, pairs(-fix2562, fix3072-fix2562))
	VPADDD(z3, o2, o2)

	t2 := in(VPMADDWD, e, pairs(fix0541, fix0541-fix1847))
	t3 := in(VPMADDWD, e, pairs(fix0541+fix0765, fix0541))
	// A word above 16 zeros, shifted right by 3, is the word times 2^13.
	low := zero()
	t0 := in(VPUNPCKLWD, low, sum)
	t1 := in(VPUNPCKLWD, low, diff)
	for _, t := range []VecVirtual{t0, t1} {
		VPSRAD(Imm(16-constBits), t, t)
		VPADDD(dwords(1<<(shift-1)), t, t)
	}
	e0, e3 := in(VPADDD, t0, t3), in(VPSUBD, t0, t3)
	e1, e2 := in(VPADDD, t1, t2), in(VPSUBD, t1, t2)

	var out [8]VecVirtual
	for i, v := range [4][2]VecVirtual{{e0, o3}, {e1, o2}, {e2, o1}, {e3, o0}} {
		out[i], out[7-i] = in(VPADDD, v[0], v[1]), in(VPSUBD, v[0], v[1])
		VPSRAD(Imm(uint64(shift)), out[i], out[i])
		VPSRAD(Imm(uint64(shift)), out[7-i], out[7-i])
	}

	// Halves of these: rows 0 2, 1 3, 4 6, 5 7, each with columns 0 to 3 first.
	r02, r13 := in(VPACKSSDW, out[0], out[2]), in(VPACKSSDW, out[1], out[3])
	r46, r57 := in(VPACKSSDW, out[4], out[6]), in(VPACKSSDW, out[5], out[7])
	for i, half := range []uint64{0x20, 0x31} {
		even, odd := YMM(), YMM()
		VPERM2I128(Imm(half), r46, r02, even)
		VPERM2I128(Imm(half), r57, r13, odd)
		lo, hi := in(VPUNPCKLWD, even, odd), in(VPUNPCKHWD, even, odd)
		VPUNPCKLDQ(hi, lo, p[2*i])
		VPUNPCKHDQ(hi, lo, p[2*i+1])
	}
}

func inverse() {
	TEXT("inverseAVX2", NOSPLIT, "func(dst *byte, stride int, coefs *int16, quant *uint16)")
	Doc("inverseAVX2 dequantizes 64 coefficients and writes the 8x8 samples of their inverse DCT, rows stride bytes apart.")
	Pragma("noescape")
	dst, stride, coefs, quant := arg("dst"), arg("stride"), arg("coefs"), arg("quant")
	var p [4]VecVirtual
	for i := range p {
		p[i] = YMM()
		VMOVDQU(Mem{Base: coefs, Disp: 32 * i}, p[i])
	}
	below := YMM()
	VEXTRACTI128(Imm(1), p[0], below.AsX())
	for _, v := range p[1:] {
		VPOR(v, below, below)
	}
	VPTEST(below, below)
	JNZ(LabelRef("full"))

	// Only the first row: all rows after the pass over the columns are that row times 4, which wraps here and saturates
	// in the full pass.
	w := XMM()
	VPMULLW(Mem{Base: quant}, p[0].AsX(), w)
	VPSLLW(Imm(passBits), w, w)
	y := YMM()
	VINSERTI128(Imm(1), w, w.AsY(), y)
	lo, hi := in(VPUNPCKLWD, y, y), in(VPUNPCKHWD, y, y)
	VPUNPCKLDQ(lo, lo, p[0])
	VPUNPCKHDQ(lo, lo, p[1])
	VPUNPCKLDQ(hi, hi, p[2])
	VPUNPCKHDQ(hi, hi, p[3])
	JMP(LabelRef("rows"))

	Label("full")
	for i, v := range p {
		VPMULLW(Mem{Base: quant, Disp: 32 * i}, v, v)
		VPERMQ(Imm(0b11_01_10_00), v, v)
	}
	pass(p, constBits-passBits)
	Label("rows")
	pass(p, constBits+passBits+3)

	order := YMM()
	VMOVDQU(data("halves", 4, func(at int) { DATA(at, U32(uint32(at/8+at/4%2*4))) }), order)
	stride3 := GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, stride3)
	for i := range 2 {
		v := in(VPACKSSWB, p[2*i], p[2*i+1])
		VPERMD(v, order, v)
		VPXOR(words(0x8080), v, v)
		x := XMM()
		VEXTRACTI128(Imm(1), v, x)
		VMOVQ(v.AsX(), Mem{Base: dst})
		VMOVHPS(v.AsX(), Mem{Base: dst, Index: stride, Scale: 1})
		VMOVQ(x, Mem{Base: dst, Index: stride, Scale: 2})
		VMOVHPS(x, Mem{Base: dst, Index: stride3, Scale: 1})
		if i == 0 {
			LEAQ(Mem{Base: dst, Index: stride, Scale: 4}, dst)
		}
	}
	VZEROUPPER()
	RET()
}
