// Package optim updates parameters: AdamW with moments on the device, clipping by the norm of all gradients, and schedules of
// the learning rate. One step is: gradients (lm.Accumulate), then AdamW.Step with Schedule.Rate, which leaves the gradients 0.
package optim

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"sower/gpu"
	"sower/gpu/nn"
)

// Decayed says which parameters weight decay acts on.
type Decayed string

// All decays everything, as the default optimizer of the published runs decayed RMSNorm weights. Matrices spares biases and
// anything named like a norm, as transformers does from 4.46 on.
const (
	All      Decayed = "all"
	Matrices Decayed = "matrices"
	// Tokenizer spares vectors and names with bias, ln or bn in them, as the training of SEED's tokenizer did.
	Tokenizer Decayed = "tokenizer"
)

// Config are the settings of AdamW, as a run records them.
type Config struct {
	Beta1   float64 `json:"beta1"`
	Beta2   float64 `json:"beta2"`
	Eps     float64 `json:"eps"`
	Decay   float64 `json:"weight_decay"`
	Decayed Decayed `json:"decayed"`
	// Clip bounds the norm of all gradients together; 0 does not clip.
	Clip float64 `json:"clip"`
}

// Validate names everything that is impossible.
func (c Config) Validate() error {
	var errs []error
	if !(c.Beta1 >= 0 && c.Beta1 < 1 && c.Beta2 >= 0 && c.Beta2 < 1) {
		errs = append(errs, fmt.Errorf("optim: betas %v and %v, want 0 or more and less than 1", c.Beta1, c.Beta2))
	}
	if !(c.Eps > 0) || !(c.Decay >= 0) || !(c.Clip >= 0) {
		errs = append(errs, fmt.Errorf("optim: eps %v, weight decay %v, clip %v, want more than 0, and 0 or more", c.Eps, c.Decay, c.Clip))
	}
	if c.Decayed != All && c.Decayed != Matrices && c.Decayed != Tokenizer {
		errs = append(errs, fmt.Errorf("optim: weight decay of %q, want %s, %s or %s", c.Decayed, All, Matrices, Tokenizer))
	}
	return errors.Join(errs...)
}

// decays reports whether weight decay acts on a parameter of that name and so many axes.
func (c Config) decays(name string, axes int) bool {
	switch c.Decayed {
	case All:
		return true
	case Tokenizer:
		return axes > 1 && !strings.Contains(name, "bias") && !strings.Contains(name, "ln") && !strings.Contains(name, "bn")
	}
	name = strings.ToLower(name)
	if strings.Contains(name, "bias") || strings.Contains(name, "layernorm") || strings.Contains(name, "rmsnorm") {
		return false
	}
	for part := range strings.SplitSeq(name, ".") {
		if part == "norm" || strings.HasSuffix(part, "_norm") {
			return false
		}
	}
	return true
}

// ErrNotFinite is the error of a step whose gradients have no finite norm. Nothing is updated.
var ErrNotFinite = errors.New("optim: the norm of the gradients is not finite")

// AdamW updates a list of parameters. It belongs to one goroutine.
type AdamW struct {
	config Config
	dev    *gpu.Device
	params []nn.Parameter
	m, v   []*gpu.Tensor
	steps  int
	zeros  []float32
}

// New makes an optimizer with moments of 0. Names must differ.
func New(dev *gpu.Device, params []nn.Parameter, c Config) (*AdamW, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	o := &AdamW{config: c, dev: dev, params: params}
	seen, most := map[string]bool{}, 0
	for _, p := range params {
		if p.Tensor == nil || p.Tensor.Grad() == nil || seen[p.Name] {
			return nil, errors.Join(fmt.Errorf("optim: %q is no parameter, or there twice", p.Name), o.Close())
		}
		seen[p.Name] = true
		most = max(most, p.Tensor.Len())
	}
	if len(params) == 0 {
		return nil, errors.New("optim: no parameters: name modules to train")
	}
	o.zeros = make([]float32, most)
	for _, p := range params {
		for _, list := range []*[]*gpu.Tensor{&o.m, &o.v} {
			t, err := dev.FromSlice(o.zeros[:p.Tensor.Len()], p.Tensor.Shape()...)
			if err != nil {
				return nil, errors.Join(fmt.Errorf("optim: moments of %q: %w", p.Name, err), o.Close())
			}
			*list = append(*list, t)
		}
	}
	return o, nil
}

// Config is the settings.
func (o *AdamW) Config() Config { return o.config }

// Steps is the number of updates so far.
func (o *AdamW) Steps() int { return o.steps }

// Parameters lists what is updated.
func (o *AdamW) Parameters() []nn.Parameter { return o.params }

// Step clips the gradients, updates every parameter at a rate and sets the gradients to 0. It returns the norm of all gradients
// before clipping. Clipping scales them by min(1, Clip/(norm + 1e-6)), as PyTorch does.
func (o *AdamW) Step(rate float64) (norm float64, err error) {
	p := o.dev.NewPass(gpu.Inference)
	for _, q := range o.params {
		norm += p.SumSquares(q.Tensor.Grad())
	}
	norm = math.Sqrt(norm)
	if p.Err() == nil && (math.IsNaN(norm) || math.IsInf(norm, 0)) {
		return norm, errors.Join(fmt.Errorf("%w at update %d: %v", ErrNotFinite, o.steps, norm), p.Close())
	}
	a := gpu.AdamW{Rate: rate, Beta1: o.config.Beta1, Beta2: o.config.Beta2, Eps: o.config.Eps, GradScale: 1, Step: o.steps + 1}
	if o.config.Clip > 0 {
		a.GradScale = min(1, o.config.Clip/(norm+1e-6))
	}
	for i, q := range o.params {
		a.Decay = 0
		if o.config.decays(q.Name, len(q.Tensor.Shape())) {
			a.Decay = o.config.Decay
		}
		p.AdamW(q.Tensor, o.m[i], o.v[i], a)
		p.WriteF32(q.Tensor.Grad(), 0, o.zeros[:q.Tensor.Len()])
	}
	if err := p.Close(); err != nil {
		return norm, fmt.Errorf("optim: update %d: %w", o.steps, err)
	}
	o.steps++
	return norm, nil
}

// ZeroGrad sets the gradients to 0, for a step that is not to be taken.
func (o *AdamW) ZeroGrad() error {
	p := o.dev.NewPass(gpu.Inference)
	for _, q := range o.params {
		p.WriteF32(q.Tensor.Grad(), 0, o.zeros[:q.Tensor.Len()])
	}
	return p.Close()
}

// Close gives back the moments.
func (o *AdamW) Close() error {
	for _, t := range append(o.m, o.v...) {
		t.Free()
	}
	o.m, o.v = nil, nil
	return nil
}
