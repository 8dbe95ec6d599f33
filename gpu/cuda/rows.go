//go:build cuda && linux && cgo

package cuda

import (
	"sower/gpu/cuda/kernels"
	"sower/gpu/driver"
)

// perRow is the grid of kernels that have a block for each row of cols among n elements.
func perRow(n, cols int) [3]uint32 { return [3]uint32{uint32(n / cols), 1, 1} }

func (s *stream) LayerNorm(y, x, weight, bias driver.View, cols int, eps float32) error {
	if x.N == 0 {
		return nil
	}
	args := kernels.LayerNormArgs{Y: ref(y), X: ref(x), Weight: ref(weight), Bias: ref(bias), Cols: int64(cols), Eps: eps}
	return run(s, kernels.LayerNorm, perRow(x.N, cols), kernels.RowThreads(cols), 0, &args)
}

func (s *stream) RMSNorm(y, x, weight driver.View, cols int, eps float32) error {
	if x.N == 0 {
		return nil
	}
	args := kernels.RMSNormArgs{Y: ref(y), X: ref(x), Weight: ref(weight), Cols: int64(cols), Eps: eps}
	return run(s, kernels.RMSNorm, perRow(x.N, cols), kernels.RowThreads(cols), 0, &args)
}

func (s *stream) Softmax(y, x driver.View, cols int, scale float32, causal int) error {
	if x.N == 0 {
		return nil
	}
	args := kernels.SoftmaxArgs{Y: ref(y), X: ref(x), Cols: int64(cols), Causal: int64(causal), Scale: scale}
	return run(s, kernels.Softmax, perRow(x.N, cols), kernels.RowThreads(cols), 0, &args)
}
