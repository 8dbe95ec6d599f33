package checkpoint

// K types: blocks of 256 values in groups of 16 or 32, each group with a scale (and a minimum) of few bits that are
// themselves scaled by the block's float16 d (and dmin).

// decodeQ2_K: 84 bytes, 256 values in 16 groups of 16. w = (d·scale)·q − (dmin·min).
//
//	0..15   a byte a group: scale in the low half, min in the high half
//	16..79  q, 2 bits each: value 128h + 32s + l is bits 2s, 2s+1 of byte 32h + l
//	80..81  d, float16
//	82..83  dmin, float16
func decodeQ2_K(dst []float32, block []byte) {
	scales, qs, d, dmin := block[:16], block[16:80], half(block[80:]), half(block[82:])
	for v := range 256 {
		h, s, l := v/128, v/32%4, v%32
		scale := scales[v/16]
		q := qs[32*h+l] >> (2 * s) & 3
		dst[v] = d*float32(scale&15)*float32(q) - dmin*float32(scale>>4)
	}
}

// decodeQ3_K: 110 bytes, 256 values in 16 groups of 16. w = (d·(scale − 32))·(q − 4).
//
//	0..31     bit 2 of q: value 32k + l is bit k of byte l
//	32..95    bits 0 and 1 of q: value 128h + 32s + l is bits 2s, 2s+1 of byte 32h + l
//	96..103   bits 0 to 3 of scales: group g < 8 is the low half of byte g, group 8+g its high half
//	104..107  bits 4 and 5 of scales: group 4k + g is bits 2k, 2k+1 of byte g
//	108..109  d, float16
func decodeQ3_K(dst []float32, block []byte) {
	mask, qs, low, high, d := block[:32], block[32:96], block[96:104], block[104:108], half(block[108:])
	for g := range 16 {
		scale := int(low[g%8]>>(4*(g/8))&15) | int(high[g%4]>>(2*(g/4))&3)<<4
		dl := d * float32(scale-32)
		for v := 16 * g; v < 16*g+16; v++ {
			h, s, l := v/128, v/32%4, v%32
			q := int(qs[32*h+l]>>(2*s)&3) | int(mask[l]>>(v/32)&1)<<2
			dst[v] = dl * float32(q-4)
		}
	}
}

// scaleMin unpacks the scales and minimums of Q4_K and Q5_K, 6 bits each for 8 groups of 32 values, from 12 bytes.
//
//	0..3   group g < 4: scale in bits 0 to 5; bits 4 and 5 of group 4+g's scale in bits 6 and 7
//	4..7   the same for the minimums
//	8..11  bits 0 to 3 of group 4+g: scale in the low half of byte 8+g, min in the high half
func scaleMin(p []byte, group int) (scale, least float32) {
	if group < 4 {
		return float32(p[group] & 63), float32(p[4+group] & 63)
	}
	g := group - 4
	return float32(p[8+g]&15 | p[g]>>6<<4), float32(p[8+g]>>4 | p[4+g]>>6<<4)
}

// decodeQ4_K: 144 bytes, 256 values in 8 groups of 32. w = (d·scale)·q − (dmin·min).
//
//	0..1     d, float16
//	2..3     dmin, float16
//	4..15    scales and minimums, see scaleMin
//	16..143  q, 4 bits each: value 64h + l (l < 32) is the low half of byte 32h + l, value 64h + 32 + l its high half
func decodeQ4_K(dst []float32, block []byte) {
	d, dmin, qs := half(block), half(block[2:]), block[16:144]
	for g := range 8 {
		scale, least := scaleMin(block[4:16], g)
		dl, ml := d*scale, dmin*least
		for l := range 32 {
			q := qs[32*(g/2)+l] >> (4 * (g % 2)) & 15
			dst[32*g+l] = dl*float32(q) - ml
		}
	}
}

// decodeQ5_K: 176 bytes, 256 values in 8 groups of 32. w = (d·scale)·q − (dmin·min).
//
//	0..1     d, float16
//	2..3     dmin, float16
//	4..15    scales and minimums, see scaleMin
//	16..47   bit 4 of q: value 32g + l is bit g of byte l
//	48..175  bits 0 to 3 of q: value 64h + l (l < 32) is the low half of byte 32h + l, value 64h + 32 + l its high half
func decodeQ5_K(dst []float32, block []byte) {
	d, dmin, high, qs := half(block), half(block[2:]), block[16:48], block[48:176]
	for g := range 8 {
		scale, least := scaleMin(block[4:16], g)
		dl, ml := d*scale, dmin*least
		for l := range 32 {
			q := qs[32*(g/2)+l]>>(4*(g%2))&15 | high[l]>>g&1<<4
			dst[32*g+l] = dl*float32(q) - ml
		}
	}
}

// decodeQ6_K: 210 bytes, 256 values in 16 groups of 16. w = (d·scale)·(q − 32).
//
//	0..127    bits 0 to 3 of q: value 128h + l (l < 64) is the low half of byte 64h + l, value 128h + 64 + l its high half
//	128..191  bits 4 and 5 of q: value 128h + 32s + l is bits 2s, 2s+1 of byte 32h + l
//	192..207  scales, int8
//	208..209  d, float16
func decodeQ6_K(dst []float32, block []byte) {
	low, high, scales, d := block[:128], block[128:192], block[192:208], half(block[208:])
	for g := range 16 {
		dl := d * float32(int8(scales[g]))
		for v := 16 * g; v < 16*g+16; v++ {
			h := v / 128
			q := int(low[64*h+v%64]>>(4*(v/64%2))&15) | int(high[32*h+v%32]>>(2*(v/32%4))&3)<<4
			dst[v] = dl * float32(q-32)
		}
	}
}
