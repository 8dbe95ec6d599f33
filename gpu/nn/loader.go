package nn

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"sower/gpu"
	"sower/gpu/checkpoint"
)

// Loader fills the tensors of a model from a source. Its methods check name and shape, make the tensor and note what to
// read; Load then reads everything at once, in parallel, so that every fault of a file is reported together and before
// anything large is read.
type Loader struct {
	dev  *gpu.Device
	src  checkpoint.Source
	errs []error
	jobs []func(*scratch) error
	made []*gpu.Tensor

	trains func(name string) bool // nil: nothing
	params []Parameter
}

// scratch is one goroutine's memory between a source and a device.
type scratch []float32

// floats returns n elements, good until the next call.
func (s *scratch) floats(n int) []float32 {
	if len(*s) < n {
		*s = make([]float32, max(n, rowsElements))
	}
	return (*s)[:n]
}

// rowsElements bounds what one job reads at a time, 1 MiB: weights go from the source to their packed form in parts,
// and never exist twice.
const rowsElements = 1 << 18

// NewLoader begins to load from src to dev.
func NewLoader(dev *gpu.Device, src checkpoint.Source) *Loader { return &Loader{dev: dev, src: src} }

// Check reports whether the source has a tensor of floats of this name and shape, and notes an error if not.
func (l *Loader) Check(name string, shape ...int) bool {
	info, ok := l.src.Find(name)
	switch {
	case !ok:
		l.Fail(name, errors.New("the checkpoint has no such tensor"))
	case !slices.Equal(info.Shape, shape):
		l.Fail(name, fmt.Errorf("shape %v, want %v", info.Shape, slices.Clone(shape)))
	case !info.DType.Float():
		l.Fail(name, fmt.Errorf("elements of type %s, want floats", info.DType))
	default:
		return true
	}
	return false
}

// Fail notes an error of a tensor.
func (l *Loader) Fail(name string, err error) {
	l.errs = append(l.errs, fmt.Errorf("load %q: %w", name, err))
}

// Train makes parameters of the tensors and weights with names that trains picks, from here on. A weight becomes a matrix
// that is not packed.
func (l *Loader) Train(trains func(name string) bool) { l.trains = trains }

// Trains reports whether a tensor of that name becomes a parameter.
func (l *Loader) Trains(name string) bool { return l.trains != nil && l.trains(name) }

// Trained lists the parameters that Train made, in the order in which they were asked for.
func (l *Loader) Trained() []Parameter { return l.params }

// trained makes a parameter of a tensor that the caller has checked, nil if it is not to be trained.
func (l *Loader) trained(name string, shape ...int) *gpu.Tensor {
	if !l.Trains(name) {
		return nil
	}
	t := l.ParameterFrom(l.src, name, shape...)
	l.params = append(l.params, Parameter{name, t})
	return t
}

// Tensor loads a tensor as it is, or to be trained.
func (l *Loader) Tensor(name string, shape ...int) *gpu.Tensor {
	if !l.Check(name, shape...) {
		return nil
	}
	if t := l.trained(name, shape...); t != nil {
		return t
	}
	return l.fixed(name, shape...)
}

// fixed loads a tensor that the caller has checked, as it is.
func (l *Loader) fixed(name string, shape ...int) *gpu.Tensor {
	t := l.Empty(shape...)
	l.Into(t, 0, name)
	return t
}

// Values makes a tensor that does not come from the source.
func (l *Loader) Values(values []float32, shape ...int) *gpu.Tensor {
	t, err := l.dev.FromSlice(values, shape...)
	if err != nil {
		l.errs = append(l.errs, err)
		return nil
	}
	l.made = append(l.made, t)
	return t
}

// Empty makes a tensor for Into to fill; what no Into fills is 0.
func (l *Loader) Empty(shape ...int) *gpu.Tensor {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return l.Values(make([]float32, n), shape...)
}

// Find describes a tensor of the source.
func (l *Loader) Find(name string) (checkpoint.Info, bool) { return l.src.Find(name) }

// Parameter loads a tensor to be trained.
func (l *Loader) Parameter(name string, shape ...int) *gpu.Tensor {
	if !l.Check(name, shape...) {
		return nil
	}
	return l.ParameterFrom(l.src, name, shape...)
}

