package gpu

import (
	"time"

	"sower/gpu/driver"
)

// The operations of language models and of training, with a clock.

func (s *profiled) RMSNorm(y, x, weight driver.View, cols int, eps float32) error {
	defer s.since("rms norm", time.Now(), 0)
	return s.Stream.RMSNorm(y, x, weight, cols, eps)
}

func (s *profiled) Rotate(y, x, positions, cos, sin driver.View, heads, width int, back bool) error {
	defer s.since("rotate", time.Now(), 0)
	return s.Stream.Rotate(y, x, positions, cos, sin, heads, width, back)
}

func (s *profiled) Gate(y, g, u driver.View) error {
	defer s.since("gate", time.Now(), 0)
	return s.Stream.Gate(y, g, u)
}

func (s *profiled) LookupMatrix(y driver.View, table driver.Matrix, ids driver.View) error {
	defer s.since("lookup", time.Now(), 0)
	return s.Stream.LookupMatrix(y, table, ids)
}

func (s *profiled) MatMulInput(dx, dy driver.View, stride, m int, w driver.Matrix, accumulate bool) error {
	defer s.since("linear, gradient", time.Now(), m*min(stride, dy.N)*(dx.N/max(m, 1)))
	return s.Stream.MatMulInput(dx, dy, stride, m, w, accumulate)
}

func (s *profiledDense) Dense(a driver.DenseArgs) error {
	defer s.since("layer in training", time.Now(), a.M*a.N*a.K)
	return s.dense.Dense(a)
}

func (s *profiled) RMSNormGrad(dx, dweight, dy, x, weight driver.View, cols int, eps float32) error {
	defer s.since("rms norm, gradient", time.Now(), 0)
	return s.Stream.RMSNormGrad(dx, dweight, dy, x, weight, cols, eps)
}

func (s *profiled) LayerNormGrad(dx, dweight, dbias, dy, x, weight driver.View, cols int, eps float32) error {
	defer s.since("layer norm, gradient", time.Now(), 0)
	return s.Stream.LayerNormGrad(dx, dweight, dbias, dy, x, weight, cols, eps)
}

func (s *profiled) ApplyGrad(f driver.Func, dx, dy, x driver.View) error {
	defer s.since(f.String()+", gradient", time.Now(), 0)
	return s.Stream.ApplyGrad(f, dx, dy, x)
}

func (s *profiled) SumRows(y, x driver.View, cols int) error {
	defer s.since("sum of rows", time.Now(), 0)
	return s.Stream.SumRows(y, x, cols)
}

func (s *profiled) AddRows(y, x, to, from driver.View, cols int) error {
	defer s.since("add rows", time.Now(), 0)
	return s.Stream.AddRows(y, x, to, from, cols)
}

func (s *profiled) GateGrad(dg, du, dy, g, u driver.View) error {
	defer s.since("gate, gradient", time.Now(), 0)
	return s.Stream.GateGrad(dg, du, dy, g, u)
}

func (s *profiled) AttentionGrad(a driver.AttentionGradArgs) error {
	defer s.since("attention, gradient", time.Now(), 5*a.Batch*a.Heads*a.Tq*a.Tk*a.Width)
	return s.Stream.AttentionGrad(a)
}

func (s *profiled) CrossEntropy(a driver.CrossEntropyArgs) error {
	defer s.since("cross entropy", time.Now(), 0)
	return s.Stream.CrossEntropy(a)
}

func (s *profiled) AdamW(a driver.AdamWArgs) error {
	defer s.since("adamw", time.Now(), 0)
	return s.Stream.AdamW(a)
}

func (s *profiled) SumSquares(x driver.View) (float64, error) {
	defer s.since("sum of squares", time.Now(), 0)
	return s.Stream.SumSquares(x)
}

func (s *profiled) WriteF32(dst driver.View, src []float32) error {
	defer s.since("write", time.Now(), 0)
	return s.Stream.WriteF32(dst, src)
}
