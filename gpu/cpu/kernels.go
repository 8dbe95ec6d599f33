package cpu

import "math"

// kernels are the inner loops of matrix products for one kind of processor and one precision. The names of sizes:
//
//	h  rows of a tile, one of heights
//	v  vectors of a tile, 1 or 2; a panel of the second factor is 2 vectors = width columns wide
//	k4 steps of k, in groups of 4
//
// With pairs, a step is a pair of bfloat16 and everything else is the same: rows are narrowed before they are packed.
type kernels struct {
	name    string
	heights []int // of the tiles, largest first, ending in 1
	width   int
	pairs   bool
	// tile computes c (+)= a·b; a is packed [k4][h][4], b [4·k4][width]. It may fetch what next begins with, at most 16·k4
	// elements, which is needed soon.
	tile func(h, v, k4 int, a, b, c []float32, stride int, accumulate bool, next []float32)
}

// steps is the number of steps of a sum over k elements, filled up with zeros to a multiple of 4.
func (k *kernels) steps(n int) int {
	if k.pairs {
		n = (n + 1) / 2
	}
	return roundUp(n, 4)
}

// height is the tallest tile that rows still fill.
func (k *kernels) height(rows int) int {
	for _, h := range k.heights {
		if h <= rows {
			return h
		}
	}
	return 1
}

// available lists what this processor can run, best first, for products of float32 and of bfloat16.
func available(pairs bool) []*kernels {
	var list []*kernels
	for _, k := range append(assembly(), &portable) {
		if k.pairs == pairs {
			list = append(list, k)
		}
	}
	return list
}

// portable multiplies in Go.
var portable = kernels{name: "portable", heights: []int{6, 4, 2, 1}, width: 16, tile: tilePortable}

// tilePortable is a tile in Go, 2 x 4 outputs at a time: as many as keep their sums in registers.
func tilePortable(h, v, k4 int, a, b, c []float32, stride int, accumulate bool, _ []float32) {
	const width = 16
	for r := 0; r < h; r += 2 {
		if r+1 == h {
			rowPortable(v*width/2, k4, a[r*4:], h*4, b, width, c[r*stride:], accumulate)
			break
		}
		for j := 0; j < v*width/2; j += 4 {
			var c00, c01, c02, c03, c10, c11, c12, c13 float32
			for s := range k4 {
				a0, a1 := a[(s*h+r)*4:][:4], a[(s*h+r+1)*4:][:4]
				for q := range 4 {
					x, y := a0[q], a1[q]
					v := b[(s*4+q)*width+j:][:4]
					c00 += x * v[0]
					c01 += x * v[1]
					c02 += x * v[2]
					c03 += x * v[3]
					c10 += y * v[0]
					c11 += y * v[1]
					c12 += y * v[2]
					c13 += y * v[3]
				}
			}
			to0, to1 := c[r*stride+j:][:4], c[(r+1)*stride+j:][:4]
			if accumulate {
				c00, c01, c02, c03 = to0[0]+c00, to0[1]+c01, to0[2]+c02, to0[3]+c03
				c10, c11, c12, c13 = to1[0]+c10, to1[1]+c11, to1[2]+c12, to1[3]+c13
			}
			to0[0], to0[1], to0[2], to0[3] = c00, c01, c02, c03
			to1[0], to1[1], to1[2], to1[3] = c10, c11, c12, c13
		}
	}
}

// rowPortable is a row of a tile, whose groups of 4 elements lie step apart.
func rowPortable(cols, k4 int, a []float32, step int, b []float32, width int, c []float32, accumulate bool) {
	for j := range cols {
		sum := float32(0)
		for s := range k4 {
			for q, x := range a[s*step:][:4] {
				sum += x * b[(s*4+q)*width+j]
			}
		}
		if accumulate {
			sum = c[j] + sum
		}
		c[j] = sum
	}
}

// narrowPlain rounds to bfloat16, to nearest, ties to even, two elements in one of dst, the first in the lower half.
func narrowPlain(dst, src []float32) {
	for i := range dst {
		word := uint32(bfloat16(src[2*i]))
		if 2*i+1 < len(src) {
			word |= uint32(bfloat16(src[2*i+1])) << 16
		}
		dst[i] = math.Float32frombits(word)
	}
}

// bfloat16 rounds to the upper half of a float32; a NaN stays one.
func bfloat16(v float32) uint16 {
	u := math.Float32bits(v)
	if v != v {
		return uint16(u>>16) | 0x40
	}
	return uint16((u + 0x7fff + u>>16&1) >> 16)
}

func roundUp(x, m int) int { return (x + m - 1) / m * m }
