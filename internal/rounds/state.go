package rounds

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"

	"sower/gpu/checkpoint"
	"sower/internal/blob"
	"sower/internal/tensors"
)

// State is what training changes: parameters, and for a worker the moments of its optimizer, or for a commit of several workers
// the momentum of the outer step.
type State struct {
	Names   []string
	Shapes  [][]int
	Values  [][]float32
	First   [][]float32 // first moments, or the outer momentum; nil if there are none
	Second  [][]float32
	Updates int // of the optimizer so far

	// Digest is that of the file that it was read from, "" if none.
	Digest string
}

// maxState bounds a state file that is read into memory.
const maxState = 64 << 30

// Prefixes of tensors in a state file.
const (
	firstPrefix  = "first_moment."
	secondPrefix = "second_moment."
)

// Write commits the state under a name and returns its digest.
func (s *State) Write(ctx context.Context, b *blob.Bucket, name string, meta map[string]string) (digest string, err error) {
	var list []checkpoint.Info
	var data [][]float32
	add := func(prefix string, values [][]float32) {
		for i := range values {
			list = append(list, checkpoint.Info{Name: prefix + s.Names[i], DType: checkpoint.F32, Shape: s.Shapes[i]})
			data = append(data, values[i])
		}
	}
	add("", s.Values)
	add(firstPrefix, s.First)
	add(secondPrefix, s.Second)
	src, err := checkpoint.Values(list, data)
	if err != nil {
		return "", err
	}
	entries := make([]checkpoint.Entry, len(list))
	for i, info := range list {
		entries[i] = checkpoint.Entry{Info: info, From: src}
	}
	all := map[string]string{"updates": strconv.Itoa(s.Updates)}
	for k, v := range meta {
		all[k] = v
	}
	return tensors.Write(ctx, b, name, entries, all)
}

// ReadState reads a state whose tensors are those of like, and the metadata of its file. digest, if any, must be that of the file.
func ReadState(ctx context.Context, b *blob.Bucket, name, digest string, like *State) (*State, map[string]string, error) {
	names, shapes := like.Names, like.Shapes
	raw, err := b.ReadAll(ctx, name, maxState)
	if err != nil {
		return nil, nil, err
	}
	sum := sha256.Sum256(raw)
	found := hex.EncodeToString(sum[:])
	if digest != "" && digest != found {
		return nil, nil, fmt.Errorf("rounds: %s has been changed since it was committed: delete it and the rounds after it, or start again with --overwrite", name)
	}
	src, meta, err := checkpoint.ParseSafetensors(name, raw)
	if err != nil {
		return nil, nil, err
	}
	s := &State{Names: names, Shapes: shapes, Digest: found}
	if s.Updates, err = strconv.Atoi(meta["updates"]); err != nil {
		return nil, nil, fmt.Errorf("rounds: %s: updates %q", name, meta["updates"])
	}
	load := func(prefix string) ([][]float32, error) {
		var out [][]float32
		for i, n := range names {
			info, ok := src.Find(prefix + n)
			switch {
			case !ok && prefix != "" && i == 0:
				return nil, nil
			case !ok || fmt.Sprint(info.Shape) != fmt.Sprint(shapes[i]):
				return nil, fmt.Errorf("rounds: %s: tensor %s%s is missing or not %v: the file is of another run", name, prefix, n, shapes[i])
			}
			v := make([]float32, info.Len())
			if err := src.Read(prefix+n, 0, v); err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		return out, nil
	}
	if s.Values, err = load(""); err != nil {
		return nil, nil, err
	}
	if s.First, err = load(firstPrefix); err != nil {
		return nil, nil, err
	}
	s.Second, err = load(secondPrefix)
	return s, meta, err
}

// outer averages what workers made of before, in their order and in float64, and moves from before towards, and with
// momentum beyond, the average: with d = before - average, the momentum v ← μ·v + d, and before - rate·(d + μ·v). It is
// Nesterov's in the form that PyTorch's SGD has.
func outer(before *State, workers []*State, rate, momentum float64) *State {
	out := &State{Names: before.Names, Shapes: before.Shapes, Updates: workers[0].Updates}
	for i, old := range before.Values {
		values, velocity := make([]float32, len(old)), make([]float32, len(old))
		for j, v := range old {
			sum := 0.0
			for _, w := range workers {
				sum += float64(w.Values[i][j])
			}
			d := float64(v) - sum/float64(len(workers))
			m := d
			if before.First != nil {
				m += momentum * float64(before.First[i][j])
			}
			velocity[j] = float32(m)
			values[j] = float32(float64(v) - rate*(d+momentum*m))
		}
		out.Values, out.First = append(out.Values, values), append(out.First, velocity)
	}
	return out
}
