package checkpoint

import (
	"encoding/binary"
	"fmt"
	"math"
	"sort"
)

const (
	// The least bytes that one pair (length of the key, type, a one-byte value) and one tensor (length of the name, number
	// of dimensions, type, offset) take: a count that promises more than the file can hold is refused before it is used.
	minPair   = 8 + 4 + 1
	minTensor = 8 + 4 + 4 + 8

	maxGGUFKey   = 1<<16 - 1 // the format's own bound
	maxDims      = 4         // ggml's GGML_MAX_DIMS
	defaultAlign = 32
	alignmentKey = "general.alignment"
)

// ggufReader walks over the header. The first error stays: later calls return zeros.
type ggufReader struct {
	data []byte
	at   int
	err  error
}

func (r *ggufReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

// left is the number of bytes that follow.
func (r *ggufReader) left() int { return len(r.data) - r.at }

// take returns the next n bytes, nil after an error.
func (r *ggufReader) take(n uint64) []byte {
	if r.err == nil && n > uint64(r.left()) {
		r.fail("%d bytes wanted at byte %d, %d left: the file is cut short or damaged", n, r.at, r.left())
	}
	if r.err != nil {
		return nil
	}
	p := r.data[r.at : r.at+int(n)]
	r.at += int(n)
	return p
}

func (r *ggufReader) u32() uint32 {
	if p := r.take(4); p != nil {
		return binary.LittleEndian.Uint32(p)
	}
	return 0
}

func (r *ggufReader) u64() uint64 {
	if p := r.take(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

func (r *ggufReader) string() string { return string(r.take(r.u64())) }

// count reads a number of things that take at least size bytes each.
func (r *ggufReader) count(what string, size int) int {
	n := r.u64()
	if r.err == nil && n > uint64(r.left()/size) {
		r.fail("%d %s in the %d bytes that are left: the file is cut short or damaged", n, what, r.left())
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

// parseGGUF reads a file: "GGUF", u32 version, u64 number of tensors, u64 number of pairs, the pairs, the table of
// tensors, and from the next multiple of general.alignment on the data, into which the table's offsets point.
func parseGGUF(what string, data []byte) (*GGUF, error) {
	r := &ggufReader{data: data}
	if magic := r.take(4); string(magic) != "GGUF" {
		return nil, fmt.Errorf("begins with %q: not a GGUF file", data[:min(4, len(data))])
	}
	version := r.u32()
	switch {
	case r.err != nil:
		return nil, r.err
	case version == 1:
		return nil, fmt.Errorf("GGUF version 1, whose lengths have 32 bits, is not read; have: 2, 3")
	case version&0xffff == 0 && version != 0:
		return nil, fmt.Errorf("a big-endian GGUF file; only little-endian ones are read")
	case version != 2 && version != 3:
		return nil, fmt.Errorf("GGUF version %d is not read; have: 2, 3", version)
	}
	tensors := r.count("tensors", minTensor)
	pairs := r.count("pairs of metadata", minPair)
	meta := parseMeta(r, pairs)
	table := parseTable(r, tensors)
	if r.err != nil {
		return nil, r.err
	}
	body, err := ggufBody(r, meta, len(table))
	if err != nil {
		return nil, err
	}
	list, err := place(table, body.data, body.align)
	if err != nil {
		return nil, err
	}
	return newGGUF(what, int(version), meta, list), nil
}

// tableEntry is a line of the table of tensors; its type is known and its sizes multiply without overflow.
type tableEntry struct {
	info   Info
	kind   ggmlType
	bytes  int
	offset uint64
}

func parseTable(r *ggufReader, n int) []tableEntry {
	var table []tableEntry
	seen := map[string]bool{}
	for i := 0; i < n && r.err == nil; i++ {
		name := r.string()
		if r.err != nil {
			r.err = fmt.Errorf("tensor %d of %d: %w", i, n, r.err)
			break
		}
		if seen[name] {
			r.fail("tensor %q occurs twice", name)
		}
		seen[name] = true
		e, err := parseEntry(r, name)
		if err != nil {
			r.err = fmt.Errorf("tensor %q: %w", name, err)
		}
		table = append(table, e)
	}
	return table
}

func parseEntry(r *ggufReader, name string) (e tableEntry, err error) {
	dims := r.u32()
	if r.err == nil && dims > maxDims {
		return e, fmt.Errorf("%d dimensions, want at most %d", dims, maxDims)
	}
	shape := make([]int, dims)
	for i := range shape {
		d := r.u64()
		if d > math.MaxInt {
			return e, fmt.Errorf("a dimension of %d", d)
		}
		shape[len(shape)-1-i] = int(d) // the file begins with the dimension whose neighbours lie side by side
	}
	id, offset := r.u32(), r.u64()
	if r.err != nil {
		return e, r.err
	}
	kind, ok := ggmlTypes[id]
	if !ok {
		return e, fmt.Errorf("ggml type %d is not known", id)
	}
	e = tableEntry{info: Info{name, kind.name, shape}, kind: kind, offset: offset}
	elements, err := mulChecked(shape...)
	if err != nil {
		return e, fmt.Errorf("shape %v: %w", shape, err)
	}
	row := 1
	if len(shape) > 0 {
		row = shape[len(shape)-1]
	}
	if row%kind.values != 0 {
		return e, fmt.Errorf("rows of %d elements are no whole number of %s blocks of %d", row, kind.name, kind.values)
	}
	e.bytes = elements / kind.values * kind.bytes // at most 2^46 elements of 8 bytes
	return e, nil
}

// body is the part of a file that follows the table, and what offsets in it are multiples of.
type body struct {
	data  []byte
	align uint64
}

func ggufBody(r *ggufReader, meta *Meta, tensors int) (b body, err error) {
	b.align = defaultAlign
	if meta.Has(alignmentKey) {
		v, ok := meta.Value(alignmentKey).(uint32)
		if !ok {
			return b, fmt.Errorf("key %s is %s, want UINT32", alignmentKey, meta.typeOf(alignmentKey))
		}
		if v == 0 || v&(v-1) != 0 {
			return b, fmt.Errorf("%s is %d, want a power of two", alignmentKey, v)
		}
		b.align = uint64(v)
	}
	from := (uint64(r.at) + b.align - 1) / b.align * b.align
	switch {
	case from <= uint64(len(r.data)):
		b.data = r.data[from:]
	case tensors > 0:
		return b, fmt.Errorf("data begins at byte %d of %d: the file is cut short or damaged", from, len(r.data))
	}
	return b, nil
}

// place finds each tensor's bytes and refuses tensors that share some or reach past the end.
func place(table []tableEntry, data []byte, align uint64) ([]*ggufTensor, error) {
	list := make([]*ggufTensor, len(table))
	for i, e := range table {
		size := uint64(len(data))
		switch {
		case e.offset%align != 0:
			return nil, fmt.Errorf("tensor %q: offset %d is not a multiple of %d", e.info.Name, e.offset, align)
		case e.offset > size || uint64(e.bytes) > size-e.offset:
			return nil, fmt.Errorf("tensor %q: %d bytes at offset %d of %d bytes of data: the file is cut short or damaged", e.info.Name, e.bytes, e.offset, size)
		}
		list[i] = &ggufTensor{info: e.info, kind: e.kind, raw: data[e.offset : e.offset+uint64(e.bytes)]}
	}
	order := make([]int, len(table))
	for i := range order {
		order[i] = i
	}
	sort.Slice(order, func(i, j int) bool {
		a, b := table[order[i]], table[order[j]]
		if a.offset != b.offset {
			return a.offset < b.offset
		}
		return a.bytes < b.bytes // an empty tensor shares bytes with nobody
	})
	for i := 1; i < len(order); i++ {
		a, b := table[order[i-1]], table[order[i]]
		if b.offset < a.offset+uint64(a.bytes) {
			return nil, fmt.Errorf("tensors %q and %q share bytes", a.info.Name, b.info.Name)
		}
	}
	return list, nil
}
