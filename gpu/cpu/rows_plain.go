package cpu

import "math"

// The row operations as loops, in float64 inside and rounded once. They are the "plain" back end, the portable path of
// "cpu", and what the assembly is tested against.

func addPlain(y, a, b []float32) {
	for i := range y {
		y[i] = a[i] + b[i]
	}
}

// geluPlain uses Φ(x) = erfc(-x/√2)/2, which is exact to the last place on both sides.
func geluPlain(y, x []float32) {
	for i, v := range x {
		y[i] = float32(float64(v) * math.Erfc(-float64(v)/math.Sqrt2) / 2)
	}
}

func tanhPlain(y, x []float32) {
	for i, v := range x {
		y[i] = float32(math.Tanh(float64(v)))
	}
}

func reluPlain(y, x []float32) {
	for i, v := range x {
		y[i] = max(v, 0)
	}
}

func softmaxPlain(x []float32, scale float32) {
	most := math.Inf(-1)
	for _, v := range x {
		most = max(most, float64(v))
	}
	sum := 0.0
	for _, v := range x {
		sum += math.Exp(float64(scale) * (float64(v) - most))
	}
	for i, v := range x {
		x[i] = float32(math.Exp(float64(scale)*(float64(v)-most)) / sum)
	}
}

func layerNormPlain(y, x, weight, bias []float32, eps float32) {
	mean, variance, n := 0.0, 0.0, float64(len(x))
	for _, v := range x {
		mean += float64(v)
	}
	mean /= n
	for _, v := range x {
		variance += (float64(v) - mean) * (float64(v) - mean)
	}
	variance /= n
	factor := 1 / math.Sqrt(variance+float64(eps))
	for i, v := range x {
		y[i] = float32((float64(v)-mean)*factor*float64(weight[i]) + float64(bias[i]))
	}
}

func siluPlain(y, x []float32) {
	for i, v := range x {
		y[i] = float32(float64(v) / (1 + math.Exp(-float64(v))))
	}
}
