package checkpoint

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"sort"
	"strings"
)

// maxPickle bounds the pickle inside a weight file: a thousand tensors take about 100 KiB.
const maxPickle = 64 << 20

// TorchSource is a Source read from a .pt or .pth file.
type TorchSource interface {
	Source
	// Ignored lists the classes and functions that the file names and that were not needed to rebuild its tensors. None of
	// them was looked up or run; "posix.system" here means that somebody tried.
	Ignored() []string
}

type torchFile struct {
	*views
	ignored []string
}

func (t *torchFile) Ignored() []string { return t.ignored }

// OpenTorch reads the tensors of a file written by torch.save: the zip form (PyTorch ≥ 1.6), whose tensors are mapped
// without copying, and the older form of pickles in a row. The pickle is interpreted by a machine that knows tensors
// and containers and nothing else. Tensors are looked for at the top of the dictionary, below "model", "state_dict",
// "module" or "model_state_dict", or in the parameters and sub-modules of a pickled nn.Module.
func OpenTorch(file string) (TorchSource, error) {
	m, err := mapFile(file)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: open: %w", err)
	}
	s, err := parseTorch(m.data)
	if err == nil {
		var v *views
		if v, err = newViews(file, s.tensors, m); err == nil {
			return &torchFile{v, s.ignored}, nil
		}
	}
	m.close()
	return nil, fmt.Errorf("checkpoint: %s: %w", file, err)
}

// storage is a flat buffer that tensors are views of.
type storage struct {
	key   string
	dtype DType // "" for an untyped storage
	raw   []byte
}

// tensor is what a pickle's rebuild call describes.
type tensor struct {
	store         *storage
	dtype         DType
	offset        int
	shape, stride []int
}

// storageTypes maps the class that stands for an element type.
var storageTypes = map[string]DType{"FloatStorage": F32, "HalfStorage": F16, "BFloat16Storage": BF16, "DoubleStorage": F64,
	"LongStorage": I64, "IntStorage": I32, "ShortStorage": I16, "CharStorage": I8, "ByteStorage": U8, "BoolStorage": Bool,
	"UntypedStorage": ""}

var torchDTypes = map[string]DType{"float32": F32, "float16": F16, "bfloat16": BF16, "float64": F64, "int64": I64,
	"int32": I32, "int16": I16, "int8": I8, "uint8": U8, "bool": Bool}

// expected are the globals that a plain weight file names; everything else is reported by Ignored.
var expected = map[string]bool{"torch._utils._rebuild_tensor_v2": true, "torch._utils._rebuild_tensor": true,
	"torch._utils._rebuild_tensor_v3": true, "torch._utils._rebuild_parameter": true, "collections.OrderedDict": true,
	"torch._utils._rebuild_parameter_with_state": true, "torch.Size": true, "torch.serialization._get_layout": true,
	"torch._tensor._rebuild_from_type_v2": true, "torch.Tensor": true, "torch.nn.parameter.Parameter": true}

type torchResult struct {
	tensors []*view
	ignored []string
}

type unpickler struct {
	load     func(key string, dtype DType, count int) (*storage, error)
	storages map[string]*storage
	globals  map[string]bool
}

func parseTorch(data []byte) (*torchResult, error) {
	if bytes.HasPrefix(data, []byte("PK\x03\x04")) {
		return parseTorchZip(data)
	}
	if len(data) > 1 && data[0] == 0x80 {
		return parseTorchLegacy(data)
	}
	return nil, errors.New("not a file written by torch.save: it is neither a zip archive nor a pickle")
}

