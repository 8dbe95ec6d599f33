package checkpoint

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Meta is the metadata of a GGUF file. A getter of a key that is missing or of another type returns an error that says
// so; Has tells whether an optional key is there. The tokenizer's keys are tokenizer.ggml.model ("gpt2", "llama"), .pre,
// .tokens, .scores, .token_type, .merges, .bos_token_id, .eos_token_id and .add_bos_token.
type Meta struct {
	keys   []string
	values map[string]any
}

// The types of values, by their number in the file.
const (
	ggufUint8 = iota
	ggufInt8
	ggufUint16
	ggufInt16
	ggufUint32
	ggufInt32
	ggufFloat32
	ggufBool
	ggufString
	ggufArray
	ggufUint64
	ggufInt64
	ggufFloat64
)

// maxNesting bounds arrays of arrays, which are read by recursion; files have none, or one level.
const maxNesting = 4

func parseMeta(r *ggufReader, n int) *Meta {
	m := &Meta{values: map[string]any{}}
	for i := 0; i < n && r.err == nil; i++ {
		size := r.u64()
		if size > maxGGUFKey {
			r.fail("metadata pair %d of %d: a key of %d bytes, want at most %d", i, n, size, maxGGUFKey)
		}
		key := string(r.take(size))
		kind := r.u32()
		if r.err != nil {
			r.err = fmt.Errorf("metadata pair %d of %d: %w", i, n, r.err)
			break
		}
		if m.Has(key) {
			r.fail("key %q occurs twice", key)
			break
		}
		v := ggufValue(r, kind)
		if r.err != nil {
			r.err = fmt.Errorf("key %q: %w", key, r.err)
		}
		m.keys = append(m.keys, key)
		m.values[key] = v
	}
	return m
}

// ggufValue reads one value of a type.
func ggufValue(r *ggufReader, kind uint32) any {
	switch kind {
	case ggufUint8:
		return ggufScalar[uint8](r)
	case ggufInt8:
		return ggufScalar[int8](r)
	case ggufUint16:
		return ggufScalar[uint16](r)
	case ggufInt16:
		return ggufScalar[int16](r)
	case ggufUint32:
		return ggufScalar[uint32](r)
	case ggufInt32:
		return ggufScalar[int32](r)
	case ggufFloat32:
		return ggufScalar[float32](r)
	case ggufBool:
		p := r.take(1)
		ggufCheckBools(r, p)
		return r.err == nil && p[0] == 1
	case ggufString:
		return r.string()
	case ggufArray:
		return ggufList(r, 1)
	case ggufUint64:
		return ggufScalar[uint64](r)
	case ggufInt64:
		return ggufScalar[int64](r)
	case ggufFloat64:
		return ggufScalar[float64](r)
	}
	r.fail("value type %d is not known", kind)
	return nil
}

// ggufList reads an array: u32 type, u64 number of elements, the elements. One of arrays gives []any.
func ggufList(r *ggufReader, depth int) any {
	kind := r.u32()
	switch kind {
	case ggufUint8:
		return ggufNumbers[uint8](r)
	case ggufInt8:
		return ggufNumbers[int8](r)
	case ggufUint16:
		return ggufNumbers[uint16](r)
	case ggufInt16:
		return ggufNumbers[int16](r)
	case ggufUint32:
		return ggufNumbers[uint32](r)
	case ggufInt32:
		return ggufNumbers[int32](r)
	case ggufFloat32:
		return ggufNumbers[float32](r)
	case ggufBool:
		return ggufNumbers[bool](r)
	case ggufString:
		list := make([]string, r.count("strings", 8))
		for i := 0; i < len(list) && r.err == nil; i++ {
			list[i] = r.string()
		}
		return list
	case ggufArray:
		if depth == maxNesting {
			r.fail("arrays nested more than %d deep", maxNesting)
			return nil
		}
		list := make([]any, r.count("arrays", 4+8))
		for i := 0; i < len(list) && r.err == nil; i++ {
			list[i] = ggufList(r, depth+1)
		}
		return list
	case ggufUint64:
		return ggufNumbers[uint64](r)
	case ggufInt64:
		return ggufNumbers[int64](r)
	case ggufFloat64:
		return ggufNumbers[float64](r)
	}
	r.fail("an array of value type %d, which is not known", kind)
	return nil
}

func ggufScalar[T any](r *ggufReader) (v T) {
	if p := r.take(uint64(binary.Size(v))); r.err == nil {
		binary.Decode(p, binary.LittleEndian, &v) // fails only for want of bytes
	}
	return v
}

func ggufNumbers[T any](r *ggufReader) []T {
	var one T
	size := binary.Size(one)
	n := r.count("elements", size)
	p := r.take(uint64(n * size))
	if _, bools := any(one).(bool); bools {
		ggufCheckBools(r, p)
	}
	if r.err != nil {
		return nil
	}
	list := make([]T, n)
	binary.Decode(p, binary.LittleEndian, list)
	return list
}

