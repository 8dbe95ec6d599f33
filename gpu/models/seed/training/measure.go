package training

import (
	"errors"

	"sower/gpu"
)

// Measured is what a model makes of a batch that it does not learn from.
type Measured struct {
	Losses
	Codes []int32 // [B Q], of the second stage
	// Images and Texts are unit vectors [B E] of the batch's images and texts; Decoded, of the second stage, those that codes alone give back.
	Images, Texts, Decoded []float32
}

// Measure computes the losses of a batch with texts, and what retrieval needs, and no gradients.
func (s *Stage) Measure(b *Batch) (m Measured, err error) {
	if s.book != nil {
		if err := s.requantize(); err != nil {
			return m, err
		}
	}
	p := s.dev.NewPass(gpu.Inference)
	defer func() { err = errors.Join(err, p.Close()) }()
	var f forward
	if s.book != nil {
		f, m.Codes, err = s.second(p, b)
	} else {
		f, err = s.first(p, b)
	}
	if err != nil || p.Err() != nil {
		return m, err
	}
	m.Losses = f.Losses
	for _, v := range []struct {
		from *gpu.Tensor
		to   *[]float32
	}{{f.image, &m.Images}, {f.text, &m.Texts}, {f.decoded, &m.Decoded}} {
		if v.from != nil {
			*v.to = make([]float32, v.from.Len())
			p.ReadF32(v.from, *v.to)
		}
	}
	return m, nil
}
