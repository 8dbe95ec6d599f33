package pixels

import "math/bits"

// coefBlock is one 8x8 block of coefficients in natural order, not dequantized.
type coefBlock struct {
	v       [64]int16
	nonzero uint64 // bit i: v[i] was set to a value that is not 0; bit 0 need not be right
}

// The inverse DCT is the "accurate integer" one of libjpeg: Loeffler, Ligtenberg and Moschytz,
// "Practical fast 1-D DCT algorithms with 11 multiplications" (ICASSP 1989), in fixed point with
// 13 bits; columns first with 2 extra bits kept, then rows.
const (
	constBits = 13
	passBits  = 2

	fix0298 = 2446  // 0.298631336
	fix0390 = 3196  // 0.390180644
	fix0541 = 4433  // 0.541196100
	fix0765 = 6270  // 0.765366865
	fix0899 = 7373  // 0.899976223
	fix1175 = 9633  // 1.175875602
	fix1501 = 12299 // 1.501321110
	fix1847 = 15137 // 1.847759065
	fix1961 = 16069 // 1.961570560
	fix2053 = 16819 // 2.053119869
	fix2562 = 20995 // 2.562915447
	fix3072 = 25172 // 3.072711026

	colShift = constBits - passBits
	rowShift = constBits + passBits + 3
)

// safeSize bounds the sum of |coefficients| below which no intermediate value leaves 16 bits: one
// pass multiplies by at most 4*1.3871. Only damaged or absurd blocks are larger; they take
// transformWide, which repeats the wrapping and saturation of the SIMD code.
const safeSize = 5900

// transform writes the block's samples to dst, rows stride bytes apart, and empties the block.
func (b *coefBlock) transform(dst []byte, stride int, quant *[64]uint16) {
	if b.nonzero>>1 == 0 {
		dc := dequantize(b.v[0], quant[0])
		if -safeSize <= dc && dc <= safeSize {
			v := uint64(clampSample((dc+4)>>3)) * 0x0101010101010101
			for range 7 {
				putSamples(dst, v)
				dst = dst[stride:]
			}
			putSamples(dst, v)
			b.v[0], b.nonzero = 0, 0
			return
		}
	}
	inverse(dst, stride, &b.v, quant, b.nonzero)
	*b = coefBlock{}
}

// dequantize keeps the product to 16 bits, as libjpeg-turbo's SIMD code does.
func dequantize(v int16, q uint16) int32 { return int32(int16(int32(v) * int32(q))) }

// inversePlain is inverse without assembly.
func inversePlain(dst []byte, stride int, coefs *[64]int16, quant *[64]uint16, nonzero uint64) {
	if nonzero == 0 {
		for i, v := range coefs {
			if v != 0 {
				nonzero |= 1 << i
			}
		}
	}
	var w [64]int32
	size := int32(0)                    // at least the sum of |w|
	if bits.OnesCount64(nonzero) > 16 { // the plain loop is faster than going from bit to bit
		for i, v := range coefs {
			x := dequantize(v, quant[i])
			w[i] = x
			size += (x ^ x>>31) - x>>31
		}
	} else {
		for m := nonzero | 1; m != 0; m &= m - 1 {
			i := bits.TrailingZeros64(m) & 63
			x := dequantize(coefs[i], quant[i])
			w[i] = x
			size += (x ^ x>>31) - x>>31
		}
	}
	// Bit i of cols: column i has a coefficient below its first row.
	cols := nonzero >> 8
	cols |= cols >> 32
	cols |= cols >> 16
	cols |= cols >> 8
	if size > safeSize {
		transformWide(&w, uint8(cols) != 0, dst, stride)
		return
	}
	transformColumns(&w, uint8(cols))
	transformRows(&w, dst, stride)
}

// clampSample shifts a centred sample to 0..255.
func clampSample(v int32) byte {
	v += 128
	if uint32(v) > 255 {
		return byte(^(v >> 31))
	}
	return byte(v)
}

