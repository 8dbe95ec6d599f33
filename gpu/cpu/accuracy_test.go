package cpu

import (
	"math"
	"testing"

	"sower/gpu/driver"
)

// ulps is the distance of got from want in units of the last place of want.
func ulps(got float32, want float64) float64 {
	w := float32(want)
	unit := float64(math.Nextafter32(float32(math.Abs(float64(w))), float32(math.Inf(1)))) - math.Abs(float64(w))
	return math.Abs(float64(got)-want) / unit
}

// TestAccuracy walks over the whole range of the elementwise kernels, and holds them to what their comments say.
func TestAccuracy(t *testing.T) {
	for _, c := range []struct {
		name   string
		run    func(y, x []float32)
		exact  func(float64) float64
		lo, hi float64
		bound  float64
	}{
		{"GELU left", geluRow, func(x float64) float64 { return x * math.Erfc(-x/math.Sqrt2) / 2 }, -12.5, -1e-6, 6},
		{"GELU right", geluRow, func(x float64) float64 { return x * math.Erfc(-x/math.Sqrt2) / 2 }, 1e-6, 30, 4},
		{"tanh", tanhRow, math.Tanh, -12, 12, 4},
	} {
		const n = 1 << 20
		x, y := make([]float32, n), make([]float32, n)
		for i := range x {
			x[i] = float32(c.lo + (c.hi-c.lo)*float64(i)/n)
		}
		c.run(y, x)
		worst, at, sum := 0.0, 0, 0.0
		for i, v := range x {
			u := ulps(y[i], c.exact(float64(v)))
			sum += u
			if u > worst {
				worst, at = u, i
			}
		}
		if !(worst <= c.bound) {
			t.Errorf("%s(%g) is %g: off by %.2f units in the last place, allowed %g", c.name, x[at], y[at], worst, c.bound)
		}
		t.Logf("%s: %.2f units in the last place at worst, %.2f on average", c.name, worst, sum/n)
	}
}

// TestSoftmaxAccuracy holds each probability, however small, to its relative bound.
func TestSoftmaxAccuracy(t *testing.T) {
	const n, scale = 257, 0.125
	x, y := make([]float32, n), make([]float32, n)
	for i := range x {
		x[i] = float32(-float64(i*i) / 100)
	}
	copy(y, x)
	softmaxRow(y, scale)
	sum := 0.0
	for _, v := range x {
		sum += math.Exp(float64(v) * scale)
	}
	worst := 0.0
	for i, v := range x {
		want := math.Exp(float64(v)*scale) / sum
		if want < 1e-36 {
			continue
		}
		u, allowed := ulps(y[i], want), 4+scale*math.Abs(float64(v))
		worst = max(worst, u/allowed)
		if u > allowed {
			t.Errorf("element %d is %g, want %g: off by %.2f units in the last place, allowed %.2f", i, y[i], want, u, allowed)
		}
	}
	t.Logf("%.2f of what is allowed at worst", worst)
}

// TestGateAccuracy compares the gate and its gradient with float64 over the range where they matter.
func TestGateAccuracy(t *testing.T) {
	const n = 1<<16 + 5
	g, u, dy := make([]float32, n), make([]float32, n), make([]float32, n)
	for i := range g {
		g[i] = float32(-30 + 60*float64(i)/n)
		u[i], dy[i] = float32(math.Cos(float64(i)))*3, float32(math.Sin(float64(i)*0.7))
	}
	y, dg, du := make([]float32, n), make([]float32, n), make([]float32, n)
	gateRow(y, g, u)
	gateGradRow(dg, du, dy, g, u)
	want, wantG, wantU := make([]float32, n), make([]float32, n), make([]float32, n)
	gatePlain(want, g, u)
	gateGradPlain(wantG, wantU, dy, g, u)
	for i := range y {
		for what, pair := range map[string][2]float32{"gate": {y[i], want[i]}, "du": {du[i], wantU[i]}} {
			if d := math.Abs(float64(pair[0]) - float64(pair[1])); !(d <= 6e-7*math.Abs(float64(pair[1]))+1e-36) {
				t.Fatalf("%s(%g, %g) is %g, want %g", what, g[i], u[i], pair[0], pair[1])
			}
		}
		// 1 + g·(1-s) passes through 0 near g = -1.28.
		if d := math.Abs(float64(dg[i]) - float64(wantG[i])); !(d <= 2e-6*math.Abs(float64(wantG[i]))+3e-7*math.Abs(float64(dy[i]*u[i]))) {
			t.Fatalf("dg(%g) is %g, want %g", g[i], dg[i], wantG[i])
		}
	}
}

// TestGELUGradAccuracy compares the gradient of GELU with float64 over the range where it matters.
func TestGELUGradAccuracy(t *testing.T) {
	const n = 1<<18 + 3
	x, dy, got := make([]float32, n), make([]float32, n), make([]float32, n)
	for i := range x {
		x[i], dy[i] = float32(-14+28*float64(i)/n), float32(math.Cos(float64(i)))
	}
	geluGradRow(got, dy, x)
	worst := 0.0
	for i, v := range x {
		want := float64(dy[i]) * slope(driver.GELU, float64(v))
		worst = max(worst, math.Abs(float64(got[i])-want)/max(math.Abs(want), math.Abs(float64(dy[i]))))
	}
	if !(worst <= 2e-7) {
		t.Errorf("%.2g of the larger of gradient and result at worst", worst)
	}
	geluGradRow(got[:3], []float32{1, 1, 1}, []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))})
	if got[0] == got[0] {
		t.Errorf("of NaN: %v", got[0])
	}
}
