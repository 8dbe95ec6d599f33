//go:build amd64 && !purego

package cpu

import "sower/gpu/driver"

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

// geluGradRow writes dx = dy·(Φ(x) + x·φ(x)).
func geluGradRow(dx, dy, x []float32) {
	if !avx2 || len(dx) == 0 {
		applyGradPlain(driver.GELU, dx, dy, x)
		return
	}
	_, _ = dy[:len(dx)], x[:len(dx)]
	geluGradAVX2(len(dx), &dy[0], &x[0], &dx[0])
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

// layerNormGradRow writes the gradient of layerNormRow to x, and adds those to weight and bias.
func layerNormGradRow(dx, dy, x, weight, dweight, dbias []float32, eps float32) {
	n := len(dx)
	if !avx2 || n == 0 {
		layerNormGradPlain(dx, dy, x, weight, dweight, dbias, eps)
		return
	}
	_, _, _, _, _ = dy[:n], x[:n], weight[:n], dweight[:n], dbias[:n]
	layerNormGradAVX2(n, &dy[0], &x[0], &weight[0], &dx[0], &dweight[0], &dbias[0], eps)
}

// softmaxGradRow writes scale·y·(dy - Σ y·dy).
func softmaxGradRow(dx, dy, y []float32, scale float32) {
	if !avx2 || len(dx) == 0 {
		softmaxGradPlain(dx, dy, y, scale)
		return
	}
	_, _ = dy[:len(dx)], y[:len(dx)]
	softmaxGradAVX2(len(dx), &dy[0], &y[0], &dx[0], float64(scale))
}

// gateRow writes y = u·SiLU(g).
func gateRow(y, g, u []float32) {
	if !avx2 || len(y) == 0 {
		gatePlain(y, g, u)
		return
	}
	_, _ = g[:len(y)], u[:len(y)]
	gateAVX2(len(y), &g[0], &u[0], &y[0])
}

// gateGradRow writes the gradients of gateRow.
func gateGradRow(dg, du, dy, g, u []float32) {
	n := len(dg)
	if !avx2 || n == 0 {
		gateGradPlain(dg, du, dy, g, u)
		return
	}
	_, _, _, _ = du[:n], dy[:n], g[:n], u[:n]
	gateGradAVX2(n, &dy[0], &g[0], &u[0], &dg[0], &du[0])
}
