package lm

import (
	"errors"
	"fmt"
	"slices"

	"sower/gpu"
	"sower/gpu/checkpoint"
	"sower/gpu/nn"
)

// Builder makes the layers of a model from a checkpoint, some of them trained. Architectures call its methods by module path in
// the order of computation, and Load at the end.
type Builder struct {
	Linears    []Module
	Parameters []Parameter

	dev  *gpu.Device
	src  checkpoint.Source
	o    Options
	l    *nn.Loader
	used map[string]bool // Saved and names of Tokens that matched
	errs []error
}

// NewBuilder begins a model.
func NewBuilder(dev *gpu.Device, src checkpoint.Source, o Options) *Builder {
	return &Builder{dev: dev, src: src, o: o, l: nn.NewLoader(dev, src), used: map[string]bool{}}
}

// saved reports whether a module is trained whole.
func (b *Builder) saved(path string) bool {
	found := false
	for _, name := range b.o.Saved {
		if Suffixed(path, name) {
			b.used["saved "+name], found = true, true
		}
	}
	return found
}

// tensor loads a vector or table of a module, as a parameter if the module is trained.
func (b *Builder) tensor(path, part string, saved bool, shape ...int) *gpu.Tensor {
	name := path + "." + part
	if !saved {
		return b.l.Tensor(name, shape...)
	}
	return b.parameter(name, b.l.Parameter(name, shape...))
}

func (b *Builder) parameter(name string, t *gpu.Tensor) *gpu.Tensor {
	b.Parameters = append(b.Parameters, Parameter{Parameter: nn.Parameter{Name: name, Tensor: t}})
	return t
}

// Linear loads path.weight [out in] and, with bias, path.bias [out].
func (b *Builder) Linear(path string, out, in int, bias bool) *nn.Linear {
	layer, saved := &nn.Linear{}, b.saved(path)
	if saved {
		layer.Weight = b.parameter(path+".weight", b.l.Parameter(path+".weight", out, in))
	} else {
		layer.Weight = b.l.Weight(path+".weight", out, in)
	}
	if bias {
		layer.Bias = b.tensor(path, "bias", saved, out)
	}
	b.Linears = append(b.Linears, Module{path, layer, in, out})
	return layer
}

// LayerNorm loads path.weight and path.bias [width].
func (b *Builder) LayerNorm(path string, width int, eps float32) nn.LayerNorm {
	saved := b.saved(path)
	return nn.LayerNorm{Weight: b.tensor(path, "weight", saved, width), Bias: b.tensor(path, "bias", saved, width), Eps: eps}
}

// RMSNorm loads path.weight [width].
func (b *Builder) RMSNorm(path string, width int, eps float32) nn.RMSNorm {
	return nn.RMSNorm{Weight: b.tensor(path, "weight", b.saved(path), width), Eps: eps}
}

// Table loads path.weight [rows width] for Lookup.
func (b *Builder) Table(path string, rows, width int) *gpu.Tensor {
	return b.tensor(path, "weight", b.saved(path), rows, width)
}

// Values makes a tensor that does not come from the checkpoint.
func (b *Builder) Values(values []float32, shape ...int) *gpu.Tensor {
	return b.l.Values(values, shape...)
}

// Embedding loads the word embeddings path.weight [rows width], with the vocabulary that Options asks for.
func (b *Builder) Embedding(path string, rows, width int) *Embedding {
	return newEmbedding(b.vocabulary(path, rows, width, true))
}

// Head loads the head path.weight [rows width]. tied, if any, is the embedding that serves as head.
func (b *Builder) Head(path string, rows, width int, tied *Embedding, tiedPath string) *gpu.Head {
	if tied == nil {
		h := b.vocabulary(path, rows, width, false)
		return &h
	}
	for _, name := range b.o.Saved {
		if Suffixed(path, name) {
			b.used["saved "+name] = true
			if !b.saved(tiedPath) {
				b.errs = append(b.errs, fmt.Errorf("%s is tied to %s and cannot be trained alone; name embed_tokens, too", path, tiedPath))
			}
		}
	}
	for name, list := range b.o.Tokens {
		if Targeted(path, name) {
			b.used["tokens "+name] = true
			ids := slices.Sorted(slices.Values(list))
			if !slices.Equal(ids, tied.head.IDs) {
				b.errs = append(b.errs, fmt.Errorf("%s is tied to %s: want the same trained tokens, or those of embed_tokens alone", path, tiedPath))
			}
		}
	}
	return &tied.head
}

