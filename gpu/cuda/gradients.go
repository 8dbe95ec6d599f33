//go:build cuda && linux && cgo

package cuda

import (
	"math"
	"unsafe"

	"sower/gpu/cuda/kernels"
	"sower/gpu/driver"
)

// sumColumns adds the parts of a sum over rows, float32 [parts cols] at values, to y.
func (s *stream) sumColumns(y driver.View, values uint64, parts, cols int) error {
	args := kernels.AddPartsArgs{Y: ref(y), Values: values, Parts: int64(parts), Cols: int64(cols)}
	return run(s, kernels.AddParts, flat(cols), flatThreads, 0, &args)
}

// columnParts is the grid for parts of sums over rows.
func columnParts(rows, cols int) [3]uint32 {
	grid := flat(cols)
	grid[1] = uint32(kernels.Parts(rows))
	return grid
}

func (s *stream) SumRows(y, x driver.View, cols int) error {
	rows := x.N / cols
	if rows == 0 {
		return nil
	}
	parts := kernels.Parts(rows)
	values, err := s.scratch(parts * cols * 4)
	if err != nil {
		return err
	}
	args := kernels.ColumnPartsArgs{DY: ref(x), Biases: values, Rows: int64(rows), Cols: int64(cols)}
	if err := run(s, kernels.ColumnParts, columnParts(rows, cols), flatThreads, 0, &args); err != nil {
		return err
	}
	return s.sumColumns(y, values, parts, cols)
}

// AddRows notes rows out of range on the device; Sync reports them.
func (s *stream) AddRows(y, x, to, from driver.View, cols int) error {
	if to.N == 0 {
		return nil
	}
	args := kernels.AddRowsArgs{Y: ref(y), X: ref(x), To: ref(to).Ptr, From: ref(from).Ptr, Err: s.flag(), N: int64(to.N),
		Cols: int64(cols), ToLimit: int64(y.N / cols), FromLimit: int64(x.N / cols)}
	return run(s, kernels.AddRows, [3]uint32{uint32(to.N), 1, 1}, kernels.AddRowsThreads, 0, &args)
}

func (s *stream) ApplyGrad(f driver.Func, dx, dy, x driver.View) error {
	if x.N == 0 {
		return nil
	}
	args := kernels.ApplyGradArgs{DX: ref(dx), DY: ref(dy), X: ref(x), N: int64(x.N), F: uint32(f)}
	return run(s, kernels.ApplyGrad, eights(1, x.N), flatThreads, 0, &args)
}

func (s *stream) GateGrad(dg, du, dy, g, u driver.View) error {
	if g.N == 0 {
		return nil
	}
	args := kernels.GateGradArgs{DG: ref(dg), DU: ref(du), DY: ref(dy), G: ref(g), U: ref(u), N: int64(g.N)}
	return run(s, kernels.GateGrad, eights(1, g.N), flatThreads, 0, &args)
}

func (s *stream) SoftmaxGrad(dx, dy, y driver.View, cols int, scale float32) error {
	args := kernels.SoftmaxGradArgs{DX: ref(dx), DY: ref(dy), Y: ref(y), Cols: int64(cols), Scale: scale}
	return runRows(s, kernels.SoftmaxGrad, y.N, cols, &args)
}

func (s *stream) LayerNormGrad(dx, dweight, dbias, dy, x, weight driver.View, cols int, eps float32) error {
	return s.normGrad(dx, dweight, dbias, dy, x, weight, cols, eps, 1)
}

func (s *stream) RMSNormGrad(dx, dweight, dy, x, weight driver.View, cols int, eps float32) error {
	return s.normGrad(dx, dweight, driver.View{}, dy, x, weight, cols, eps, 0)
}

// normGrad adds up the gradients of the parameters first, because dx may be dy or x.
func (s *stream) normGrad(dx, dweight, dbias, dy, x, weight driver.View, cols int, eps float32, centered uint32) error {
	rows := x.N / cols
	if rows == 0 {
		return nil
	}
	args := kernels.NormGradArgs{DX: ref(dx), DY: ref(dy), X: ref(x), Weight: ref(weight), Cols: int64(cols), Eps: eps, Centered: centered}
	if dweight.Buf != nil || dbias.Buf != nil {
		if err := s.parameterGrads(dweight, dbias, args, rows); err != nil {
			return err
		}
	}
	return runRows(s, kernels.NormGrad, x.N, cols, &args)
}

