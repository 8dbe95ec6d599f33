package optim

import (
	"fmt"

	"sower/gpu"
)

// State is all that an optimizer remembers. With it, and the parameters, a run goes on to the same bits.
type State struct {
	Steps   int
	Moments []Moments
}

// Moments are those of one parameter, of its length each.
type Moments struct {
	Name string
	M, V []float32
}

// Export copies the state, in the order of the parameters.
func (o *AdamW) Export() (State, error) {
	s := State{Steps: o.steps}
	p := o.dev.NewPass(gpu.Inference)
	for i, q := range o.params {
		n := Moments{q.Name, make([]float32, q.Tensor.Len()), make([]float32, q.Tensor.Len())}
		p.ReadF32(o.m[i], n.M)
		p.ReadF32(o.v[i], n.V)
		s.Moments = append(s.Moments, n)
	}
	return s, p.Close()
}

// Forget makes the moments of some rows of a parameter 0, for rows that were replaced.
func (o *AdamW) Forget(name string, rows []int) error {
	for i, q := range o.params {
		if q.Name != name {
			continue
		}
		width := q.Tensor.Dim(-1)
		p := o.dev.NewPass(gpu.Inference)
		for _, r := range rows {
			p.WriteF32(o.m[i], r*width, o.zeros[:width])
			p.WriteF32(o.v[i], r*width, o.zeros[:width])
		}
		return p.Close()
	}
	return fmt.Errorf("optim: no parameter %q", name)
}

// Import puts a state back. It must have the moments of every parameter and of no other, in any order; otherwise nothing
// changes.
func (o *AdamW) Import(s State) error {
	found := map[string]Moments{}
	for _, m := range s.Moments {
		found[m.Name] = m
	}
	if len(found) != len(o.params) || s.Steps < 0 {
		return fmt.Errorf("optim: a state of %d parameters after %d updates, want %d", len(found), s.Steps, len(o.params))
	}
	for _, q := range o.params {
		m, ok := found[q.Name]
		if n := q.Tensor.Len(); !ok || len(m.M) != n || len(m.V) != n {
			return fmt.Errorf("optim: the state has %d and %d moments of %q, want %d; it is of another run", len(m.M), len(m.V), q.Name, n)
		}
	}
	p := o.dev.NewPass(gpu.Inference)
	for i, q := range o.params {
		p.WriteF32(o.m[i], 0, found[q.Name].M)
		p.WriteF32(o.v[i], 0, found[q.Name].V)
	}
	if err := p.Close(); err != nil {
		return err
	}
	o.steps = s.Steps
	return nil
}
