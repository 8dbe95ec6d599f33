//go:build !amd64 || purego

package cpu

const avx2 = false

func tile(k4 int, a, b, c []float32, stride int, accumulate bool, _ []float32) {
	tilePortable(k4, a, b, c, stride, accumulate)
}

func packSixRows(_, _ []float32, _, _ int) int { return 0 }

func packColumns(_, _ []float32, _, _ int) bool { return false }

func transposeEight(_, _ []float32, _, _ int) int { return 0 }

func addRow(y, a, b []float32) { addPlain(y, a, b) }

func geluRow(y, x []float32) { geluPlain(y, x) }

func tanhRow(y, x []float32) { tanhPlain(y, x) }

func softmaxRow(x []float32, scale float32) { softmaxPlain(x, scale) }

func layerNormRow(y, x, weight, bias []float32, eps float32) {
	layerNormPlain(y, x, weight, bias, eps)
}
