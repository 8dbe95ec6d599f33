//go:build cuda && linux && cgo

package cuda

import (
	"sower/gpu/cuda/kernels"
	"sower/gpu/driver"
)

func (s *stream) Rotate(y, x, positions, cos, sin driver.View, heads, width int, back bool) error {
	half := width / 2
	if positions.N == 0 || half == 0 {
		return nil
	}
	args := kernels.RotateArgs{Y: ref(y), X: ref(x), Cos: ref(cos), Sin: ref(sin), Positions: ref(positions).Ptr, Err: s.flag(),
		N: int64(positions.N), Limit: int64(cos.N / half), Heads: uint32(heads), Width: uint32(width)}
	if back {
		args.Back = 1
	}
	return run(s, kernels.Rotate, flat(positions.N*heads*half), flatThreads, 0, &args)
}

func (s *stream) Gate(y, g, u driver.View) error {
	if g.N == 0 {
		return nil
	}
	args := kernels.GateArgs{Y: ref(y), G: ref(g), U: ref(u), N: int64(g.N)}
	return run(s, kernels.Gate, eights(1, g.N), flatThreads, 0, &args)
}

func (s *stream) Axpy(y, x driver.View, a float32) error {
	if x.N == 0 {
		return nil
	}
	args := kernels.AxpyArgs{Y: ref(y), X: ref(x), N: int64(x.N), S: a}
	return run(s, kernels.Axpy, eights(1, x.N), flatThreads, 0, &args)
}

func (s *stream) Dropout(y, x driver.View, seed uint64, rate float32) error {
	if x.N == 0 {
		return nil
	}
	args := kernels.DropoutArgs{Y: ref(y), X: ref(x), N: int64(x.N), Seed: seed, Threshold: uint64(float64(rate) * (1 << 32)),
		Scale: 1 / (1 - rate)}
	return run(s, kernels.Dropout, eights(1, x.N), flatThreads, 0, &args)
}
