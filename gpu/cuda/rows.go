//go:build cuda && linux && cgo

package cuda

import (
	"sower/gpu/cuda/kernels"
	"sower/gpu/driver"
)

// runRows launches a kernel that has a block for each row of cols among n elements.
func runRows[T any](s *stream, k kernels.RowKernel, n, cols int, args *T) error {
	if n == 0 {
		return nil
	}
	kernel, threads := k.For(cols)
	return run(s, kernel, [3]uint32{uint32(n / cols), 1, 1}, threads, 0, args)
}

func (s *stream) LayerNorm(y, x, weight, bias driver.View, cols int, eps float32) error {
	args := kernels.LayerNormArgs{Y: ref(y), X: ref(x), Weight: ref(weight), Bias: ref(bias), Cols: int64(cols), Eps: eps}
	return runRows(s, kernels.LayerNorm, x.N, cols, &args)
}

func (s *stream) RMSNorm(y, x, weight driver.View, cols int, eps float32) error {
	args := kernels.RMSNormArgs{Y: ref(y), X: ref(x), Weight: ref(weight), Cols: int64(cols), Eps: eps}
	return runRows(s, kernels.RMSNorm, x.N, cols, &args)
}

func (s *stream) Softmax(y, x driver.View, cols int, scale float32, causal int) error {
	args := kernels.SoftmaxArgs{Y: ref(y), X: ref(x), Cols: int64(cols), Causal: int64(causal), Scale: scale}
	return runRows(s, kernels.Softmax, x.N, cols, &args)
}
