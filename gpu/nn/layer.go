// Package nn has the layers that models are made of, and loads them from a checkpoint.Source by explicit name.
package nn

import "sower/gpu"

// Linear is x·Wᵀ + b, and with an adapter a low-rank change of it. Its methods fuse what follows where the back end can.
type Linear struct {
	Weight  *gpu.Tensor // [D C], packed, or a parameter
	Bias    *gpu.Tensor // [D], or nil
	Adapter *Adapter    // or nil
}

// Adapter adds Scale·B(A·dropout(x)) to a linear layer (LoRA, arXiv 2106.09685).
type Adapter struct {
	A, B  *gpu.Tensor // [R C] and [D R], parameters
	Scale float32
	// Dropout is the share of inputs of A that passes of training leave out; which, follows from Seed.
	Dropout float32
	Seed    uint64
}

// Forward maps x [.. C] → [.. D].
func (l *Linear) Forward(p *gpu.Pass, x *gpu.Tensor) *gpu.Tensor {
	return l.adapt(p, x, p.Linear(x, l.Weight, l.Bias))
}

// GELU is GELU(Forward(x)).
func (l *Linear) GELU(p *gpu.Pass, x *gpu.Tensor) *gpu.Tensor {
	if l.Adapter != nil {
		return p.GELU(l.Forward(p, x))
	}
	return p.LinearGELU(x, l.Weight, l.Bias)
}

// Tanh is tanh(Forward(x)).
func (l *Linear) Tanh(p *gpu.Pass, x *gpu.Tensor) *gpu.Tensor {
	if l.Adapter != nil {
		return p.Tanh(l.Forward(p, x))
	}
	return p.LinearTanh(x, l.Weight, l.Bias)
}

// ReLU is max(Forward(x), 0).
func (l *Linear) ReLU(p *gpu.Pass, x *gpu.Tensor) *gpu.Tensor {
	if l.Adapter != nil {
		return p.ReLU(l.Forward(p, x))
	}
	return p.LinearReLU(x, l.Weight, l.Bias)
}

// Add is Forward(x) + residual.
func (l *Linear) Add(p *gpu.Pass, x, residual *gpu.Tensor) *gpu.Tensor {
	return l.adapt(p, x, p.LinearAdd(x, l.Weight, l.Bias, residual))
}

// adapt adds what the adapter makes of x to y, in place.
func (l *Linear) adapt(p *gpu.Pass, x, y *gpu.Tensor) *gpu.Tensor {
	a := l.Adapter
	if a == nil {
		return y
	}
	if p.Mode() != gpu.Inference {
		x = p.Dropout(x, a.Seed, a.Dropout)
	}
	return p.LowRank(y, x, a.A, a.B, a.Scale)
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

// RMSNorm divides rows by the root of their mean square (arXiv 1910.07467).
type RMSNorm struct {
	Weight *gpu.Tensor // [C]
	Eps    float32
}

// Forward maps x [.. C] → [.. C].
func (l *RMSNorm) Forward(p *gpu.Pass, x *gpu.Tensor) *gpu.Tensor {
	return p.RMSNorm(x, l.Weight, l.Eps)
}

// Parameter is a trained tensor and its name in files.
type Parameter struct {
	Name   string
	Tensor *gpu.Tensor
}
