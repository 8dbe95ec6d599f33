package lm

import (
	"errors"

	"sower/gpu"
)

// Loss returns the scaled losses of the targets of hidden states [B T C], one for each target that is not gpu.Ignored, in
// order: scale·-log softmax(scores)[target]. Only rows with a target meet the head. At least one must have one.
func Loss(p *gpu.Pass, m Model, hidden *gpu.Tensor, targets []int32, scale float32) *gpu.Tensor {
	var rows, labels []int32
	for i, t := range targets {
		if t != gpu.Ignored {
			rows, labels = append(rows, int32(i)), append(labels, t)
		}
	}
	if len(rows) == 0 {
		return p.Fail(errors.New("lm: loss: no targets"))
	}
	x := p.Reshape(hidden, hidden.Len()/hidden.Dim(-1), hidden.Dim(-1))
	if len(rows) < len(targets) {
		x = p.Lookup(x, p.IDs(rows, len(rows)))
	}
	return p.CrossEntropy(x, m.Head(), labels, scale)
}

// Example is a batch with its labels [B T]: those of the tokens themselves, gpu.Ignored where a token is no target.
type Example struct {
	*Batch
	Labels []int32
}

// Accumulate adds the gradients of the mean loss over all targets of all parts, computed one after the other, to those of the
// parameters, and returns that mean and the number of targets. A part without targets is left out. mode is gpu.Training,
// gpu.Recompute, or gpu.Inference for the loss alone. before, if any, is called with the number of each part before its pass:
// there adapters get the seed of their dropout.
func Accumulate(m Model, mode gpu.Mode, parts []Example, before func(part int)) (mean float64, targets int, err error) {
	wanted, counts := make([][]int32, len(parts)), make([]int, len(parts))
	for i, e := range parts {
		if wanted[i], counts[i], err = e.Targets(e.Labels); err != nil {
			return 0, 0, err
		}
		targets += counts[i]
	}
	if targets == 0 {
		return 0, 0, errors.New("lm: a batch without targets: every label is ignored")
	}
	for i, e := range parts {
		if counts[i] == 0 {
			continue
		}
		if before != nil {
			before(i)
		}
		p := m.Device().NewPass(mode)
		loss := Loss(p, m, m.Hidden(p, e.Batch, nil), wanted[i], float32(1/float64(targets)))
		values := make([]float32, counts[i])
		p.ReadF32(loss, values)
		if mode != gpu.Inference {
			p.Backward(loss, nil)
		}
		if err := p.Close(); err != nil {
			return 0, 0, err
		}
		for _, v := range values {
			mean += float64(v)
		}
	}
	return mean, targets, nil
}
