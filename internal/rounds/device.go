package rounds

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"sower/gpu"
	"sower/gpu/checkpoint"
	"sower/gpu/optim"
	"sower/internal/blob"
)

// Put writes a state to the parameters of an optimizer and to its moments, which become 0 where the state has none.
func Put(dev *gpu.Device, opt *optim.AdamW, s *State) error {
	p := dev.NewPass(gpu.Inference)
	m := optim.State{Steps: s.Updates}
	for i, q := range opt.Parameters() {
		p.WriteF32(q.Tensor, 0, s.Values[i])
		n := len(s.Values[i])
		one := optim.Moments{Name: q.Name, M: make([]float32, n), V: make([]float32, n)}
		if s.Second != nil {
			one.M, one.V = s.First[i], s.Second[i]
		}
		m.Moments = append(m.Moments, one)
	}
	if err := p.Close(); err != nil {
		return err
	}
	return opt.Import(m)
}

// Take copies the parameters of an optimizer and its moments.
func Take(dev *gpu.Device, opt *optim.AdamW) (*State, error) {
	s := &State{Updates: opt.Steps()}
	p := dev.NewPass(gpu.Inference)
	for _, q := range opt.Parameters() {
		v := make([]float32, q.Tensor.Len())
		p.ReadF32(q.Tensor, v)
		s.Names, s.Shapes, s.Values = append(s.Names, q.Name), append(s.Shapes, slices.Clone(q.Tensor.Shape())), append(s.Values, v)
	}
	if err := p.Close(); err != nil {
		return nil, err
	}
	m, err := opt.Export()
	for _, one := range m.Moments {
		s.First, s.Second = append(s.First, one.M), append(s.Second, one.V)
	}
	return s, err
}

// ReadValues reads the parameters of a committed state by name, whatever they are.
func ReadValues(ctx context.Context, b *blob.Bucket, name, digest string) (map[string][]float32, error) {
	raw, err := b.ReadAll(ctx, name, maxState)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:]) != digest {
		return nil, fmt.Errorf("rounds: %s has been changed since it was committed: delete it and the rounds after it, or start again with --overwrite", name)
	}
	src, _, err := checkpoint.ParseSafetensors(name, raw)
	if err != nil {
		return nil, err
	}
	out := map[string][]float32{}
	for _, t := range src.Tensors() {
		if strings.HasPrefix(t.Name, firstPrefix) || strings.HasPrefix(t.Name, secondPrefix) {
			continue
		}
		v := make([]float32, t.Len())
		if err := src.Read(t.Name, 0, v); err != nil {
			return nil, err
		}
		out[t.Name] = v
	}
	return out, nil
}
