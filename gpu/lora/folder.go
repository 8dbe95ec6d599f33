package lora

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sower/gpu"
	"sower/gpu/checkpoint"
	"sower/gpu/models/lm"
	"sower/gpu/nn"
)

// Names in PEFT folders.
const (
	configFile  = "adapter_config.json"
	weightsFile = "adapter_model.safetensors"
	keyPrefix   = "base_model.model."
	tokenSuffix = ".token_adapter.trainable_tokens_delta"
)

// Folder is a PEFT folder that was opened: a source of the adapter's tensors under their names without "base_model.model.".
// What PEFT writes of its wrappers beside a grown vocabulary, under ".original_module." and ".modules_to_save.", is left out.
type Folder struct {
	checkpoint.Source
	Config Config
	list   []checkpoint.Info
	keys   map[string]string // in the file
}

// Read opens a PEFT folder.
func Read(dir string) (*Folder, error) {
	text, err := os.ReadFile(filepath.Join(dir, configFile))
	if err != nil {
		return nil, fmt.Errorf("lora: read: %w", err)
	}
	f := &Folder{keys: map[string]string{}}
	if f.Config, err = ParseConfig(text); err != nil {
		return nil, fmt.Errorf("lora: read %s: %w", dir, err)
	}
	if f.Source, err = checkpoint.OpenSafetensors(filepath.Join(dir, weightsFile)); err != nil {
		return nil, fmt.Errorf("lora: read: %w", err)
	}
	for _, info := range f.Source.Tensors() {
		if strings.Contains(info.Name, ".original_module.") || strings.Contains(info.Name, ".modules_to_save.") {
			continue
		}
		key := info.Name
		name, ok := strings.CutPrefix(key, keyPrefix)
		if !ok {
			return nil, errors.Join(fmt.Errorf("lora: read %s: key %q does not begin with %s", dir, key, keyPrefix), f.Close())
		}
		info.Name = name
		f.list, f.keys[name] = append(f.list, info), key
	}
	return f, nil
}

// Tensors implements checkpoint.Source.
func (f *Folder) Tensors() []checkpoint.Info { return f.list }

// Find implements checkpoint.Source.
func (f *Folder) Find(name string) (checkpoint.Info, bool) {
	key, ok := f.keys[name]
	if !ok {
		return checkpoint.Info{}, false
	}
	info, ok := f.Source.Find(key)
	info.Name = name
	return info, ok
}

// Read implements checkpoint.Source.
func (f *Folder) Read(name string, offset int, dst []float32) error {
	key, ok := f.keys[name]
	if !ok {
		return fmt.Errorf("lora: no tensor %q", name)
	}
	return f.Source.Read(key, offset, dst)
}

// Rows is the least vocabulary that the adapter fits, 0 if it says nothing. The base must be grown to it, which Config.Options
// does.
func (f *Folder) Rows() int {
	n := rows(f.Config.Tokens)
	for _, info := range f.list {
		if table, ok := strings.CutSuffix(info.Name, ".weight"); ok && (lm.Targeted(table, "embed_tokens") || lm.Targeted(table, "lm_head")) && len(info.Shape) == 2 {
			n = max(n, info.Shape[0])
		}
	}
	return n
}

// tokens returns the ids of the rows of a tensor of trained tokens, in the file's order.
func (f *Folder) tokens(name string) []int32 {
	for table, ids := range f.Config.Tokens {
		if lm.Targeted(strings.TrimSuffix(name, tokenSuffix), table) {
			return ids
		}
	}
	return nil
}

// values reads a whole tensor; rows of trained tokens become ascending.
func (f *Folder) values(name string, shape []int) ([]float32, error) {
	info, ok := f.Find(name)
	if !ok || !slices.Equal(info.Shape, shape) {
		return nil, fmt.Errorf("lora: the adapter has shape %v of %q, want %v; it is of another model or configuration", info.Shape, name, slices.Clone(shape))
	}
	values := make([]float32, info.Len())
	if err := f.Read(name, 0, values); err != nil || !strings.HasSuffix(name, tokenSuffix) {
		return values, err
	}
	ids, width := f.tokens(name), info.Shape[1]
	if len(ids) != info.Shape[0] {
		return nil, fmt.Errorf("lora: %d rows of %q and %d trained tokens", info.Shape[0], name, len(ids))
	}
	sorted := make([]float32, len(values))
	ascending := slices.Sorted(slices.Values(ids))
	for i, id := range ids {
		at, _ := slices.BinarySearch(ascending, id)
		copy(sorted[at*width:(at+1)*width], values[i*width:(i+1)*width])
	}
	return sorted, nil
}

