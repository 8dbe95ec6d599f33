//go:build arm64 && !purego

package cpu

import "sower/gpu"

// Every arm64 processor has what these kernels use, vectors of 128 bits (NEON): there is nothing to ask for at run time.

// assembly lists the tiles that this processor can run, best first.
func assembly() []*kernels { return []*kernels{&neon} }

// neon is as AVX2, down to the bits.
var neon = kernels{name: "NEON", heights: []int{6, 4, 2, 1}, width: 16, tile: tileNEON}

// tileNEON checks the bounds that assembly cannot, and calls the tile of the given size.
func tileNEON(h, v, k4 int, a, b, c []float32, stride int, accumulate bool, next []float32) {
	fetch := &b[0] // a fetch beyond the end of memory does nothing
	if len(next) > 0 {
		fetch = &next[0]
	}
	_, _, _ = a[:4*h*k4], b[:4*16*k4], c[:(h-1)*stride+v*8]
	f := tileNEON1x8
	switch 8*h + v {
	case 8*6 + 2:
		f = tileNEON6x16
	case 8*6 + 1:
		f = tileNEON6x8
	case 8*4 + 2:
		f = tileNEON4x16
	case 8*4 + 1:
		f = tileNEON4x8
	case 8*2 + 2:
		f = tileNEON2x16
	case 8*2 + 1:
		f = tileNEON2x8
	case 8*1 + 2:
		f = tileNEON1x16
	}
	f(k4, &a[0], &b[0], &c[0], stride, accumulate, fetch)
}

// packRow packs whole groups of 4 elements of a row into their places of a group of h rows, and returns how many elements
// that were.
func packRow(dst, row []float32, h int) int {
	k4 := len(row) / 4
	if k4 == 0 {
		return 0
	}
	_ = dst[:(k4-1)*4*h+4]
	packRowNEON(k4, &row[0], &dst[0], h)
	return 4 * k4
}

// packFourColumns packs 4 columns of src [k][·] as rows of a group of h, for whole groups of 4 k, and returns how many k.
func packFourColumns(dst, src []float32, stride, k, h int) int {
	k4 := k / 4
	if k4 == 0 {
		return 0
	}
	_, _ = src[:(4*k4-1)*stride+4], dst[:(k4-1)*4*h+16]
	packColumns4NEON(k4, &src[0], stride, &dst[0], h)
	return 4 * k4
}

// packColumns copies k rows of 16 elements into 16 columns of a panel, if there are any.
func packColumns(dst, src []float32, stride, k, width int) bool {
	if k == 0 {
		return false
	}
	_, _ = src[:(k-1)*stride+16], dst[:(k-1)*width+16]
	packCols16NEON(k, &src[0], stride, &dst[0], width)
	return true
}

// transposeEight writes element k of row r of 8 rows to dst[width·k+r], for whole groups of 8 k, and returns how many k.
func transposeEight(dst, src []float32, stride, k, width int) int {
	k8 := k &^ 7
	if k8 == 0 {
		return 0
	}
	_, _ = src[:7*stride+k8], dst[:width*(k8-1)+8]
	transpose8NEON(k8/8, &src[0], stride, &dst[0], width)
	return k8
}

// There are no tiles of bfloat16 here, and so no kernels that pack for them.

func pairColumns(_, _ []float32, _, _, _ int) int { return 0 }

func narrowRow(dst, src []float32) { narrowPlain(dst, src) }

// peakKernel returns a kernel that does nothing but multiply-adds, and the floating point operations of a round of it.
func peakKernel(p gpu.Precision) (run func(n int, x *float32), perRound float64) {
	if p == gpu.BF16 {
		return nil, 0
	}
	return peakNEON, 24 * 2 * 4
}
