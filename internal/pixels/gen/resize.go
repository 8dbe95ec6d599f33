package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// The weights of the resize have 22 fractional bits and do not fit the 16 bits of VPMADDWD. They come in two parts,
// weight = high·2^16 + low with a signed low part, and so do the sums: high·2^16 + low is the sum modulo 2^32, and the
// sum itself fits in 32 bits. A pair of taps lies in memory as low0, low1, high0, high1.

const weightBits = 22

// finish turns two parts of sums into samples with 32 bits each, not clamped yet. The low part began at one half.
func finish(low, high VecVirtual) {
	VPSLLD(Imm(16), high, high)
	VPADDD(high, low, low)
	VPSRAD(Imm(weightBits), low, low)
}

// tapMask picks, out of packed RGB, two pixels that begin at byte at: words red, red, green, green, blue, blue, 0, 0.
func tapMask(name string, at int) Mem {
	from := [16]int{}
	for i := range from {
		from[i] = -1
		if i%2 == 0 && i < 12 {
			from[i] = at + i/4 + 3*(i/2%2)
		}
	}
	return shuffle(name, from)
}

func resizeRows() {
	TEXT("resizeRowsAVX2", NOSPLIT, "func(n int, dst *byte, dstStride int, src *byte, srcStride int, first *int32, weights *int16, taps int)")
	Doc("resizeRowsAVX2 makes n pixels of RGB in each of 4 rows. Pixel x sums the taps (even, 6 or more) pixels from pixel",
		"first[x] of the source row on with weights[2·taps·x:].")
	Pragma("noescape")
	n, dst, ds := arg("n"), arg("dst"), arg("dstStride")
	src, ss := arg("src"), arg("srcStride")
	first, weights := arg("first"), arg("weights")
	ds3, ss3 := GP64(), GP64()
	LEAQ(Mem{Base: ds, Index: ds, Scale: 2}, ds3)
	LEAQ(Mem{Base: ss, Index: ss, Scale: 2}, ss3)
	// Four pixels are 12 bytes of the 16 that are loaded. The first load of a pixel has the other 4 behind them, all later
	// loads before them, so that nothing outside the taps is read.
	ahead, behind := [2]Op{tapMask("taps_0", 0), tapMask("taps_6", 6)}, [2]Op{YMM(), YMM()}
	VMOVDQU(tapMask("taps_4", 4), behind[0])
	VMOVDQU(tapMask("taps_10", 10), behind[1])
	two := [2]Op{tapMask("taps_2", 2)}

	Label("pixel")
	p, left := GP64(), GP64()
	MOVLQSX(Mem{Base: first}, p)
	LEAQ(Mem{Base: p, Index: p, Scale: 2}, p)
	ADDQ(src, p)
	MOVQ(NewParamAddr("taps", 56), left)
	// Lanes: rows 0 and 1 in the halves of index 0, rows 2 and 3 in those of index 1.
	var low, high [2]VecVirtual
	for r := range 2 {
		low[r], high[r] = YMM(), YMM()
		VMOVDQU(dwords(1<<(weightBits-1)), low[r])
		VPXOR(high[r], high[r], high[r])
	}
	rows := [4]Mem{{Base: p}, {Base: p, Index: ss, Scale: 1}, {Base: p, Index: ss, Scale: 2}, {Base: p, Index: ss3, Scale: 1}}
	taps := func(loadRow func(m Mem, x Register), back int, masks [2]Op, count int) {
		var px [2]VecVirtual
		for r := range 2 {
			px[r] = YMM()
			other := XMM()
			loadRow(rows[2*r].Offset(-back), px[r].AsX())
			loadRow(rows[2*r+1].Offset(-back), other)
			VINSERTI128(Imm(1), other, px[r], px[r])
		}
		for i := range count / 2 {
			wl, wh := YMM(), YMM()
			VPBROADCASTD(Mem{Base: weights, Disp: 8 * i}, wl)
			VPBROADCASTD(Mem{Base: weights, Disp: 8*i + 4}, wh)
			for r := range 2 {
				v := YMM()
				VPSHUFB(masks[i], px[r], v)
				VPADDD(in(VPMADDWD, v, wl), low[r], low[r])
				VPADDD(in(VPMADDWD, v, wh), high[r], high[r])
			}
		}
		ADDQ(Imm(uint64(4*count)), weights)
		ADDQ(Imm(uint64(3*count)), p)
	}
	sixteen := func(m Mem, x Register) { VMOVDQU(m, x) }
	eight := func(m Mem, x Register) { VMOVQ(m, x) }
	taps(sixteen, 0, ahead, 4)
	SUBQ(Imm(8), left)
	JL(LabelRef("two"))
	Label("four")
	taps(sixteen, 4, behind, 4)
	SUBQ(Imm(4), left)
	JGE(LabelRef("four"))
	Label("two")
	ADDQ(Imm(4), left)
	JZ(LabelRef("sum"))
	taps(eight, 2, two, 2)
	Label("sum")
	finish(low[0], high[0])
	finish(low[1], high[1])
	v, x := YMM(), XMM()
	VPACKSSDW(low[1], low[0], v)
	VPACKUSWB(v, v, v)
	VEXTRACTI128(Imm(1), v, x)
	out := [4]Mem{{Base: dst}, {Base: dst, Index: ds, Scale: 1}, {Base: dst, Index: ds, Scale: 2}, {Base: dst, Index: ds3, Scale: 1}}
	DECQ(n)
	JZ(LabelRef("lastPixel"))
	// The fourth byte is overwritten by the next pixel.
	VMOVD(v.AsX(), out[0])
	VMOVD(x, out[1])
	VPEXTRD(Imm(1), v.AsX(), out[2])
	VPEXTRD(Imm(1), x, out[3])
	ADDQ(Imm(3), dst)
	ADDQ(Imm(4), first)
	JMP(LabelRef("pixel"))
	Label("lastPixel")
	for r, m := range out {
		from := []VecVirtual{v.AsX().(VecVirtual), x}[r%2]
		VPEXTRW(Imm(uint64(r/2*2)), from, m)
		m.Disp = 2
		VPEXTRB(Imm(uint64(r/2*4+2)), from, m)
	}
	VZEROUPPER()
	RET()
}