// parameterGrads adds the gradients of a norm's parameters: statistics of each row, parts of the sums over rows, their sums.
func (s *stream) parameterGrads(dweight, dbias driver.View, norm kernels.NormGradArgs, rows int) error {
	cols, parts := int(norm.Cols), kernels.Parts(rows)
	each := uint64(parts * cols * 4)
	memory, err := s.scratch(2*int(each) + 2*rows*4)
	if err != nil {
		return err
	}
	sums := kernels.ColumnPartsArgs{DY: norm.DY, X: norm.X, Rows: int64(rows), Cols: int64(cols)}
	if dbias.Buf != nil {
		sums.Biases = memory + each
	}
	if dweight.Buf != nil {
		sums.Weights, sums.Stats = memory, memory+2*each
		norm.Stats = sums.Stats
		if err := runRows(s, kernels.NormGrad, rows*cols, cols, &norm); err != nil {
			return err
		}
	}
	if err := run(s, kernels.ColumnParts, columnParts(rows, cols), flatThreads, 0, &sums); err != nil {
		return err
	}
	if dweight.Buf != nil {
		if err := s.sumColumns(dweight, sums.Weights, parts, cols); err != nil {
			return err
		}
	}
	if dbias.Buf != nil {
		return s.sumColumns(dbias, sums.Biases, parts, cols)
	}
	return nil
}

// CrossEntropy notes labels out of range on the device; Sync reports them.
func (s *stream) CrossEntropy(a driver.CrossEntropyArgs) error {
	if a.Labels.N == 0 {
		return nil
	}
	args := kernels.CrossEntropyArgs{Loss: ref(a.Loss), Logits: ref(a.Logits), Labels: ref(a.Labels).Ptr, Err: s.flag(),
		Cols: int64(a.Cols), Scale: a.Scale}
	return run(s, kernels.CrossEntropy, [3]uint32{uint32(a.Labels.N), 1, 1}, kernels.RowThreads(a.Cols), 0, &args)
}

// SumSquares waits for what ran before it.
func (s *stream) SumSquares(x driver.View) (float64, error) {
	if x.N == 0 {
		return 0, nil
	}
	blocks := (x.N + kernels.Squares - 1) / kernels.Squares
	parts, err := s.scratch((blocks + 1) * 8)
	if err != nil {
		return 0, err
	}
	squares := kernels.SumSquaresArgs{X: ref(x), Parts: parts, N: int64(x.N)}
	if err := run(s, kernels.SumSquares, [3]uint32{uint32(blocks), 1, 1}, kernels.SumThreads, 0, &squares); err != nil {
		return 0, err
	}
	total := kernels.SumPartsArgs{Parts: parts, Sum: parts + uint64(blocks)*8, N: int64(blocks)}
	if err := run(s, kernels.SumParts, [3]uint32{1, 1, 1}, kernels.SumThreads, 0, &total); err != nil {
		return 0, err
	}
	var sum float64
	err = s.fetch(unsafe.Pointer(&sum), total.Sum, 8)
	return sum, err
}

func (s *stream) AdamW(a driver.AdamWArgs) error {
	if a.P.N == 0 {
		return nil
	}
	t := float64(a.Step)
	args := kernels.AdamWArgs{P: ref(a.P), G: ref(a.G), M: ref(a.M), V: ref(a.V), N: int64(a.P.N),
		Keep: float32(1 - a.Rate*a.Decay), Rate: float32(a.Rate / (1 - math.Pow(a.Beta1, t))),
		Root: float32(1 / math.Sqrt(1-math.Pow(a.Beta2, t))), Eps: float32(a.Eps), Beta1: float32(a.Beta1), Rest1: float32(1 - a.Beta1),
		Beta2: float32(a.Beta2), Rest2: float32(1 - a.Beta2), Scale: float32(a.GradScale)}
	return run(s, kernels.AdamW, eights(1, a.P.N), flatThreads, 0, &args)
}
