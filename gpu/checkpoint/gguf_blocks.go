package checkpoint

import "encoding/binary"

// The decoders of this file and of gguf_kblocks.go follow gguf-py (gguf/quants.py of ggml-org/llama.cpp), whose numpy
// rounds after every operation. Go may fuse x*y + z and round once where the processor can. That gives the same bits:
// the factors have 11 bits (a float16), at most 7 (a scale) and at most 5 (q), so every product is exact in float32.

// half widens the little-endian float16 at the start of p.
func half(p []byte) float32 { return halfTable[binary.LittleEndian.Uint16(p)] }

// decodeQ4_0: 18 bytes, 32 values. w = d·(q − 8).
//
//	0..1   d, float16
//	2..17  q, 4 bits each: value i < 16 is the low half of byte i, value 16+i its high half
func decodeQ4_0(dst []float32, block []byte) {
	d := half(block)
	for i, b := range block[2:18] {
		dst[i] = d * float32(int(b&15)-8)
		dst[16+i] = d * float32(int(b>>4)-8)
	}
}

// decodeQ4_1: 20 bytes, 32 values. w = d·q + m.
//
//	0..1   d, float16
//	2..3   m, float16
//	4..19  q, 4 bits each: value i < 16 is the low half of byte i, value 16+i its high half
func decodeQ4_1(dst []float32, block []byte) {
	d, m := half(block), half(block[2:])
	for i, b := range block[4:20] {
		dst[i] = d*float32(b&15) + m
		dst[16+i] = d*float32(b>>4) + m
	}
}

// decodeQ5_0: 22 bytes, 32 values. w = d·(q − 16).
//
//	0..1   d, float16
//	2..5   bit 4 of q: value i has bit i of these 32 bits, little-endian
//	6..21  bits 0 to 3 of q: value i < 16 is the low half of byte i, value 16+i its high half
func decodeQ5_0(dst []float32, block []byte) {
	d, high := half(block), binary.LittleEndian.Uint32(block[2:])
	for i, b := range block[6:22] {
		lo := int(b&15) | int(high>>i&1)<<4
		hi := int(b>>4) | int(high>>(16+i)&1)<<4
		dst[i] = d * float32(lo-16)
		dst[16+i] = d * float32(hi-16)
	}
}

// decodeQ5_1: 24 bytes, 32 values. w = d·q + m.
//
//	0..1   d, float16
//	2..3   m, float16
//	4..7   bit 4 of q: value i has bit i of these 32 bits, little-endian
//	8..23  bits 0 to 3 of q: value i < 16 is the low half of byte i, value 16+i its high half
func decodeQ5_1(dst []float32, block []byte) {
	d, m, high := half(block), half(block[2:]), binary.LittleEndian.Uint32(block[4:])
	for i, b := range block[8:24] {
		lo := int(b&15) | int(high>>i&1)<<4
		hi := int(b>>4) | int(high>>(16+i)&1)<<4
		dst[i] = d*float32(lo) + m
		dst[16+i] = d*float32(hi) + m
	}
}

// decodeQ8_0: 34 bytes, 32 values. w = d·q.
//
//	0..1   d, float16
//	2..33  q, int8
func decodeQ8_0(dst []float32, block []byte) {
	d := half(block)
	for i, b := range block[2:34] {
		dst[i] = d * float32(int8(b))
	}
}
