//go:build cuda && linux && cgo

package cuda

import (
	"sower/gpu/cuda/kernels"
	"sower/gpu/driver"
)

// flatThreads is the size of a block of kernels that any grid will do for.
const flatThreads = 256

// flat is the grid for n threads.
func flat(n int) [3]uint32 { return [3]uint32{uint32((n + flatThreads - 1) / flatThreads), 1, 1} }

// eights is the grid for rows of cols elements where a thread takes eight.
func eights(rows, cols int) [3]uint32 {
	return flat(rows * ((cols + kernels.Eight - 1) / kernels.Eight))
}

func (s *stream) Add(y, a, b driver.View) error {
	if a.N == 0 {
		return nil
	}
	args := kernels.AddArgs{Y: ref(y), A: ref(a), B: ref(b), N: int64(a.N), NB: int64(b.N)}
	return run(s, kernels.Add, eights(1, a.N), flatThreads, 0, &args)
}

func (s *stream) Apply(f driver.Func, y, x driver.View) error {
	if x.N == 0 {
		return nil
	}
	args := kernels.ApplyArgs{Y: ref(y), X: ref(x), N: int64(x.N), F: uint32(f)}
	return run(s, kernels.Apply, eights(1, x.N), flatThreads, 0, &args)
}

// convert copies n elements from one storage type to another, rounding to the nearest.
func (s *stream) convert(y, x kernels.Ref, n int) error {
	if n == 0 {
		return nil
	}
	args := kernels.ConvertArgs{Y: y, X: x, N: int64(n)}
	return run(s, kernels.Convert, eights(1, n), flatThreads, 0, &args)
}

func (s *stream) Copy(dst driver.View, dstStride int, src driver.View, srcStride int, rows, cols int) error {
	if rows == 0 || cols == 0 {
		return nil
	}
	args := kernels.CopyRowsArgs{Y: ref(dst), X: ref(src), YStride: int64(dstStride), XStride: int64(srcStride), Rows: int64(rows), Cols: int64(cols)}
	return run(s, kernels.CopyRows, eights(rows, cols), flatThreads, 0, &args)
}