func parseTorchZip(data []byte) (*torchResult, error) {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("zip archive: %w (cut short?)", err)
	}
	files := map[string]*zip.File{}
	root := ""
	for _, f := range z.File {
		files[f.Name] = f
		if path.Base(f.Name) == "data.pkl" && (root == "" || len(path.Dir(f.Name)) < len(root)) {
			root = path.Dir(f.Name)
		}
	}
	if root == "" {
		return nil, errors.New("zip archive without data.pkl: not a file written by torch.save")
	}
	content := func(name string, limit uint64) ([]byte, error) {
		f := files[root+"/"+name]
		if f == nil {
			return nil, fmt.Errorf("no %s/%s in the archive", root, name)
		}
		if f.UncompressedSize64 > limit {
			return nil, fmt.Errorf("%s: %d bytes, more than %d", f.Name, f.UncompressedSize64, limit)
		}
		if f.Method == zip.Store { // the usual case: a view of the mapping
			at, err := f.DataOffset()
			if err != nil || at < 0 || uint64(at) > uint64(len(data)) || f.UncompressedSize64 > uint64(len(data))-uint64(at) {
				return nil, fmt.Errorf("%s lies outside the file: cut short", f.Name)
			}
			return data[at : uint64(at)+f.UncompressedSize64 : uint64(at)+f.UncompressedSize64], nil
		}
		if f.UncompressedSize64 > 1100*uint64(len(data)) { // deflate cannot shrink further
			return nil, fmt.Errorf("%s: %d bytes cannot come out of %d", f.Name, f.UncompressedSize64, len(data))
		}
		r, err := f.Open()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		defer r.Close()
		p := make([]byte, f.UncompressedSize64)
		if _, err := io.ReadFull(r, p); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		return p, nil
	}
	if files[root+"/byteorder"] != nil {
		if p, err := content("byteorder", 64); err != nil || string(p) != "little" {
			return nil, fmt.Errorf("byte order %q, want little", p)
		}
	}
	program, err := content("data.pkl", maxPickle)
	if err != nil {
		return nil, err
	}
	u := &unpickler{storages: map[string]*storage{}, globals: map[string]bool{}}
	u.load = func(key string, dtype DType, count int) (*storage, error) {
		if key == "" || strings.ContainsAny(key, "/\\") {
			return nil, fmt.Errorf("storage %q", key)
		}
		raw, err := content("data/"+key, 1<<46)
		if err != nil {
			return nil, err
		}
		return &storage{key: key, dtype: dtype, raw: raw}, nil
	}
	m := &machine{p: program, persistent: u.persistent, call: u.call, globals: u.globals}
	top, err := m.run()
	if err != nil {
		return nil, err
	}
	return u.result(top)
}

// legacyMagic is the little-endian long that opens the older form.
const legacyMagic = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"

// parseTorchLegacy reads the form of PyTorch before 1.6: pickles of a magic number, the protocol, system facts, the
// object and the sorted storage keys, then for each key its element count (int64) and its elements.
func parseTorchLegacy(data []byte) (*torchResult, error) {
	u := &unpickler{storages: map[string]*storage{}, globals: map[string]bool{}}
	u.load = func(key string, dtype DType, count int) (*storage, error) {
		return &storage{key: key, dtype: dtype}, nil // filled in below, when the data is reached
	}
	at := 0
	next := func() (any, error) {
		end := min(len(data), at+maxPickle)
		m := &machine{p: data[at:end], persistent: u.persistent, call: u.call, globals: u.globals}
		v, err := m.run()
		at += m.at
		return v, err
	}
	magic, err := next()
	if err != nil {
		return nil, err
	}
	if s, ok := magic.(string); !ok || s != legacyMagic {
		return nil, errors.New("a pickle, but not one written by torch.save")
	}
	if v, err := next(); err != nil || v != any(1001) {
		return nil, errors.New("protocol of the older torch.save is not 1001")
	}
	facts, err := next()
	if err != nil {
		return nil, err
	}
	if d, ok := facts.(*dict); ok {
		if little, ok := d.get("little_endian"); ok && little != any(true) {
			return nil, errors.New("big-endian file, want little-endian")
		}
	}
	top, err := next()
	if err != nil {
		return nil, err
	}
	keys, err := next()
	if err != nil {
		return nil, err
	}
	order, ok := keys.(*list)
	if !ok {
		return nil, errors.New("no list of storages after the object")
	}
	for _, k := range order.items {
		key, _ := k.(string)
		s := u.storages[key]
		if s == nil {
			return nil, fmt.Errorf("data of storage %q, which no tensor names", key)
		}
		if len(data)-at < 8 {
			return nil, fmt.Errorf("storage %q: the file is cut short", key)
		}
		count := binary.LittleEndian.Uint64(data[at:])
		at += 8
		if count > uint64(len(data)-at)/uint64(s.dtype.Size()) {
			return nil, fmt.Errorf("storage %q: %d elements of %s, %d bytes left: the file is cut short", key, count, s.dtype, len(data)-at)
		}
		n := int(count) * s.dtype.Size()
		s.raw = data[at : at+n : at+n]
		at += n
	}
	return u.result(top)
}

