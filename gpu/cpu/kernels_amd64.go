//go:build amd64 && !purego

package cpu

import (
	"golang.org/x/sys/cpu"

	"sower/gpu"
)

// avx2 says that the processor and the operating system have what packing and row kernels need. Tests turn it off to run
// the portable path.
var avx2 = cpu.X86.HasAVX2 && cpu.X86.HasFMA

// assembly lists the tiles that this processor can run, best first.
func assembly() []*kernels {
	var list []*kernels
	switch {
	case !avx2:
		return nil
	case cpu.X86.HasAVX512F && cpu.X86.HasAVX512BF16:
		list = append(list, &avx512Pairs)
		fallthrough
	case cpu.X86.HasAVX512F:
		list = append(list, &avx512)
	}
	return append(list, &fma)
}

// The kinds of tiles. AVX2 and AVX-512 give the same bits.
var (
	fma = kernels{name: "AVX2", heights: []int{6, 4, 2, 1}, width: 16, tile: call(map[[2]int]tileFunc{
		{6, 2}: tileAVX26x16, {4, 2}: tileAVX24x16, {2, 2}: tileAVX22x16, {1, 2}: tileAVX21x16,
		{6, 1}: tileAVX26x8, {4, 1}: tileAVX24x8, {2, 1}: tileAVX22x8, {1, 1}: tileAVX21x8})}
	avx512 = kernels{name: "AVX-512", heights: []int{12, 8, 4, 2, 1}, width: 32, tile: call(map[[2]int]tileFunc{
		{12, 2}: tileAVX51212x32, {8, 2}: tileAVX5128x32, {4, 2}: tileAVX5124x32, {2, 2}: tileAVX5122x32, {1, 2}: tileAVX5121x32,
		{12, 1}: tileAVX51212x16, {8, 1}: tileAVX5128x16, {4, 1}: tileAVX5124x16, {2, 1}: tileAVX5122x16, {1, 1}: tileAVX5121x16})}
	avx512Pairs = kernels{name: "AVX512_BF16", heights: []int{12, 8, 4, 2, 1}, width: 32, pairs: true, tile: call(map[[2]int]tileFunc{
		{12, 2}: tileBF1612x32, {8, 2}: tileBF168x32, {4, 2}: tileBF164x32, {2, 2}: tileBF162x32, {1, 2}: tileBF161x32,
		{12, 1}: tileBF1612x16, {8, 1}: tileBF168x16, {4, 1}: tileBF164x16, {2, 1}: tileBF162x16, {1, 1}: tileBF161x16})}
)

type tileFunc = func(k4 int, a, b, c *float32, stride int, accumulate bool, next *float32)

// call checks the bounds that assembly cannot, and calls the tile of the given size.
func call(tiles map[[2]int]tileFunc) func(h, v, k4 int, a, b, c []float32, stride int, accumulate bool, next []float32) {
	var table [13][3]tileFunc
	width := 16
	for size, f := range tiles {
		table[size[0]][size[1]] = f
		if size[0] > 6 {
			width = 32
		}
	}
	return func(h, v, k4 int, a, b, c []float32, stride int, accumulate bool, next []float32) {
		fetch := &b[0] // a fetch beyond the end of memory does nothing
		if len(next) > 0 {
			fetch = &next[0]
		}
		_, _, _ = a[:4*h*k4], b[:4*width*k4], c[:(h-1)*stride+v*width/2]
		table[h][v](k4, &a[0], &b[0], &c[0], stride, accumulate, fetch)
	}
}

// packRow packs whole groups of 4 elements of a row into their places of a group of h rows, and returns how many elements
// that were.
func packRow(dst, row []float32, h int) int {
	k4 := len(row) / 4
	if !avx2 || k4 == 0 {
		return 0
	}
	_ = dst[:(k4-1)*4*h+4]
	packRowAVX2(k4, &row[0], &dst[0], h)
	return 4 * k4
}

// packFourColumns packs 4 columns of src [k][·] as rows of a group of h, for whole groups of 4 k, and returns how many k.
func packFourColumns(dst, src []float32, stride, k, h int) int {
	k4 := k / 4
	if !avx2 || k4 == 0 {
		return 0
	}
	_, _ = src[:(4*k4-1)*stride+4], dst[:(k4-1)*4*h+16]
	packColumns4AVX2(k4, &src[0], stride, &dst[0], h)
	return 4 * k4
}

// packColumns copies k rows of 16 elements into 16 columns of a panel, if it can.
func packColumns(dst, src []float32, stride, k, width int) bool {
	if !avx2 || k == 0 {
		return false
	}
	_, _ = src[:(k-1)*stride+16], dst[:(k-1)*width+16]
	packCols16(k, &src[0], stride, &dst[0], width)
	return true
}

// pairColumns is packColumns for pairs of rows of bfloat16, and returns how many pairs it did.
func pairColumns(dst, src []float32, stride, pairs, width int) int {
	if !avx2 || pairs == 0 {
		return 0
	}
	_, _ = src[:(2*pairs-1)*stride+16], dst[:(pairs-1)*width+16]
	pairCols16(pairs, &src[0], stride, &dst[0], width)
	return pairs
}

// transposeEight writes element k of row r of 8 rows to dst[width·k+r], for whole groups of 8 k, and returns how many k.
func transposeEight(dst, src []float32, stride, k, width int) int {
	k8 := k &^ 7
	if !avx2 || k8 == 0 {
		return 0
	}
	_, _ = src[:7*stride+k8], dst[:width*(k8-1)+8]
	transpose8(k8/8, &src[0], stride, &dst[0], width)
	return k8
}

// narrowRow rounds to bfloat16, two elements in one of dst.
func narrowRow(dst, src []float32) {
	n8 := len(src) / 8
	if !avx2 {
		n8 = 0
	}
	if n8 > 0 {
		_ = dst[:4*n8]
		narrowAVX2(n8, &src[0], &dst[0])
	}
	narrowPlain(dst[4*n8:], src[8*n8:])
}

// peakKernel returns a kernel that does nothing but multiply-adds, and the floating point operations of a round of it.
func peakKernel(p gpu.Precision) (run func(n int, x *float32), perRound float64) {
	const chain = 24 * 2
	list := available(p == gpu.BF16)
	if len(list) == 0 {
		return nil, 0
	}
	switch list[0] {
	case &fma:
		return peakAVX2, chain * 8
	case &avx512:
		return peakAVX512, chain * 16
	case &avx512Pairs:
		return peakBF16, chain * 32
	}
	return nil, 0
}
