package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// paeth goes pixel by pixel, because each depends on the one before, with the samples of a pixel side by side. Stores are
// 4 bytes long and may hit a sample of the next pixel, which was loaded before that.
func paeth() {
	TEXT("paethAVX2", NOSPLIT, "func(n int, row, above *byte, step int)")
	Doc("paethAVX2 undoes the Paeth filter in the first n pixels, n ≥ 1, of step bytes (3 or 4). Both rows must have 4 bytes",
		"behind them.")
	Pragma("noescape")
	n, row, above, step := arg("n"), arg("row"), arg("above"), arg("step")
	xmm := func(f func(...Op), a, b Op) VecVirtual {
		d := XMM()
		f(b, a, d)
		return d
	}
	left, corner, raw, bytes := XMM(), XMM(), XMM(), XMM()
	VPXOR(left, left, left)
	VPXOR(corner, corner, corner)
	VMOVDQU(words(255), bytes)
	VMOVD(Mem{Base: row}, raw)
	Label("pixel")
	up := XMM()
	VMOVD(Mem{Base: above}, up)
	VPMOVZXBW(up, up)
	v := XMM()
	VPMOVZXBW(raw, v)
	VMOVD(Mem{Base: row, Index: step, Scale: 1}, raw)
	dl := xmm(VPSUBW, up, corner) // distance of the estimate to left
	du := xmm(VPSUBW, left, corner)
	dc := xmm(VPADDW, dl, du)
	for _, d := range []VecVirtual{dl, du, dc} {
		VPABSW(d, d)
	}
	least := xmm(VPMINSW, du, dc)
	VPMINSW(dl, least, least)
	VPCMPEQW(least, dl, dl)
	VPCMPEQW(least, du, du)
	p := XMM()
	VPBLENDVB(du, up, corner, p)
	VPBLENDVB(dl, left, p, p)
	VMOVDQA(up, corner)
	VPADDW(p, v, left)
	VPAND(bytes, left, left)
	VPACKUSWB(left, left, p)
	VMOVD(p, Mem{Base: row})
	ADDQ(step, row)
	ADDQ(step, above)
	DECQ(n)
	JNZ(LabelRef("pixel"))
	VMOVD(raw, Mem{Base: row})
	RET()
}