// vocabulary loads a table with a row for each token: packed, or a parameter, with trained rows or without.
func (b *Builder) vocabulary(path string, rows, width int, lookup bool) gpu.Head {
	name, want := path+".weight", max(rows, b.o.Rows)
	for n := range b.o.Tokens {
		if Targeted(path, n) {
			b.used["tokens "+n] = true
		}
	}
	tokens, err := b.o.tokens(path)
	fail := func(format string, args ...any) gpu.Head {
		b.l.Fail(name, fmt.Errorf(format, args...))
		return gpu.Head{}
	}
	saved := b.saved(path)
	switch {
	case err != nil:
		return fail("%w", err)
	case saved && len(tokens) > 0:
		return fail("trained whole and by rows; choose one")
	case len(tokens) > 0 && int(tokens[len(tokens)-1]) >= want:
		return fail("trained token %d of a vocabulary of %d", tokens[len(tokens)-1], want)
	case !b.l.Check(name, rows, width):
		return gpu.Head{}
	}
	if saved {
		if want > rows {
			g, err := Grow(b.src, want, b.o.Seed, name)
			if err != nil {
				return fail("%w", err)
			}
			return gpu.Head{Weight: b.parameter(name, b.l.ParameterFrom(g, name, want, width))}
		}
		return gpu.Head{Weight: b.parameter(name, b.l.Parameter(name, rows, width))}
	}
	h := gpu.Head{IDs: tokens}
	if lookup {
		h.Weight = b.l.Table(name, rows, width) // exact, whatever the device's precision
	} else {
		h.Weight = b.l.Weight(name, rows, width)
	}
	if news, _ := slices.BinarySearch(tokens, int32(rows)); len(tokens)-news != want-rows {
		return fail("tokens %d to %d are new and must be trained: name all of them in the trained tokens, or save the module", rows, want-1)
	}
	if len(tokens) > 0 {
		h.Rows = b.trainedRows(name, tokens, want, width)
		key := path + ".token_adapter.trainable_tokens_delta"
		b.Parameters = append(b.Parameters, Parameter{nn.Parameter{Name: key, Tensor: h.Rows}, tokens})
	}
	return h
}

func (b *Builder) trainedRows(name string, tokens []int32, rows, width int) *gpu.Tensor {
	g, err := Grow(b.src, rows, b.o.Seed, name)
	values := make([]float32, len(tokens)*width)
	for i, id := range tokens {
		if err == nil {
			err = g.Read(name, int(id)*width, values[i*width:(i+1)*width])
		}
	}
	if err != nil {
		b.l.Fail(name, err)
		return nil
	}
	return b.l.ParameterValues(values, len(tokens), width)
}

// Load reads everything, or says all that is wrong. The tensors are the model's to free.
func (b *Builder) Load() ([]*gpu.Tensor, error) {
	for _, name := range b.o.Saved {
		if !b.used["saved "+name] {
			b.errs = append(b.errs, fmt.Errorf("no module's path ends in %q, which is to be trained", name))
		}
	}
	for name := range b.o.Tokens {
		if !b.used["tokens "+name] {
			b.errs = append(b.errs, fmt.Errorf("no table %q, of which rows are to be trained; have embed_tokens and lm_head", name))
		}
	}
	if len(b.errs) > 0 {
		b.l.Fail("options", errors.Join(b.errs...))
	}
	if err := b.l.Load(); err != nil {
		return nil, err
	}
	return b.l.Made(), nil
}
