//go:build arm64 && !purego

package cpu

import "sower/gpu/driver"

// addRow writes y = a + b.
func addRow(y, a, b []float32) {
	if len(y) == 0 {
		return
	}
	_, _ = a[:len(y)], b[:len(y)]
	addNEON(len(y), &a[0], &b[0], &y[0])
}

// geluRow writes y = x·Φ(x).
func geluRow(y, x []float32) {
	if len(y) == 0 {
		return
	}
	_ = x[:len(y)]
	geluNEON(len(y), &x[0], &y[0])
}

// tanhRow writes y = tanh(x).
func tanhRow(y, x []float32) {
	if len(y) == 0 {
		return
	}
	_ = x[:len(y)]
	tanhNEON(len(y), &x[0], &y[0])
}

// softmaxRow replaces x by exp(scale·(x-max))/sum.
func softmaxRow(x []float32, scale float32) {
	if len(x) > 0 {
		softmaxNEON(len(x), &x[0], scale)
	}
}

// layerNormRow writes y = (x-mean)/sqrt(variance+eps)·weight + bias.
func layerNormRow(y, x, weight, bias []float32, eps float32) {
	if len(y) == 0 {
		return
	}
	_, _, _ = x[:len(y)], weight[:len(y)], bias[:len(y)]
	layerNormNEON(len(y), &x[0], &weight[0], &bias[0], &y[0], eps)
}

func layerNormGradRow(dx, dy, x, weight, dweight, dbias []float32, eps float32) {
	layerNormGradPlain(dx, dy, x, weight, dweight, dbias, eps)
}

func softmaxGradRow(dx, dy, y []float32, scale float32) { softmaxGradPlain(dx, dy, y, scale) }

func gateRow(y, g, u []float32) { gatePlain(y, g, u) }

func geluGradRow(dx, dy, x []float32) { applyGradPlain(driver.GELU, dx, dy, x) }

func gateGradRow(dg, du, dy, g, u []float32) { gateGradPlain(dg, du, dy, g, u) }
