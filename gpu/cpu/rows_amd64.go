//go:build amd64 && !purego

package cpu

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