// Restore copies the tensors of a PEFT folder into the adapters and trained modules. Every parameter must be there, and nothing
// else.
func (a *Adapters) Restore(f *Folder) error {
	if !a.config.equal(f.Config) {
		return fmt.Errorf("lora: restore: the folder's configuration is %+v, want %+v", f.Config, a.config)
	}
	p := a.m.Device().NewPass(gpu.Inference)
	known := map[string]bool{}
	var errs []error
	for _, q := range a.params {
		known[q.Name] = true
		values, err := f.values(q.Name, q.Tensor.Shape())
		if err != nil {
			errs = append(errs, err)
			continue
		}
		p.WriteF32(q.Tensor, 0, values)
	}
	for _, info := range f.list {
		if !known[info.Name] {
			errs = append(errs, a.second(f, info))
		}
	}
	return errors.Join(append(errs, p.Close())...)
}

// second accepts the head of a tied model that was saved beside its embedding.
func (a *Adapters) second(f *Folder, info checkpoint.Info) error {
	if i := a.tied(); i >= 0 && info.Name == "lm_head.weight" {
		return sameTensors(f, a.params[i].Name, info.Name)
	}
	return fmt.Errorf("lora: the adapter has %v, which the model does not train", info)
}

// tied is the number of the parameter that is embedding and head of a tied model, -1 if there is none.
func (a *Adapters) tied() int {
	return slices.IndexFunc(a.params, func(q nn.Parameter) bool {
		return a.m.Sizes().Tied && strings.HasSuffix(q.Name, "embed_tokens.weight")
	})
}

func sameTensors(f *Folder, a, b string) error {
	info, ok := f.Find(a)
	other, _ := f.Find(b)
	if ok && slices.Equal(info.Shape, other.Shape) {
		x, y := make([]float32, info.Len()), make([]float32, info.Len())
		if err := errors.Join(f.Read(a, 0, x), f.Read(b, 0, y)); err != nil {
			return err
		}
		if slices.Equal(x, y) {
			return nil
		}
	}
	return fmt.Errorf("lora: %q and %q differ, but the model ties them; untie it first", a, b)
}

// Write makes a PEFT folder: adapter_config.json and adapter_model.safetensors in float32. It may exist; the files are replaced.
func (a *Adapters) Write(dir string) error {
	text, err := a.config.encode()
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return fmt.Errorf("lora: write %s: %w", dir, err)
	}
	src := &trained{dev: a.m.Device(), params: map[string]nn.Parameter{}}
	var entries []checkpoint.Entry
	add := func(name string, q nn.Parameter) {
		src.params[name] = q
		entries = append(entries, checkpoint.Entry{Info: checkpoint.Info{Name: name, DType: checkpoint.F32, Shape: q.Tensor.Shape()}, From: src})
	}
	for _, q := range a.params {
		add(keyPrefix+q.Name, q)
	}
	if i := a.tied(); i >= 0 && slices.ContainsFunc(a.config.Saved, func(s string) bool { return lm.Suffixed("lm_head", s) }) {
		add(keyPrefix+"lm_head.weight", a.params[i])
	}
	checkpoint.SortEntries(entries)
	err = lm.WriteFile(filepath.Join(dir, weightsFile), func(w io.Writer) error {
		return checkpoint.WriteSafetensors(w, entries, map[string]string{"format": "pt"})
	})
	if err == nil {
		err = lm.WriteFile(filepath.Join(dir, configFile), func(w io.Writer) error {
			_, err := w.Write(text)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("lora: write %s: %w", dir, err)
	}
	return nil
}

// trained reads parameters from a device for WriteSafetensors, which asks for one tensor after the other.
type trained struct {
	checkpoint.Source
	dev    *gpu.Device
	params map[string]nn.Parameter
	last   string
	values []float32
}

func (t *trained) Read(name string, offset int, dst []float32) error {
	if t.last != name {
		t.last, t.values = name, make([]float32, t.params[name].Tensor.Len())
		p := t.dev.NewPass(gpu.Inference)
		p.ReadF32(t.params[name].Tensor, t.values)
		if err := p.Close(); err != nil {
			return err
		}
	}
	copy(dst, t.values[offset:])
	return nil
}
