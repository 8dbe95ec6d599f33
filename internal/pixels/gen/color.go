package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// convert is the loop of a colour conversion over n ≥ 32 pixels. The three planes come as words, in two parts that pack
// puts in order again; part returns red, green and blue, which are clamped to bytes here.
func convert(part func(l, u, v VecVirtual) [3]VecVirtual) {
	n, dst := arg("n"), arg("dst")
	planes := [3]GPVirtual{arg("y"), arg("u"), arg("v")}
	chunks("pixels", n, 32, func(offset GPVirtual) {
		z := zero()
		var out [2][3]VecVirtual
		for i, unpack := range []func(...Op){VPUNPCKLBW, VPUNPCKHBW} {
			var v [3]VecVirtual
			for k, p := range planes {
				b := YMM()
				VMOVDQU(Mem{Base: p, Index: offset, Scale: 1}, b)
				v[k] = in(unpack, b, z)
			}
			out[i] = part(v[0], v[1], v[2])
		}
		var rgb [3]VecVirtual
		for c := range rgb {
			rgb[c] = in(VPACKUSWB, out[0][c], out[1][c])
		}
		at := GP64()
		LEAQ(Mem{Base: offset, Index: offset, Scale: 2}, at)
		ADDQ(dst, at)
		interleave(rgb, at)
	})
}

// interleave stores 32 pixels of packed RGB.
func interleave(rgb [3]VecVirtual, dst GPVirtual) {
	for k := range 3 {
		var sum VecVirtual
		for c, plane := range rgb {
			from := [16]int{}
			for j := range from {
				from[j] = -1
				if t := 16*k + j; t%3 == c {
					from[j] = t / 3
				}
			}
			v := in(VPSHUFB, plane, shuffle(fmt.Sprintf("rgb_%d%d", k, c), from))
			if c == 0 {
				sum = v
				continue
			}
			VPOR(v, sum, sum)
		}
		VMOVDQU(sum.AsX(), Mem{Base: dst, Disp: 16 * k})
		VEXTRACTI128(Imm(1), sum, Mem{Base: dst, Disp: 48 + 16*k})
	}
}

// ycc takes whole multiples out of the factors so that the rest fits 16 bits:
// 91881 = 65536 + 26345, 116130 = 2·65536 - 2·7471, -46802 = -65536 + 18734.
func ycc() {
	TEXT("yccRowAVX2", NOSPLIT, "func(n int, dst, y, u, v *byte)")
	Doc("yccRowAVX2 converts n ≥ 32 pixels of JFIF's YCbCr to RGB.")
	Pragma("noescape")
	convert(func(l, u, v VecVirtual) [3]VecVirtual {
		VPSUBW(words(128), u, u)
		VPSUBW(words(128), v, v)

		r := in(VPADDW, v, v)
		VPMULHW(words(26345), r, r) // 26345·v >> 15
		VPADDW(words(1), r, r)
		VPSRAW(Imm(1), r, r)
		VPADDW(v, r, r)
		VPADDW(l, r, r)

		b := in(VPMULHRSW, u, words(-7471))
		VPADDW(u, b, b)
		VPADDW(u, b, b)
		VPADDW(l, b, b)

		var g [2]VecVirtual
		for i, unpack := range []func(...Op){VPUNPCKLWD, VPUNPCKHWD} {
			g[i] = in(unpack, u, v)
			VPMADDWD(pairs(-22554, 18734), g[i], g[i])
			VPADDD(dwords(1<<15), g[i], g[i])
			VPSRAD(Imm(16), g[i], g[i])
		}
		VPACKSSDW(g[1], g[0], g[0])
		VPSUBW(v, g[0], g[0])
		VPADDW(l, g[0], g[0])
		return [3]VecVirtual{r, g[0], b}
	})
}

// colorWebP: a byte in the upper half of a word times a factor gives factor·byte >> 8 in the upper word of the product.
// Only blue leaves the range of signed words, so its sum is kept unsigned; the subtraction clamps it at 0.
func colorWebP() {
	TEXT("colorWebPAVX2", NOSPLIT, "func(n int, dst, y, u, v *byte)")
	Doc("colorWebPAVX2 converts n ≥ 32 pixels of WebP's YUV to RGB.")
	Pragma("noescape")
	convert(func(l, u, v VecVirtual) [3]VecVirtual {
		for _, p := range []VecVirtual{l, u, v} {
			VPSLLW(Imm(8), p, p)
		}
		VPMULHUW(words(19077), l, l)
		r := in(VPMULHUW, v, words(26149))
		VPADDW(l, r, r)
		VPSUBW(words(14234), r, r)
		VPSRAW(Imm(6), r, r)

		g := in(VPSUBW, l, in(VPMULHUW, u, words(6419)))
		VPSUBW(in(VPMULHUW, v, words(13320)), g, g)
		VPADDW(words(8708), g, g)
		VPSRAW(Imm(6), g, g)

		b := in(VPMULHUW, u, words(33050))
		VPADDUSW(l, b, b)
		VPSUBUSW(words(17685), b, b)
		VPSRLW(Imm(6), b, b)
		return [3]VecVirtual{r, g, b}
	})
}
