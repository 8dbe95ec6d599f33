package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// packRow needs no transposition: the tile broadcasts single elements of a, so 4 steps of one row may stay together.
func packRow() {
	TEXT("packRowAVX2", NOSPLIT, "func(k4 int, src, dst *float32, rows int)")
	Doc("packRowAVX2 packs a row of 4·k4 elements into its places of [k4][rows][4].")
	Pragma("noescape")
	n := Load(Param("k4"), GP64())
	src := Load(Param("src"), GP64())
	dst := Load(Param("dst"), GP64())
	rows := Load(Param("rows"), GP64())
	SHLQ(Imm(4), rows)
	v := XMM()
	Label("groups")
	VMOVUPS(Mem{Base: src}, v)
	VMOVUPS(v, Mem{Base: dst})
	ADDQ(Imm(16), src)
	ADDQ(rows, dst)
	DECQ(n)
	JNZ(LabelRef("groups"))
	RET()
}

func packCols() {
	TEXT("packCols16", NOSPLIT, "func(k int, src *float32, stride int, dst *float32, width int)")
	Doc("packCols16 copies k rows of 16 elements, stride apart, into 16 columns of a panel [k][width].")
	Pragma("noescape")
	n := Load(Param("k"), GP64())
	src := Load(Param("src"), GP64())
	stride := Load(Param("stride"), GP64())
	dst := Load(Param("dst"), GP64())
	width := Load(Param("width"), GP64())
	SHLQ(Imm(2), stride)
	SHLQ(Imm(2), width)
	lo, hi := YMM(), YMM()
	Label("rows")
	VMOVUPS(Mem{Base: src}, lo)
	VMOVUPS(Mem{Base: src, Disp: 32}, hi)
	VMOVUPS(lo, Mem{Base: dst})
	VMOVUPS(hi, Mem{Base: dst, Disp: 32})
	ADDQ(stride, src)
	ADDQ(width, dst)
	DECQ(n)
	JNZ(LabelRef("rows"))
	VZEROUPPER()
	RET()
}

// transpose brings PyTorch's weights [out][in] into panels [in][width of out], 8x8 elements at a time: pair rows r and
// r+4 in one register, then unpack twice.
func transpose() {
	TEXT("transpose8", NOSPLIT, "func(blocks int, src *float32, stride int, dst *float32, width int)")
	Doc("transpose8 reads 8 rows of 8·blocks elements, stride apart, and writes element k of row r to dst[width·k+r].")
	Pragma("noescape")
	n := Load(Param("blocks"), GP64())
	src := Load(Param("src"), GP64())
	stride := Load(Param("stride"), GP64())
	dst := Load(Param("dst"), GP64())
	width := Load(Param("width"), GP64())
	SHLQ(Imm(2), stride)
	SHLQ(Imm(2), width)
	stride3, src4 := GP64(), GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, stride3)
	row := func(i int) Mem {
		base := src
		if i >= 4 {
			base = src4
		}
		switch i % 4 {
		case 0:
			return Mem{Base: base}
		case 3:
			return Mem{Base: base, Index: stride3, Scale: 1}
		}
		return Mem{Base: base, Index: stride, Scale: uint8(i % 4)}
	}
	Label("blocks")
	LEAQ(Mem{Base: src, Index: stride, Scale: 4}, src4)
	var pair [2][4]VecVirtual // [half of the columns][row and row+4]
	for h := range pair {
		for i := range pair[h] {
			pair[h][i] = YMM()
			VMOVUPS(row(i).Offset(16*h), pair[h][i].AsX())
			VINSERTF128(Imm(1), row(i+4).Offset(16*h), pair[h][i], pair[h][i])
		}
	}
	for _, p := range pair {
		lo01, hi01, lo23, hi23, out := YMM(), YMM(), YMM(), YMM(), YMM()
		VUNPCKLPS(p[1], p[0], lo01)
		VUNPCKHPS(p[1], p[0], hi01)
		VUNPCKLPS(p[3], p[2], lo23)
		VUNPCKHPS(p[3], p[2], hi23)
		column := func(unpack func(...Op), a, b VecVirtual) {
			unpack(a, b, out)
			VMOVUPS(out, Mem{Base: dst})
			ADDQ(width, dst)
		}
		column(VUNPCKLPD, lo23, lo01)
		column(VUNPCKHPD, lo23, lo01)
		column(VUNPCKLPD, hi23, hi01)
		column(VUNPCKHPD, hi23, hi01)
	}
	ADDQ(Imm(32), src)
	DECQ(n)
	JNZ(LabelRef("blocks"))
	VZEROUPPER()
	RET()
}

// round16 rounds 8 float32 to bfloat16, to nearest, ties to even: adding half of the last place that stays, or a little
// less where that place is even, carries into it. The result is in the upper half of each lane, the lower is 0. The
// carry could run over a NaN's exponent: a NaN gets a quiet bit instead.
func round16(x VecVirtual) VecVirtual {
	odd, nan, quiet := YMM(), YMM(), YMM()
	VCMPPS(Imm(3), x, x, nan) // unordered
	VPSRLD(Imm(16), x, odd)
	VPAND(bits(1), odd, odd)
	VPADDD(bits(0x7fff), odd, odd)
	VPADDD(x, odd, odd)
	VPOR(bits(0x400000), x, quiet)
	VBLENDVPS(nan, quiet, odd, odd)
	VPAND(bits(0xffff0000), odd, odd)
	return odd
}

