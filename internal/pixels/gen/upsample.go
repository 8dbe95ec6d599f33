package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// bytesAt loads 16 bytes as words.
func bytesAt(m Mem) VecVirtual {
	v := YMM()
	VPMOVZXBW(m, v)
	return v
}

// times3 returns 3·v.
func times3(v VecVirtual) VecVirtual {
	d := in(VPADDW, v, v)
	VPADDW(v, d, d)
	return d
}

// blend returns (v + near + bias) >> shift.
func blend(v VecVirtual, near Op, bias, shift int) VecVirtual {
	d := YMM()
	VPADDW(near, v, d)
	VPADDW(words(bias), d, d)
	VPSRLW(Imm(uint64(shift)), d, d)
	return d
}

// alternate stores the bytes of even and odd, 16 words below 256 each, in turns.
func alternate(even, odd VecVirtual, m Mem) {
	VPSLLW(Imm(8), odd, odd)
	VPOR(even, odd, odd)
	VMOVDQU(odd, m)
}

func sumRows() {
	TEXT("sumRowsAVX2", NOSPLIT, "func(n int, sums *uint16, near, far *byte)")
	Doc("sumRowsAVX2 writes 3·near + far, n ≥ 16.")
	Pragma("noescape")
	n, sums, near, far := arg("n"), arg("sums"), arg("near"), arg("far")
	chunks("sums", n, 16, func(offset GPVirtual) {
		v := times3(bytesAt(Mem{Base: near, Index: offset, Scale: 1}))
		VPADDW(bytesAt(Mem{Base: far, Index: offset, Scale: 1}), v, v)
		VMOVDQU(v, Mem{Base: sums, Index: offset, Scale: 2})
	})
}

func doubleSums() {
	TEXT("doubleSumsAVX2", NOSPLIT, "func(n int, dst *byte, s *uint16)")
	Doc("doubleSumsAVX2 writes (3·s[i]+s[i-1]+8)>>4 and (3·s[i]+s[i+1]+7)>>4 for i < n, n ≥ 16. It reads s[-1] to s[n].")
	Pragma("noescape")
	n, dst, s := arg("n"), arg("dst"), arg("s")
	chunks("double", n, 16, func(offset GPVirtual) {
		v := YMM()
		VMOVDQU(Mem{Base: s, Index: offset, Scale: 2}, v)
		mid := times3(v)
		even := blend(mid, Mem{Base: s, Disp: -2, Index: offset, Scale: 2}, 8, 4)
		odd := blend(mid, Mem{Base: s, Disp: 2, Index: offset, Scale: 2}, 7, 4)
		alternate(even, odd, Mem{Base: dst, Index: offset, Scale: 2})
	})
}

func doubleRow() {
	TEXT("doubleRowAVX2", NOSPLIT, "func(n int, dst, s *byte)")
	Doc("doubleRowAVX2 writes (3·s[i]+s[i-1]+1)>>2 and (3·s[i]+s[i+1]+2)>>2 for i < n, n ≥ 16. It reads s[-1] to s[n].")
	Pragma("noescape")
	n, dst, s := arg("n"), arg("dst"), arg("s")
	chunks("double", n, 16, func(offset GPVirtual) {
		mid := times3(bytesAt(Mem{Base: s, Index: offset, Scale: 1}))
		even := blend(mid, bytesAt(Mem{Base: s, Disp: -1, Index: offset, Scale: 1}), 1, 2)
		odd := blend(mid, bytesAt(Mem{Base: s, Disp: 1, Index: offset, Scale: 1}), 2, 2)
		alternate(even, odd, Mem{Base: dst, Index: offset, Scale: 2})
	})
}

func upsampleWebP() {
	TEXT("upsampleWebPAVX2", NOSPLIT, "func(n int, dst, near, far *byte)")
	Doc("upsampleWebPAVX2 makes the 2·n samples between neighbours of n+1 in each of two rows, n ≥ 16.")
	Pragma("noescape")
	n, dst, near, far := arg("n"), arg("dst"), arg("near"), arg("far")
	chunks("upsample", n, 16, func(offset GPVirtual) {
		a := bytesAt(Mem{Base: near, Index: offset, Scale: 1})
		b := bytesAt(Mem{Base: near, Disp: 1, Index: offset, Scale: 1})
		c := bytesAt(Mem{Base: far, Index: offset, Scale: 1})
		d := bytesAt(Mem{Base: far, Disp: 1, Index: offset, Scale: 1})
		ad, bc := in(VPADDW, a, d), in(VPADDW, b, c)
		sum := in(VPADDW, ad, bc)
		VPADDW(words(8), sum, sum)
		one := func(diagonal, corner VecVirtual) VecVirtual {
			v := in(VPADDW, diagonal, diagonal)
			VPADDW(sum, v, v)
			VPSRLW(Imm(3), v, v)
			VPADDW(corner, v, v)
			VPSRLW(Imm(1), v, v)
			return v
		}
		alternate(one(bc, a), one(ad, b), Mem{Base: dst, Index: offset, Scale: 2})
	})
}