// ParameterFrom is Parameter from another source; the caller has checked the name.
func (l *Loader) ParameterFrom(src checkpoint.Source, name string, shape ...int) *gpu.Tensor {
	n := checkpoint.Info{Shape: shape}.Len()
	t := l.ParameterValues(make([]float32, n), shape...)
	for from := 0; from < n && t != nil; from += rowsElements {
		l.jobs = append(l.jobs, func(b *scratch) error {
			values := b.floats(min(rowsElements, n-from))
			if err := src.Read(name, from, values); err != nil {
				return fmt.Errorf("load %q: %w", name, err)
			}
			p := l.dev.NewPass(gpu.Inference)
			p.WriteF32(t, from, values)
			return p.Close()
		})
	}
	return t
}

// ParameterValues makes a tensor to be trained that does not come from the source.
func (l *Loader) ParameterValues(values []float32, shape ...int) *gpu.Tensor {
	t, err := l.dev.NewParameter(values, shape...)
	if err != nil {
		l.errs = append(l.errs, err)
		return nil
	}
	l.made = append(l.made, t)
	return t
}

// Into loads a tensor into t from element off on. The caller has checked the name.
func (l *Loader) Into(t *gpu.Tensor, off int, name string) {
	info, ok := l.src.Find(name)
	if t == nil || !ok {
		return
	}
	l.jobs = append(l.jobs, func(b *scratch) error {
		values := b.floats(info.Len())
		if err := l.src.Read(name, 0, values); err != nil {
			return fmt.Errorf("load %q: %w", name, err)
		}
		p := l.dev.NewPass(gpu.Inference)
		p.WriteF32(t, off, values)
		return p.Close()
	})
}

// Weight loads a matrix or convolution as a packed weight [shape[0], the rest].
func (l *Loader) Weight(name string, shape ...int) *gpu.Tensor {
	return l.packed(l.dev.NewWeight, name, shape...)
}

// NarrowLinear is Linear with a weight that a device opened for FP8 keeps in 8 bits.
func (l *Loader) NarrowLinear(name string, out, in int) Linear {
	return Linear{Weight: l.packed(l.dev.NewNarrowWeight, name+".weight", out, in), Bias: l.Tensor(name+".bias", out)}
}

// Table loads a matrix as a packed table for Nearest; it is never trained, as Nearest has no gradient.
func (l *Loader) Table(name string, shape ...int) *gpu.Tensor {
	trains := l.trains
	l.trains = nil
	defer func() { l.trains = trains }()
	return l.packed(l.dev.NewTable, name, shape...)
}

func (l *Loader) packed(create func(rows, cols int) (*gpu.Tensor, error), name string, shape ...int) *gpu.Tensor {
	if !l.Check(name, shape...) {
		return nil
	}
	rows, cols := shape[0], 1
	for _, n := range shape[1:] {
		cols *= n
	}
	if t := l.trained(name, rows, cols); t != nil {
		return t
	}
	t, err := create(rows, cols)
	if err != nil {
		l.Fail(name, err)
		return nil
	}
	l.made = append(l.made, t)
	step := max(64, rowsElements/cols&^63)
	for r := 0; r < rows; r += step {
		n := min(step, rows-r) * cols
		l.jobs = append(l.jobs, func(b *scratch) error {
			values := b.floats(n)
			if err := l.src.Read(name, r*cols, values); err != nil {
				return fmt.Errorf("load %q: %w", name, err)
			}
			return t.SetRows(r, values)
		})
	}
	return t
}

// Linear loads name.weight [out in] and name.bias [out].
func (l *Loader) Linear(name string, out, in int) Linear {
	return Linear{Weight: l.Weight(name+".weight", out, in), Bias: l.Tensor(name+".bias", out)}
}

// LayerNorm loads name.weight and name.bias [width].
func (l *Loader) LayerNorm(name string, width int, eps float32) LayerNorm {
	return LayerNorm{l.Tensor(name+".weight", width), l.Tensor(name+".bias", width), eps}
}

// Load reads what was asked for, or says everything that is wrong with the source; then nothing stays on the device.
func (l *Loader) Load() error {
	err := errors.Join(l.errs...)
	if err == nil {
		err = l.read()
	}
	if err != nil {
		for _, t := range l.made {
			t.Free()
		}
	}
	return err
}

func (l *Loader) read() error {
	var next atomic.Int64
	var wait sync.WaitGroup
	errs := make([]error, len(l.jobs))
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			var buf scratch
			for i := int(next.Add(1)) - 1; i < len(l.jobs); i = int(next.Add(1)) - 1 {
				errs[i] = l.jobs[i](&buf)
			}
		})
	}
	wait.Wait()
	l.jobs = nil
	return errors.Join(errs...)
}

// Made lists the tensors that the loader made, for the model to free.
func (l *Loader) Made() []*gpu.Tensor { return l.made }
