//go:build (!amd64 && !arm64) || purego

package cpu

import (
	"sower/gpu"
	"sower/gpu/driver"
)

func peakKernel(gpu.Precision) (func(n int, x *float32), float64) { return nil, 0 }

func assembly() []*kernels { return nil }

func packRow(_, _ []float32, _ int) int { return 0 }

func packFourColumns(_, _ []float32, _, _, _ int) int { return 0 }

func packColumns(_, _ []float32, _, _, _ int) bool { return false }

func pairColumns(_, _ []float32, _, _, _ int) int { return 0 }

func transposeEight(_, _ []float32, _, _, _ int) int { return 0 }

func narrowRow(dst, src []float32) { narrowPlain(dst, src) }

func addRow(y, a, b []float32) { addPlain(y, a, b) }

func geluRow(y, x []float32) { geluPlain(y, x) }

func tanhRow(y, x []float32) { tanhPlain(y, x) }

func softmaxRow(x []float32, scale float32) { softmaxPlain(x, scale) }

func layerNormRow(y, x, weight, bias []float32, eps float32) {
	layerNormPlain(y, x, weight, bias, eps)
}

func layerNormGradRow(dx, dy, x, weight, dweight, dbias []float32, eps float32) {
	layerNormGradPlain(dx, dy, x, weight, dweight, dbias, eps)
}

func softmaxGradRow(dx, dy, y []float32, scale float32) { softmaxGradPlain(dx, dy, y, scale) }

func gateRow(y, g, u []float32) { gatePlain(y, g, u) }

func geluGradRow(dx, dy, x []float32) { applyGradPlain(driver.GELU, dx, dy, x) }

func gateGradRow(dg, du, dy, g, u []float32) { gateGradPlain(dg, du, dy, g, u) }
