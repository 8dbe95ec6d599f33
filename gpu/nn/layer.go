// Package nn has the layers that models are made of, and loads them from a checkpoint.Source by explicit name.
package nn

import "sower/gpu"

// Linear is x·Wᵀ + b. Its methods fuse what follows where the back end can.
type Linear struct {
	Weight *gpu.Tensor // [D C], packed
	Bias   *gpu.Tensor // [D], or nil
}

// Forward maps x [.. C] → [.. D].
func (l *Linear) Forward(p *gpu.Pass, x *gpu.Tensor) *gpu.Tensor {
	return p.Linear(x, l.Weight, l.Bias)
}

// GELU is GELU(Forward(x)).
func (l *Linear) GELU(p *gpu.Pass, x *gpu.Tensor) *gpu.Tensor {
	return p.LinearGELU(x, l.Weight, l.Bias)
}

// Tanh is tanh(Forward(x)).
func (l *Linear) Tanh(p *gpu.Pass, x *gpu.Tensor) *gpu.Tensor {
	return p.LinearTanh(x, l.Weight, l.Bias)
}

// ReLU is max(Forward(x), 0).
func (l *Linear) ReLU(p *gpu.Pass, x *gpu.Tensor) *gpu.Tensor {
	return p.LinearReLU(x, l.Weight, l.Bias)
}

// Add is Forward(x) + residual.
func (l *Linear) Add(p *gpu.Pass, x, residual *gpu.Tensor) *gpu.Tensor {
	return p.LinearAdd(x, l.Weight, l.Bias, residual)
}

// LayerNorm normalizes rows.
type LayerNorm struct {
	Weight, Bias *gpu.Tensor // [C]
	Eps          float32
}

// Forward maps x [.. C] → [.. C].
func (l *LayerNorm) Forward(p *gpu.Pass, x *gpu.Tensor) *gpu.Tensor {
	return p.LayerNorm(x, l.Weight, l.Bias, l.Eps)
}