// narrow converts a row to bfloat16: two of them make an element of what the tiles multiply.
func narrow() {
	TEXT("narrowAVX2", NOSPLIT, "func(n8 int, src, dst *float32)")
	Doc("narrowAVX2 rounds 8·n8 elements to bfloat16, two in each of the 4·n8 elements of dst, the first in the lower half.")
	Pragma("noescape")
	n := Load(Param("n8"), GP64())
	src := Load(Param("src"), GP64())
	dst := Load(Param("dst"), GP64())
	Label("groups")
	x, upper := YMM(), YMM()
	VMOVUPS(Mem{Base: src}, x)
	v := round16(x)
	VPSRLD(Imm(16), v, v)
	VEXTRACTI128(Imm(1), v, upper.AsX())
	VPACKUSDW(upper.AsX(), v.AsX(), v.AsX())
	VMOVDQU(v.AsX(), Mem{Base: dst})
	ADDQ(Imm(32), src)
	ADDQ(Imm(16), dst)
	DECQ(n)
	JNZ(LabelRef("groups"))
	VZEROUPPER()
	RET()
}

// pairCols is packCols for bfloat16: rows 2k and 2k+1 go into the halves of an element.
func pairCols() {
	TEXT("pairCols16", NOSPLIT, "func(k int, src *float32, stride int, dst *float32, width int)")
	Doc("pairCols16 rounds 2·k rows of 16 elements, stride apart, to bfloat16 and writes pairs of rows to 16 columns of a",
		"panel [k][width], the first row in the lower half.")
	Pragma("noescape")
	n := Load(Param("k"), GP64())
	src := Load(Param("src"), GP64())
	stride := Load(Param("stride"), GP64())
	dst := Load(Param("dst"), GP64())
	width := Load(Param("width"), GP64())
	SHLQ(Imm(2), stride)
	SHLQ(Imm(2), width)
	Label("rows")
	for h := range 2 {
		even, odd := YMM(), YMM()
		VMOVUPS(Mem{Base: src, Disp: 32 * h}, even)
		VMOVUPS(Mem{Base: src, Index: stride, Scale: 1, Disp: 32 * h}, odd)
		e := round16(even)
		VPSRLD(Imm(16), e, e)
		VPOR(round16(odd), e, e)
		VMOVDQU(e, Mem{Base: dst, Disp: 32 * h})
	}
	LEAQ(Mem{Base: src, Index: stride, Scale: 2}, src)
	ADDQ(width, dst)
	DECQ(n)
	JNZ(LabelRef("rows"))
	VZEROUPPER()
	RET()
}

// packTransposed packs rows that are the columns of its source, as weight gradients need them.
func packTransposed() {
	TEXT("packColumns4AVX2", NOSPLIT, "func(k4 int, src *float32, stride int, dst *float32, rows int)")
	Doc("packColumns4AVX2 reads 4·k4 rows of 4 elements, stride apart, and packs the 4 columns as 4 rows into their places of",
		"[k4][rows][4].")
	Pragma("noescape")
	n := Load(Param("k4"), GP64())
	src := Load(Param("src"), GP64())
	stride := Load(Param("stride"), GP64())
	dst := Load(Param("dst"), GP64())
	rows := Load(Param("rows"), GP64())
	SHLQ(Imm(2), stride)
	SHLQ(Imm(4), rows)
	stride3 := GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, stride3)
	Label("groups")
	r0, r1, r2, r3 := XMM(), XMM(), XMM(), XMM()
	VMOVUPS(Mem{Base: src}, r0)
	VMOVUPS(Mem{Base: src, Index: stride, Scale: 1}, r1)
	VMOVUPS(Mem{Base: src, Index: stride, Scale: 2}, r2)
	VMOVUPS(Mem{Base: src, Index: stride3, Scale: 1}, r3)
	lo01, hi01, lo23, hi23, out := XMM(), XMM(), XMM(), XMM(), XMM()
	VUNPCKLPS(r1, r0, lo01)
	VUNPCKHPS(r1, r0, hi01)
	VUNPCKLPS(r3, r2, lo23)
	VUNPCKHPS(r3, r2, hi23)
	for i, c := range []struct {
		unpack func(...Op)
		a, b   VecVirtual
	}{{VUNPCKLPD, lo23, lo01}, {VUNPCKHPD, lo23, lo01}, {VUNPCKLPD, hi23, hi01}, {VUNPCKHPD, hi23, hi01}} {
		c.unpack(c.a, c.b, out)
		VMOVUPS(out, Mem{Base: dst, Disp: 16 * i})
	}
	LEAQ(Mem{Base: src, Index: stride, Scale: 4}, src)
	ADDQ(rows, dst)
	DECQ(n)
	JNZ(LabelRef("groups"))
	RET()
}
