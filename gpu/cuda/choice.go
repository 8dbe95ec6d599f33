//go:build cuda && linux && cgo

package cuda

import "os"

// What multiplies 16-bit matrices: cublasLt, the package's kernels for Hopper, or those for any GPU.
const (
	gemmLt  = "lt"
	gemmOwn = "own"
	gemmMMA = "mma"
)

// gemmChoice reads $SOWER_CUDA_GEMM, for measurements; unset, what is there and fastest is used.
func gemmChoice() string {
	switch v := os.Getenv("SOWER_CUDA_GEMM"); v {
	case gemmLt, gemmOwn, gemmMMA:
		return v
	}
	return ""
}