func resizeColumns() {
	TEXT("resizeColumnsAVX2", NOSPLIT, "func(n int, dst, src *byte, stride int, weights *int16, taps int)")
	Doc("resizeColumnsAVX2 makes n bytes, n ≥ 32, of an output row from taps source rows, stride apart. An odd number of taps",
		"ends with half a pair of weights.")
	Pragma("noescape")
	n, dst, src, stride := arg("n"), arg("dst"), arg("src"), arg("stride")
	z := zero()
	chunks("columns", n, 32, func(offset GPVirtual) {
		var low, high [4]VecVirtual
		for i := range 4 {
			low[i], high[i] = YMM(), YMM()
			VMOVDQU(dwords(1<<(weightBits-1)), low[i])
			VPXOR(high[i], high[i], high[i])
		}
		p, w, left := GP64(), arg("weights"), arg("taps")
		LEAQ(Mem{Base: src, Index: offset, Scale: 1}, p)
		pair := func(second func(b VecVirtual) VecVirtual) {
			a, b := YMM(), YMM()
			VMOVDQU(Mem{Base: p}, a)
			b = second(b)
			wl, wh := YMM(), YMM()
			VPBROADCASTD(Mem{Base: w}, wl)
			VPBROADCASTD(Mem{Base: w, Disp: 4}, wh)
			hi := in(VPUNPCKHBW, a, b)
			VPUNPCKLBW(b, a, a)
			q := YMM()
			for i, half := range []VecVirtual{a, hi} {
				for j, unpack := range []func(...Op){VPUNPCKLBW, VPUNPCKHBW} {
					unpack(z, half, q)
					t := in(VPMADDWD, q, wl)
					VPADDD(t, low[2*i+j], low[2*i+j])
					VPMADDWD(wh, q, q)
					VPADDD(q, high[2*i+j], high[2*i+j])
				}
			}
		}
		SUBQ(Imm(2), left)
		JL(LabelRef("odd"))
		Label("pair")
		pair(func(b VecVirtual) VecVirtual {
			VMOVDQU(Mem{Base: p, Index: stride, Scale: 1}, b)
			return b
		})
		ADDQ(Imm(8), w)
		LEAQ(Mem{Base: p, Index: stride, Scale: 2}, p)
		SUBQ(Imm(2), left)
		JGE(LabelRef("pair"))
		Label("odd")
		ADDQ(Imm(2), left)
		JZ(LabelRef("columnSum"))
		pair(func(VecVirtual) VecVirtual { return z })
		Label("columnSum")
		for i := range 4 {
			finish(low[i], high[i])
		}
		VPACKSSDW(low[1], low[0], low[0])
		VPACKSSDW(low[3], low[2], low[2])
		VPACKUSWB(low[2], low[0], low[0])
		VMOVDQU(low[0], Mem{Base: dst, Index: offset, Scale: 1})
	})
}
