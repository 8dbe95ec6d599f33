package lora

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"sower/gpu"
	"sower/gpu/models/lm"
	"sower/gpu/nn"
)

// Adapters are those of a model, with what else of it is trained. They belong to one goroutine, like the training of the model.
type Adapters struct {
	config  Config
	m       lm.Model
	seed    uint64
	modules []lm.Module // that have an adapter
	params  []nn.Parameter
	made    []*gpu.Tensor
}

// Attach gives the target modules of a model adapters that change nothing yet: A is drawn for each name and seed, B is 0. The model
// must have been loaded with the configuration's Options.
func Attach(m lm.Model, c Config, seed uint64) (*Adapters, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	a := &Adapters{config: c, m: m, seed: seed}
	whole := map[string]bool{}
	for _, p := range m.Parameters() {
		whole[p.Name] = true
	}
	used := map[string]bool{}
	for _, module := range m.Linears() {
		target := false
		for _, name := range c.Targets {
			if lm.Targeted(module.Path, name) {
				target, used[name] = true, true
			}
		}
		if !target {
			continue
		}
		err := a.attach(module)
		if whole[module.Path+".weight"] {
			err = errors.New("is trained whole, too; choose one")
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lora: %s %w", module.Path, err), a.Close())
		}
	}
	for _, name := range c.Targets {
		if !used[name] {
			return nil, errors.Join(fmt.Errorf("lora: no linear layer %q in this %s; have: %s", name, m.Architecture(), strings.Join(kinds(m), ", ")), a.Close())
		}
	}
	for _, p := range m.Parameters() {
		a.params = append(a.params, p.Parameter)
	}
	a.SetStep(0, 0)
	return a, nil
}

// kinds lists the last parts of the paths of linear layers.
func kinds(m lm.Model) []string {
	var names []string
	for _, l := range m.Linears() {
		if name := l.Path[strings.LastIndex(l.Path, ".")+1:]; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func (a *Adapters) attach(l lm.Module) error {
	if l.Linear.Adapter != nil {
		return errors.New("has an adapter already")
	}
	r, dev := a.config.R, a.m.Device()
	values, bound := make([]float32, r*l.In), 1/math.Sqrt(float64(l.In))
	name := l.Path + ".lora_A.weight"
	key := lm.Key(name, a.seed)
	for i := range values {
		values[i] = float32((2*lm.Uniform(key, uint64(i)) - 1) * bound)
	}
	down, err := dev.NewParameter(values, r, l.In)
	if err != nil {
		return err
	}
	a.made = append(a.made, down)
	up, err := dev.NewParameter(make([]float32, l.Out*r), l.Out, r)
	if err != nil {
		return err
	}
	a.made = append(a.made, up)
	l.Linear.Adapter = &nn.Adapter{A: down, B: up, Scale: float32(a.config.Scale()), Dropout: float32(a.config.Dropout)}
	a.modules = append(a.modules, l)
	a.params = append(a.params, nn.Parameter{Name: name, Tensor: down}, nn.Parameter{Name: l.Path + ".lora_B.weight", Tensor: up})
	return nil
}

// SetStep sets the seeds of dropout for one part of one step: they follow from the seed of Attach, these numbers and the number of
// the module, so that a run that is resumed drops the same.
func (a *Adapters) SetStep(step, part int) {
	for i, l := range a.modules {
		x := a.seed
		for _, n := range [...]int{step, part, i} {
			x = mix(x + uint64(n) + 1)
		}
		l.Linear.Adapter.Seed = x
	}
}

// mix is a step of splitmix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Parameters lists everything that is trained: A and B of each adapter, then what the model was loaded to train. Names are those of
// PEFT's files without "base_model.model.".
func (a *Adapters) Parameters() []nn.Parameter { return a.params }

// Config is the configuration.
func (a *Adapters) Config() Config { return a.config }

// Close takes the adapters off the model and frees them.
func (a *Adapters) Close() error {
	for _, l := range a.modules {
		l.Linear.Adapter = nil
	}
	for _, t := range a.made {
		t.Free()
	}
	a.modules, a.params, a.made = nil, nil, nil
	return nil
}
