package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// tile is the heart of every matrix product: 12 accumulators (6 rows x 2 vectors), 2 vectors of B and 2 broadcasts of A
// fill the 16 registers, and 12 multiply-adds per step of k cover the latency of the two FMA ports (2 ports x 4 cycles =
// 8 in flight). Every output is a chain of fused multiply-adds in the order of k, whatever its row, column or tile.
func tile() {
	TEXT("tile6x16", NOSPLIT, "func(k4 int, a, b, c *float32, stride int, accumulate bool, next *float32)")
	Doc("tile6x16 computes c (+)= a·b for 6 rows, 16 columns and 4·k4 steps; a is packed [k4][6][4], b [4·k4][16], the rows",
		"of c lie stride elements apart. next, if not nil, is 512 bytes of the next panel of b to fetch.")
	Pragma("noescape")
	k := Load(Param("k4"), GP64())
	a := Load(Param("a"), GP64())
	b := Load(Param("b"), GP64())
	c := Load(Param("c"), GP64())
	stride := Load(Param("stride"), GP64())
	next := Load(Param("next"), GP64())
	SHLQ(Imm(2), stride)
	stride3, c3 := GP64(), GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, stride3)
	LEAQ(Mem{Base: c, Index: stride3, Scale: 1}, c3)
	row := func(i int) Mem {
		base := c
		if i >= 3 {
			base = c3
		}
		if i%3 == 0 {
			return Mem{Base: base}
		}
		return Mem{Base: base, Index: stride, Scale: uint8(i % 3)}
	}
	for i := range 6 {
		PREFETCHT0(row(i))
		PREFETCHT0(row(i).Offset(60))
	}
	var acc [6][2]VecVirtual
	for i := range acc {
		for j := range acc[i] {
			acc[i][j] = YMM()
			VXORPS(acc[i][j], acc[i][j], acc[i][j])
		}
	}
	b0, b1 := YMM(), YMM()
	broadcast := []VecVirtual{YMM(), YMM()}

	Label("steps")
	for s := range 4 {
		VMOVUPS(Mem{Base: b, Disp: s * 64}, b0)
		VMOVUPS(Mem{Base: b, Disp: s*64 + 32}, b1)
		for i := range 6 {
			v := broadcast[i%2]
			VBROADCASTSS(Mem{Base: a, Disp: i*16 + s*4}, v)
			VFMADD231PS(b0, v, acc[i][0])
			VFMADD231PS(b1, v, acc[i][1])
		}
		if s%2 == 1 {
			PREFETCHT0(Mem{Base: a, Disp: 8*96 + s/2*64})
		}
	}
	ADDQ(Imm(96), a)
	ADDQ(U32(256), b)
	DECQ(k)
	JNZ(LabelRef("steps"))

	TESTQ(next, next)
	JZ(LabelRef("fetched"))
	for i := range 8 {
		PREFETCHT1(Mem{Base: next, Disp: 64 * i})
	}
	Label("fetched")
	accumulate := Load(Param("accumulate"), GP8())
	TESTB(accumulate, accumulate)
	JZ(LabelRef("store"))
	for i := range 6 {
		VADDPS(row(i), acc[i][0], acc[i][0])
		VADDPS(row(i).Offset(32), acc[i][1], acc[i][1])
	}
	Label("store")
	for i := range 6 {
		VMOVUPS(acc[i][0], row(i))
		VMOVUPS(acc[i][1], row(i).Offset(32))
	}
	VZEROUPPER()
	RET()
}

// packRows needs no transposition: the tile broadcasts single elements of a, so 4 steps of one row may stay together.
func packRows() {
	TEXT("packRows6", NOSPLIT, "func(k4 int, src *float32, stride int, dst *float32)")
	Doc("packRows6 packs 6 rows of 4·k4 elements, stride apart, into [k4][6][4].")
	Pragma("noescape")
	n := Load(Param("k4"), GP64())
	src := Load(Param("src"), GP64())
	stride := Load(Param("stride"), GP64())
	dst := Load(Param("dst"), GP64())
	SHLQ(Imm(2), stride)
	stride3, src3 := GP64(), GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, stride3)
	LEAQ(Mem{Base: src, Index: stride3, Scale: 1}, src3)
	Label("groups")
	var rows [6]VecVirtual
	for i := range rows {
		rows[i] = XMM()
		m := Mem{Base: src}
		if i >= 3 {
			m.Base = src3
		}
		if i%3 > 0 {
			m.Index, m.Scale = stride, uint8(i%3)
		}
		VMOVUPS(m, rows[i])
	}
	for i := range rows {
		VMOVUPS(rows[i], Mem{Base: dst, Disp: 16 * i})
	}
	ADDQ(Imm(16), src)
	ADDQ(Imm(16), src3)
	ADDQ(Imm(96), dst)
	DECQ(n)
	JNZ(LabelRef("groups"))
	RET()
}

func packCols() {
	TEXT("packCols16", NOSPLIT, "func(k int, src *float32, stride int, dst *float32)")
	Doc("packCols16 copies k rows of 16 elements, stride apart, into [k][16].")
	Pragma("noescape")
	n := Load(Param("k"), GP64())
	src := Load(Param("src"), GP64())
	stride := Load(Param("stride"), GP64())
	dst := Load(Param("dst"), GP64())
	SHLQ(Imm(2), stride)
	lo, hi := YMM(), YMM()
	Label("rows")
	VMOVUPS(Mem{Base: src}, lo)
	VMOVUPS(Mem{Base: src, Disp: 32}, hi)
	VMOVUPS(lo, Mem{Base: dst})
	VMOVUPS(hi, Mem{Base: dst, Disp: 32})
	ADDQ(stride, src)
	ADDQ(Imm(64), dst)
	DECQ(n)
	JNZ(LabelRef("rows"))
	VZEROUPPER()
	RET()
}

// transpose brings PyTorch's weights [out][in] into panels [in][16 of out], 8x8 elements at a time: pair rows r and r+4
// in one register, then unpack twice.
func transpose() {
	TEXT("transpose8", NOSPLIT, "func(blocks int, src *float32, stride int, dst *float32)")
	Doc("transpose8 reads 8 rows of 8·blocks elements, stride apart, and writes element k of row r to dst[16·k+r].")
	Pragma("noescape")
	n := Load(Param("blocks"), GP64())
	src := Load(Param("src"), GP64())
	stride := Load(Param("stride"), GP64())
	dst := Load(Param("dst"), GP64())
	SHLQ(Imm(2), stride)
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
	for h, p := range pair {
		lo01, hi01, lo23, hi23, out := YMM(), YMM(), YMM(), YMM(), YMM()
		VUNPCKLPS(p[1], p[0], lo01)
		VUNPCKHPS(p[1], p[0], hi01)
		VUNPCKLPS(p[3], p[2], lo23)
		VUNPCKHPS(p[3], p[2], hi23)
		column := func(i int) Mem { return Mem{Base: dst, Disp: 64 * (4*h + i)} }
		VUNPCKLPD(lo23, lo01, out)
		VMOVUPS(out, column(0))
		VUNPCKHPD(lo23, lo01, out)
		VMOVUPS(out, column(1))
		VUNPCKLPD(hi23, hi01, out)
		VMOVUPS(out, column(2))
		VUNPCKHPD(hi23, hi01, out)
		VMOVUPS(out, column(3))
	}
	ADDQ(Imm(32), src)
	ADDQ(U32(8*64), dst)
	DECQ(n)
	JNZ(LabelRef("blocks"))
	VZEROUPPER()
	RET()
}