// persistent resolves ("storage", type, key, location, elements[, view]).
func (u *unpickler) persistent(id any) (any, error) {
	t, ok := id.(tuple)
	if !ok || len(t) < 5 || t[0] != any("storage") {
		return nil, fmt.Errorf("%w: persistent id that is no storage", errPickle)
	}
	class, _ := t[1].(global)
	dtype, known := storageTypes[class.name]
	key, isString := t[2].(string)
	count, isInt := t[4].(int)
	if !known || !isString || !isInt || count < 0 {
		return nil, fmt.Errorf("%w: storage of class %q", errPickle, class)
	}
	if len(t) > 5 && t[5] != nil {
		return nil, fmt.Errorf("%w: storage %q is a view of another one, as files of PyTorch 0.3 have", errPickle, key)
	}
	if s := u.storages[key]; s != nil {
		if s.dtype != dtype {
			return nil, fmt.Errorf("%w: storage %q is both %s and %s", errPickle, key, s.dtype, dtype)
		}
		return s, nil
	}
	s, err := u.load(key, dtype, count)
	if err != nil {
		return nil, err
	}
	u.storages[key] = s
	return s, nil
}

// call builds tensors and containers; nil means an opaque object.
func (u *unpickler) call(fn, args any) (any, error) {
	g, ok := fn.(global)
	a, isTuple := args.(tuple)
	if !ok || !isTuple {
		return nil, nil
	}
	switch g.String() {
	case "collections.OrderedDict":
		return &dict{}, nil
	case "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3":
		return rebuild(a, g.name == "_rebuild_tensor_v3")
	case "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state", "torch.nn.parameter.Parameter":
		if len(a) > 0 {
			if t, ok := a[0].(*tensor); ok {
				return t, nil
			}
		}
	case "torch._tensor._rebuild_from_type_v2": // function, type, arguments, state
		if len(a) >= 3 {
			return u.call(a[0], a[2])
		}
	case "torch.Size":
		if len(a) == 1 {
			return a[0], nil
		}
	}
	return nil, nil
}

// rebuild reads (storage, offset, size, stride, …); version 3 carries the element type as its seventh argument.
func rebuild(a tuple, v3 bool) (any, error) {
	if len(a) < 4 {
		return nil, fmt.Errorf("%w: tensor of %d arguments", errPickle, len(a))
	}
	s, ok := a[0].(*storage)
	offset, isInt := a[1].(int)
	shape, err1 := ints(a[2])
	stride, err2 := ints(a[3])
	if !ok || !isInt || offset < 0 || err1 != nil || err2 != nil || len(shape) != len(stride) {
		return nil, fmt.Errorf("%w: tensor whose storage, offset, size or stride is not of the right kind", errPickle)
	}
	t := &tensor{store: s, dtype: s.dtype, offset: offset, shape: shape, stride: stride}
	if v3 && len(a) >= 7 {
		g, _ := a[6].(global)
		t.dtype = torchDTypes[g.name]
	}
	return t, nil
}

func ints(v any) ([]int, error) {
	var items []any
	switch t := v.(type) {
	case tuple:
		items = t
	case *list:
		items = t.items
	default:
		return nil, errPickle
	}
	out := make([]int, len(items))
	for i, x := range items {
		n, ok := x.(int)
		if !ok || n < 0 {
			return nil, errPickle
		}
		out[i] = n
	}
	return out, nil
}

