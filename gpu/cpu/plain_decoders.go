package cpu

import (
	"fmt"
	"math"

	"sower/gpu/driver"
)

// The operations of language models as loops, in float64 inside.

func (memory) RMSNorm(y, x, weight driver.View, cols int, eps float32) error {
	to, from, w := floats(y), floats(x), floats(weight)
	for i := 0; i < len(from); i += cols {
		factor := rmsFactor(from[i:i+cols], eps)
		for j, v := range w {
			to[i+j] = float32(float64(from[i+j]) * factor * float64(v))
		}
	}
	return nil
}

// rmsFactor is 1/sqrt(mean(x²)+eps).
func rmsFactor(x []float32, eps float32) float64 {
	sum := 0.0
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return 1 / math.Sqrt(sum/float64(len(x))+float64(eps))
}

func (memory) Rotate(y, x, positions, cos, sin driver.View, heads, width int, back bool) error {
	to, from, c, s := floats(y), floats(x), floats(cos), floats(sin)
	for i, p := range ids(positions) {
		if p < 0 || int(p) >= len(c)/(width/2) {
			return fmt.Errorf("cpu: rotate: position %d of row %d, the tables have %d", p, i, len(c)/(width/2))
		}
		for h := range heads {
			at := (i*heads + h) * width
			rotateRow(to[at:at+width], from[at:at+width], c[int(p)*width/2:], s[int(p)*width/2:], back)
		}
	}
	return nil
}

func rotateRow(y, x, cos, sin []float32, back bool) {
	half := len(x) / 2
	lo, hi, cos, sin := x[:half], x[half:][:half], cos[:half], sin[:half]
	for i, a := range lo {
		b, c, s := hi[i], cos[i], sin[i]
		if back {
			s = -s
		}
		y[i], y[half+i] = float32(a*c)-float32(b*s), float32(b*c)+float32(a*s)
	}
}

func (memory) Gate(y, g, u driver.View) error {
	gatePlain(floats(y), floats(g), floats(u))
	return nil
}

func gatePlain(y, g, u []float32) {
	for i, v := range g {
		y[i] = float32(float64(v) / (1 + math.Exp(-float64(v))) * float64(u[i]))
	}
}

func (memory) Axpy(y, x driver.View, a float32) error {
	to := floats(y)
	for i, v := range floats(x) {
		to[i] += float32(a * v)
	}
	return nil
}

func (memory) Dropout(y, x driver.View, seed uint64, rate float32) error {
	to, threshold, scale := floats(y), uint64(float64(rate)*(1<<32)), 1/(1-rate)
	for i, v := range floats(x) {
		to[i] = 0
		if driver.Keeps(seed, i, threshold) {
			to[i] = v * scale
		}
	}
	return nil
}

func (memory) ScatterRows(y, x, to, from driver.View, cols int) error {
	return eachRow("scatter rows", y, x, to, from, cols, func(dst, src []float32) { copy(dst, src) })
}

func (memory) AddRows(y, x, to, from driver.View, cols int) error {
	return eachRow("add rows", y, x, to, from, cols, func(dst, src []float32) { addPlain(dst, dst, src) })
}

// eachRow runs f for pairs of rows, once all of their numbers are known to be in range.
func eachRow(op string, y, x, to, from driver.View, cols int, f func(dst, src []float32)) error {
	dst, src, at := floats(y), floats(x), ids(from)
	for i, r := range ids(to) {
		if r < 0 || int(r) >= len(dst)/cols || at[i] < 0 || int(at[i]) >= len(src)/cols {
			return fmt.Errorf("cpu: %s: row %d of %d to row %d of %d", op, at[i], len(src)/cols, r, len(dst)/cols)
		}
	}
	for i, r := range ids(to) {
		f(dst[int(r)*cols:][:cols], src[int(at[i])*cols:][:cols])
	}
	return nil
}

func (plainStream) LookupMatrix(y driver.View, table driver.Matrix, rows driver.View) error {
	t, to := table.(*plainMatrix), floats(y)
	for i, id := range ids(rows) {
		if id < 0 || int(id) >= t.rows {
			return fmt.Errorf("cpu: lookup: id %d at %d, table has %d rows", id, i, t.rows)
		}
		copy(to[i*t.cols:][:t.cols], t.values[int(id)*t.cols:])
	}
	return nil
}