// ggufCheckBools holds booleans to the format, in which any other byte marks a broken file.
func ggufCheckBools(r *ggufReader, p []byte) {
	for _, b := range p {
		if b > 1 {
			r.fail("a boolean of %d", b)
		}
	}
}

// Keys lists the keys in the order of the file.
func (m *Meta) Keys() []string { return slices.Clone(m.keys) }

// Has reports whether the file has the key.
func (m *Meta) Has(key string) bool {
	_, ok := m.values[key]
	return ok
}

// Value is a key's value as the Go type that the file's type corresponds to: uint8 to float64, bool, string, or a slice
// of one of them; an array of arrays is a []any of slices. It is nil for a missing key. Slices must not be changed.
func (m *Meta) Value(key string) any { return m.values[key] }

// String is the value of a key of type STRING.
func (m *Meta) String(key string) (string, error) { return metaOf[string](m, key, "STRING") }

// Bool is the value of a key of type BOOL.
func (m *Meta) Bool(key string) (bool, error) { return metaOf[bool](m, key, "BOOL") }

// Strings is the value of a key whose type is an array of STRING.
func (m *Meta) Strings(key string) ([]string, error) {
	list, err := metaOf[[]string](m, key, "array of STRING")
	return slices.Clone(list), err
}

// Int is the value of a key of any integer type. A UINT64 above the range of int is an error.
func (m *Meta) Int(key string) (int, error) {
	switch v := m.values[key].(type) {
	case uint8:
		return int(v), nil
	case int8:
		return int(v), nil
	case uint16:
		return int(v), nil
	case int16:
		return int(v), nil
	case uint32:
		return int(v), nil
	case int32:
		return int(v), nil
	case int64:
		return int(v), nil
	case uint64:
		if v > math.MaxInt {
			return 0, fmt.Errorf("key %s is %d, more than an int holds", key, v)
		}
		return int(v), nil
	}
	return 0, m.mismatch(key, "integer")
}

// Float is the value of a key of type FLOAT32 or FLOAT64.
func (m *Meta) Float(key string) (float64, error) {
	switch v := m.values[key].(type) {
	case float32:
		return float64(v), nil
	case float64:
		return v, nil
	}
	return 0, m.mismatch(key, "float")
}

// Ints is the value of a key whose type is an array of any integer type.
func (m *Meta) Ints(key string) ([]int, error) {
	switch v := m.values[key].(type) {
	case []uint8:
		return convert[int](v), nil
	case []int8:
		return convert[int](v), nil
	case []uint16:
		return convert[int](v), nil
	case []int16:
		return convert[int](v), nil
	case []uint32:
		return convert[int](v), nil
	case []int32:
		return convert[int](v), nil
	case []int64:
		return convert[int](v), nil
	case []uint64:
		for _, x := range v {
			if x > math.MaxInt {
				return nil, fmt.Errorf("key %s holds %d, more than an int holds", key, x)
			}
		}
		return convert[int](v), nil
	}
	return nil, m.mismatch(key, "array of integers")
}

// Floats is the value of a key whose type is an array of FLOAT32 or FLOAT64.
func (m *Meta) Floats(key string) ([]float64, error) {
	switch v := m.values[key].(type) {
	case []float32:
		return convert[float64](v), nil
	case []float64:
		return slices.Clone(v), nil
	}
	return nil, m.mismatch(key, "array of floats")
}

type number interface {
	~uint8 | ~int8 | ~uint16 | ~int16 | ~uint32 | ~int32 | ~uint64 | ~int64 | ~int | ~float32 | ~float64
}

func convert[To, From number](list []From) []To {
	out := make([]To, len(list))
	for i, v := range list {
		out[i] = To(v)
	}
	return out
}

func metaOf[T any](m *Meta, key, want string) (T, error) {
	v, ok := m.values[key].(T)
	if !ok {
		return v, m.mismatch(key, want)
	}
	return v, nil
}

// mismatch is the error of a key that is not what was asked for.
func (m *Meta) mismatch(key, want string) error {
	if !m.Has(key) {
		return fmt.Errorf("key %s is missing, want %s", key, want)
	}
	return fmt.Errorf("key %s is %s, want %s", key, m.typeOf(key), want)
}

// typeOf names the type of a key's value in the format's words, with an article.
func (m *Meta) typeOf(key string) string {
	switch v := m.values[key].(type) {
	case []any:
		return "an array of ARRAY"
	case int8, int16, int32, int64:
		return "an " + metaNames[fmt.Sprintf("%T", v)]
	case []uint8, []int8, []uint16, []int16, []uint32, []int32, []uint64, []int64, []float32, []float64, []bool, []string:
		return "an array of " + metaNames[fmt.Sprintf("%T", v)[2:]]
	default:
		return "a " + metaNames[fmt.Sprintf("%T", v)]
	}
}

var metaNames = map[string]string{"uint8": "UINT8", "int8": "INT8", "uint16": "UINT16", "int16": "INT16", "uint32": "UINT32",
	"int32": "INT32", "float32": "FLOAT32", "bool": "BOOL", "string": "STRING", "uint64": "UINT64", "int64": "INT64", "float64": "FLOAT64"}
