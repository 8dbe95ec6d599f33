package checkpoint

import (
	"fmt"
	"sort"
)

// GGUF is the Source of a GGUF file (github.com/ggml-org/ggml, docs/gguf.md), under the names that the file uses, with
// its metadata. HuggingFace gives the view that models load from. Quantized tensors have the name of their ggml type as
// element type ("Q4_1"); Read gives the values that the Python package gguf gives, bit for bit.
type GGUF struct {
	what    string
	version int
	meta    *Meta
	tensors map[string]*ggufTensor
	list    []Info
	file    *mapping // nil for a file in memory
}

// ggufTensor is one tensor of a file. raw holds whole blocks: Len() / kind.values of kind.bytes each.
type ggufTensor struct {
	info Info
	kind ggmlType
	raw  []byte
}

// OpenGGUF maps a GGUF file of version 2 or 3, little-endian, and checks that all that its header promises lies in the
// file. A file with tensors of a type that cannot be read opens (its metadata may be all that is wanted); Read refuses
// these tensors by name.
func OpenGGUF(path string) (*GGUF, error) {
	m, err := mapFile(path)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: open: %w", err)
	}
	g, err := parseGGUF(path, m.data)
	if err != nil {
		m.close()
		return nil, fmt.Errorf("checkpoint: %s: %w", path, err)
	}
	g.file = m
	return g, nil
}

// Version is the version of the format that the file states, 2 or 3. They differ in nothing that is read here.
func (g *GGUF) Version() int { return g.version }

// Meta is the file's metadata. It stays valid after Close.
func (g *GGUF) Meta() *Meta { return g.meta }

// Tensors implements Source. Shapes are in PyTorch's order, the reverse of the file's: a matrix is [out in].
func (g *GGUF) Tensors() []Info { return g.list }

// Find implements Source.
func (g *GGUF) Find(name string) (Info, bool) {
	t, ok := g.tensors[name]
	if !ok {
		return Info{}, false
	}
	return t.info, true
}

// Read implements Source. The offset may lie anywhere: a block that is wanted in part is decoded on the side.
func (g *GGUF) Read(name string, offset int, dst []float32) error {
	t, ok := g.tensors[name]
	if !ok {
		return fmt.Errorf("checkpoint: %s: no tensor %q", g.what, name)
	}
	if err := t.read(offset, dst); err != nil {
		return fmt.Errorf("checkpoint: %s: read: %w", g.what, err)
	}
	return nil
}

// Close implements Source.
func (g *GGUF) Close() error {
	m := g.file
	g.file, g.tensors = nil, nil
	if m == nil {
		return nil
	}
	return m.close()
}

// readable says why a tensor's element type cannot be read, or nil.
func (t *ggufTensor) readable() error {
	if t.kind.decode == nil && !t.kind.name.Float() {
		return fmt.Errorf("tensor %s is %s, which is not read; have: %s", t.info.Name, t.kind.name, readableTypes())
	}
	return nil
}

func (t *ggufTensor) read(offset int, dst []float32) error {
	if n := t.info.Len(); offset < 0 || offset > n || len(dst) > n-offset {
		return fmt.Errorf("tensor %s: elements %d to %d of %d", t.info.Name, offset, offset+len(dst), n)
	}
	if err := t.readable(); err != nil {
		return err
	}
	k := t.kind
	if k.decode == nil {
		return widen(dst, t.raw[offset*k.bytes:], k.name)
	}
	for len(dst) > 0 {
		at, skip := offset/k.values*k.bytes, offset%k.values
		block := t.raw[at : at+k.bytes]
		n := k.values
		if skip == 0 && len(dst) >= n {
			k.decode(dst[:n], block)
		} else {
			whole := make([]float32, n)
			k.decode(whole, block)
			n = copy(dst, whole[skip:])
		}
		dst, offset = dst[n:], offset+n
	}
	return nil
}

// newGGUF puts the tensors of a table together; names are known to be unique.
func newGGUF(what string, version int, meta *Meta, tensors []*ggufTensor) *GGUF {
	g := &GGUF{what: what, version: version, meta: meta, tensors: make(map[string]*ggufTensor, len(tensors))}
	for _, t := range tensors {
		g.tensors[t.info.Name] = t
		g.list = append(g.list, t.info)
	}
	sort.Slice(g.list, func(i, j int) bool { return g.list[i].Name < g.list[j].Name })
	return g
}