// view checks that a tensor lies within its storage.
func (t *tensor) view(name string) (*view, error) {
	info := Info{Name: name, DType: t.dtype, Shape: t.shape}
	size := t.dtype.Size()
	if size == 0 {
		return nil, fmt.Errorf("tensor %q has an element type that is not known", name)
	}
	n, err := mulChecked(t.shape...)
	if err != nil {
		return nil, fmt.Errorf("tensor %q: %w", name, err)
	}
	last := t.offset
	for d, k := range t.shape {
		if k > 0 {
			step, err := mulChecked(k-1, t.stride[d])
			if err != nil {
				return nil, fmt.Errorf("tensor %q: stride %v: %w", name, t.stride, err)
			}
			last += step
		}
	}
	if n > 0 && (last < 0 || last >= len(t.store.raw)/size) {
		return nil, fmt.Errorf("tensor %q: %s%v at element %d needs %d elements, storage %q has %d: the file is cut short or damaged",
			name, t.dtype, t.shape, t.offset, last+1, t.store.key, len(t.store.raw)/size)
	}
	v := &view{info: info, raw: t.store.raw, offset: t.offset}
	for d, s := range rowMajor(t.shape) {
		if t.shape[d] != 1 && t.stride[d] != s {
			v.stride = t.stride
		}
	}
	if n == 0 {
		v.offset, v.stride = 0, nil
	}
	return v, nil
}

// wrappers are the keys under which training scripts keep the weights.
var wrappers = []string{"model", "state_dict", "model_state_dict", "module"}

func (u *unpickler) result(top any) (*torchResult, error) {
	c := collector{named: map[string]*tensor{}, seen: map[any]bool{}}
	c.collect(top, "")
	for depth := 0; len(c.named) == 0 && depth < 4; depth++ {
		d, ok := top.(*dict)
		if !ok {
			break
		}
		var inner any
		for _, w := range wrappers {
			if v, ok := d.get(w); ok {
				inner = v
				break
			}
		}
		if inner == nil {
			break
		}
		c.collect(inner, "")
		top = inner
	}
	named := c.named
	r := &torchResult{}
	for g := range u.globals {
		module, name, _ := strings.Cut(g, ".")
		_, isStorage := storageTypes[name]
		_, isDType := torchDTypes[name]
		if !expected[g] && !(module == "torch" && (isStorage || isDType || strings.HasPrefix(name, "storage."))) {
			r.ignored = append(r.ignored, g)
		}
	}
	sort.Strings(r.ignored)
	if len(named) == 0 {
		return nil, fmt.Errorf("no tensors at the top of the file or below %s%s", strings.Join(wrappers, ", "), notRun(r.ignored))
	}
	for name, t := range named {
		v, err := t.view(name)
		if err != nil {
			return nil, err
		}
		r.tensors = append(r.tensors, v)
	}
	return r, nil
}

func notRun(ignored []string) string {
	if len(ignored) == 0 {
		return ""
	}
	return fmt.Sprintf("; it names %s, which were not run", strings.Join(ignored, ", "))
}

// collector gathers the tensors of a dictionary, and of a pickled nn.Module with its sub-modules. It visits a module
// once: a pickle can refer to itself, and sharing would otherwise make the walk exponential.
type collector struct {
	named map[string]*tensor
	seen  map[any]bool
}

func (c *collector) collect(v any, prefix string) {
	switch t := v.(type) {
	case *dict:
		for i, k := range t.keys {
			name, ok := k.(string)
			if x, is := t.values[i].(*tensor); ok && is {
				c.named[prefix+name] = x // a key set twice keeps the last value, as a dictionary does
			}
		}
	case *object:
		state, ok := t.state.(*dict)
		if !ok || c.seen[t] {
			return
		}
		c.seen[t] = true
		for _, part := range []string{"_parameters", "_buffers"} {
			if d, ok := state.get(part); ok {
				if _, is := d.(*dict); is {
					c.collect(d, prefix)
				}
			}
		}
		mods, _ := state.get("_modules")
		if d, ok := mods.(*dict); ok {
			for i, k := range d.keys {
				if name, ok := k.(string); ok {
					c.collect(d.values[i], prefix+name+".")
				}
			}
		}
	}
}
