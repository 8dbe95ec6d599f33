package cpu

import (
	"math"

	"sower/gpu/driver"
)

// plainDevice is the back end "plain": one thread, one loop an operation, nothing fused.
//
// For bf16 it rounds the operands of products, in memory, and multiplies as before.
type plainDevice struct{ bf16 bool }

func (plainDevice) Describe() string { return "1 thread, loops in float64" }

func (plainDevice) Alloc(t driver.DType, n int) (driver.Buffer, error) { return alloc(t, n) }

func (d plainDevice) NewMatrix(rows, cols int, kind driver.Kind) (driver.Matrix, error) {
	return &plainMatrix{rows: rows, cols: cols, values: make([]float32, rows*cols), bf16: d.bf16 && kind != driver.Exact}, nil
}

func (d plainDevice) NewStream() (driver.Stream, error) { return plainStream{bf16: d.bf16}, nil }

func (plainDevice) Close() error { return nil }

type plainMatrix struct {
	rows, cols int
	values     []float32
	bf16       bool
}

func (m *plainMatrix) SetRows(row int, data []float32) error {
	copy(m.values[row*m.cols:], rounded(data, m.bf16))
	return nil
}

func (m *plainMatrix) Free() { m.values = nil }

type plainStream struct {
	memory
	bf16 bool
}

// rounded is v, or a copy in bfloat16.
func rounded(v []float32, bf16 bool) []float32 {
	if !bf16 {
		return v
	}
	r := make([]float32, len(v))
	for i, x := range v {
		r[i] = math.Float32frombits(uint32(bfloat16(x)) << 16)
	}
	return r
}

func (plainStream) Close() error { return nil }

func (plainStream) MatMul(y driver.View, stride int, x driver.View, m int, w driver.Matrix) error {
	weight := w.(*plainMatrix)
	to, from := floats(y), rounded(floats(x), weight.bf16)
	for i := range m {
		for j := range weight.rows {
			to[i*stride+j] = float32(dot(from[i*weight.cols:][:weight.cols], weight.values[j*weight.cols:]))
		}
	}
	return nil
}

func dot(a, b []float32) float64 {
	sum := 0.0
	for i, v := range a {
		sum += float64(v) * float64(b[i])
	}
	return sum
}

func (s plainStream) BatchMatMul(p driver.BatchMatMul) error {
	for batch := range p.Batch {
		for head := range p.Heads {
			a, b, c := strided(p.A, batch, head), strided(p.B, batch, head), strided(p.C, batch, head)
			if s.bf16 && !p.TransposeA && !p.Accumulate {
				a, b = rounded(a, true), rounded(b, true)
			}
			row, col := p.B.Row, 1 // steps of b along k and n
			if p.TransposeB {
				row, col = col, row
			}
			down, right := p.A.Row, 1 // steps of a along m and k
			if p.TransposeA {
				down, right = right, down
			}
			for i := range p.M {
				for j := range p.N {
					sum := 0.0
					if p.Accumulate {
						sum = float64(c[i*p.C.Row+j])
					}
					for k := range p.K {
						sum += float64(a[i*down+k*right]) * float64(b[k*row+j*col])
					}
					c[i*p.C.Row+j] = float32(sum)
				}
			}
		}
	}
	return nil
}

func (plainStream) Add(y, a, b driver.View) error {
	for i := 0; i < a.N; i += b.N {
		addPlain(floats(y)[i:i+b.N], floats(a)[i:], floats(b))
	}
	return nil
}

func (plainStream) Apply(f driver.Func, y, x driver.View) error {
	switch f {
	case driver.GELU:
		geluPlain(floats(y), floats(x))
	case driver.Tanh:
		tanhPlain(floats(y), floats(x))
	case driver.ReLU:
		reluPlain(floats(y), floats(x))
	case driver.SiLU:
		siluPlain(floats(y), floats(x))
	}
	return nil
}

func (plainStream) LayerNorm(y, x, weight, bias driver.View, cols int, eps float32) error {
	for i := 0; i < x.N; i += cols {
		layerNormPlain(floats(y)[i:i+cols], floats(x)[i:i+cols], floats(weight), floats(bias), eps)
	}
	return nil
}

func (plainStream) Softmax(y, x driver.View, cols int, scale float32, causal int) error {
	copy(floats(y), floats(x))
	for r := range x.N / cols {
		row, seen := floats(y)[r*cols:][:cols], cols
		if causal > 0 {
			seen = cols - causal + r%causal + 1
		}
		softmaxPlain(row[:seen], scale)
		clear(row[seen:])
	}
	return nil
}

func (plainStream) Nearest(y, x driver.View, table driver.Matrix, norms driver.View) error {
	t, from := table.(*plainMatrix), floats(x)
	for i := range ids(y) {
		z, best := from[i*t.cols:][:t.cols], math.Inf(1)
		ids(y)[i] = 0
		for j, norm := range floats(norms) {
			d := (dot(z, z) + float64(norm)) - 2*dot(z, t.values[j*t.cols:])
			if d < best {
				best, ids(y)[i] = d, int32(j)
			}
		}
	}
	return nil
}
