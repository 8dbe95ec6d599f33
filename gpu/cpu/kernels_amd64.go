//go:build amd64 && !purego

package cpu

import "golang.org/x/sys/cpu"

// avx2 says that the processor and the operating system have what the assembly needs. Tests turn it off to run the
// portable path.
var avx2 = cpu.X86.HasAVX2 && cpu.X86.HasFMA

// tile computes c (+)= a·b for 6 rows, 16 columns and 4·k4 steps; a is packed [k4][6][4], b [4·k4][16]. next, if any, is
// the part of the next panel of b that should be fetched meanwhile.
func tile(k4 int, a, b, c []float32, stride int, accumulate bool, next []float32) {
	if !avx2 {
		tilePortable(k4, a, b, c, stride, accumulate)
		return
	}
	var fetch *float32
	if len(next) >= 128 {
		fetch = &next[0]
	}
	_, _, _ = a[:24*k4], b[:64*k4], c[:5*stride+16]
	tile6x16(k4, &a[0], &b[0], &c[0], stride, accumulate, fetch)
}

// packSixRows packs whole groups of 4 elements of 6 rows and returns how many elements of a row that were.
func packSixRows(dst, src []float32, stride, k int) int {
	if !avx2 || k < 4 {
		return 0
	}
	k4 := k / 4
	_, _ = src[:5*stride+4*k4], dst[:24*k4]
	packRows6(k4, &src[0], stride, &dst[0])
	return 4 * k4
}

// packColumns copies k rows of 16 elements, if it can.
func packColumns(dst, src []float32, stride, k int) bool {
	if !avx2 || k == 0 {
		return false
	}
	_, _ = src[:(k-1)*stride+16], dst[:16*k]
	packCols16(k, &src[0], stride, &dst[0])
	return true
}

// transposeEight writes element k of row r of 8 rows to dst[16·k+r], for whole groups of 8 k, and returns how many k.
func transposeEight(dst, src []float32, stride, k int) int {
	if !avx2 || k < 8 {
		return 0
	}
	k8 := k &^ 7
	_, _ = src[:7*stride+k8], dst[:16*k8-8]
	transpose8(k8/8, &src[0], stride, &dst[0])
	return k8
}

// addRow writes y = a + b.
func addRow(y, a, b []float32) {
	if !avx2 || len(y) == 0 {
		addPlain(y, a, b)
		return
	}
	_, _ = a[:len(y)], b[:len(y)]
	addAVX2(len(y), &a[0], &b[0], &y[0])
}

// geluRow writes y = x·Φ(x).
func geluRow(y, x []float32) {
	if !avx2 || len(y) == 0 {
		geluPlain(y, x)
		return
	}
	_ = x[:len(y)]
	geluAVX2(len(y), &x[0], &y[0])
}

// tanhRow writes y = tanh(x).
func tanhRow(y, x []float32) {
	if !avx2 || len(y) == 0 {
		tanhPlain(y, x)
		return
	}
	_ = x[:len(y)]
	tanhAVX2(len(y), &x[0], &y[0])
}

// softmaxRow replaces x by exp(scale·(x-max))/sum.
func softmaxRow(x []float32, scale float32) {
	if !avx2 || len(x) == 0 {
		softmaxPlain(x, scale)
		return
	}
	softmaxAVX2(len(x), &x[0], scale)
}

// layerNormRow writes y = (x-mean)/sqrt(variance+eps)·weight + bias.
func layerNormRow(y, x, weight, bias []float32, eps float32) {
	if !avx2 || len(y) == 0 {
		layerNormPlain(y, x, weight, bias, eps)
		return
	}
	_, _, _ = x[:len(y)], weight[:len(y)], bias[:len(y)]
	layerNormAVX2(len(y), &x[0], &weight[0], &bias[0], &y[0], eps)
}