func putSamples(dst []byte, v uint64) {
	_ = dst[7]
	dst[0], dst[1], dst[2], dst[3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
	dst[4], dst[5], dst[6], dst[7] = byte(v>>32), byte(v>>40), byte(v>>48), byte(v>>56)
}

func transformColumns(w *[64]int32, cols uint8) {
	for i := range 8 {
		if cols>>i&1 == 0 {
			v := w[i] << passBits
			w[i], w[8+i], w[16+i], w[24+i], w[32+i], w[40+i], w[48+i], w[56+i] = v, v, v, v, v, v, v, v
			continue
		}
		z2, z3 := w[16+i], w[48+i]
		z1 := (z2 + z3) * fix0541
		t2 := z1 - z3*fix1847
		t3 := z1 + z2*fix0765
		t0 := (w[i]+w[32+i])<<constBits + 1<<(colShift-1)
		t1 := (w[i]-w[32+i])<<constBits + 1<<(colShift-1)
		e0, e3 := t0+t3, t0-t3
		e1, e2 := t1+t2, t1-t2

		t0, t1, t2, t3 = w[56+i], w[40+i], w[24+i], w[8+i]
		z1, z2, z3 = t0+t3, t1+t2, t0+t2
		z4 := t1 + t3
		z5 := (z3 + z4) * fix1175
		z1 *= -fix0899
		z2 *= -fix2562
		z3 = z5 - z3*fix1961
		z4 = z5 - z4*fix0390
		t0 = t0*fix0298 + z1 + z3
		t1 = t1*fix2053 + z2 + z4
		t2 = t2*fix3072 + z2 + z3
		t3 = t3*fix1501 + z1 + z4

		w[i], w[56+i] = (e0+t3)>>colShift, (e0-t3)>>colShift
		w[8+i], w[48+i] = (e1+t2)>>colShift, (e1-t2)>>colShift
		w[16+i], w[40+i] = (e2+t1)>>colShift, (e2-t1)>>colShift
		w[24+i], w[32+i] = (e3+t0)>>colShift, (e3-t0)>>colShift
	}
}

func transformRows(block *[64]int32, dst []byte, stride int) {
	for y := range 8 {
		w := block[8*y : 8*y+8 : 8*y+8]
		z2, z3 := w[2], w[6]
		z1 := (z2 + z3) * fix0541
		t2 := z1 - z3*fix1847
		t3 := z1 + z2*fix0765
		t0 := (w[0]+w[4])<<constBits + 1<<(rowShift-1)
		t1 := (w[0]-w[4])<<constBits + 1<<(rowShift-1)
		e0, e3 := t0+t3, t0-t3
		e1, e2 := t1+t2, t1-t2

		t0, t1, t2, t3 = w[7], w[5], w[3], w[1]
		z1, z2, z3 = t0+t3, t1+t2, t0+t2
		z4 := t1 + t3
		z5 := (z3 + z4) * fix1175
		z1 *= -fix0899
		z2 *= -fix2562
		z3 = z5 - z3*fix1961
		z4 = z5 - z4*fix0390
		t0 = t0*fix0298 + z1 + z3
		t1 = t1*fix2053 + z2 + z4
		t2 = t2*fix3072 + z2 + z3
		t3 = t3*fix1501 + z1 + z4

		o := dst[stride*y:]
		o = o[:8:8]
		o[0], o[7] = clampSample((e0+t3)>>rowShift), clampSample((e0-t3)>>rowShift)
		o[1], o[6] = clampSample((e1+t2)>>rowShift), clampSample((e1-t2)>>rowShift)
		o[2], o[5] = clampSample((e2+t1)>>rowShift), clampSample((e2-t1)>>rowShift)
		o[3], o[4] = clampSample((e3+t0)>>rowShift), clampSample((e3-t0)>>rowShift)
	}
}

func saturate16(v int32) int32 { return max(-1<<15, min(1<<15-1, v)) }

// wide1D is one pass over eight values step apart, with the 16-bit sums and the saturating pack of
// the SIMD code.
func wide1D(w []int32, step int, shift uint) {
	at := func(i int) *int32 { return &w[i*step] }
	wrap := func(v int32) int32 { return int32(int16(v)) }
	half := int32(1) << (shift - 1)
	z2, z3 := *at(2), *at(6)
	t2 := z2*fix0541 + z3*(fix0541-fix1847)
	t3 := z2*(fix0541+fix0765) + z3*fix0541
	t0 := wrap(*at(0)+*at(4)) << constBits
	t1 := wrap(*at(0)-*at(4)) << constBits
	e0, e3 := t0+t3, t0-t3
	e1, e2 := t1+t2, t1-t2

	t0, t1, t2, t3 = *at(7), *at(5), *at(3), *at(1)
	s3, s4 := wrap(t0+t2), wrap(t1+t3)
	z3 = s3*(fix1175-fix1961) + s4*fix1175
	z4 := s3*fix1175 + s4*(fix1175-fix0390)
	o0 := t0*(fix0298-fix0899) - t3*fix0899 + z3
	o1 := t1*(fix2053-fix2562) - t2*fix2562 + z4
	o2 := t2*(fix3072-fix2562) - t1*fix2562 + z3
	o3 := t3*(fix1501-fix0899) - t0*fix0899 + z4

	for i, p := range [4][2]int32{{e0, o3}, {e1, o2}, {e2, o1}, {e3, o0}} {
		*at(i) = saturate16((p[0] + p[1] + half) >> shift)
		*at(7 - i) = saturate16((p[0] - p[1] + half) >> shift)
	}
}

// transformWide repeats the SIMD code for any values. Without a coefficient below the first row that code multiplies by 4
// in 16 bits, which wraps.
func transformWide(w *[64]int32, below bool, dst []byte, stride int) {
	for i := range 8 {
		if below {
			wide1D(w[i:], 8, colShift)
			continue
		}
		v := int32(int16(w[i] << passBits))
		for y := range 8 {
			w[8*y+i] = v
		}
	}
	for y := range 8 {
		wide1D(w[8*y:], 1, rowShift)
		for x := range 8 {
			dst[stride*y+x] = byte(max(-128, min(127, w[8*y+x])) + 128)
		}
	}
}

// transformAll runs the inverse DCT over the collected coefficients of a multi-scan file. A component that no scan
// carried has a zero table and becomes mid-grey.
func (d *jpegDecoder) transformAll() {
	smooth := d.smoothingApplies()
	for i := range d.comps {
		c := &d.comps[i]
		if smooth {
			d.transformSmooth(c)
			continue
		}
		for y := range c.blocksY {
			for x := range c.blocksX {
				inverse(c.plane[8*(y*8*c.stride+x):], 8*c.stride, c.block(y*c.stride+x), &c.quant, 0)
			}
		}
	}
}
