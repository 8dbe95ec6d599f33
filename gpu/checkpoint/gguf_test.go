package checkpoint

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func openTestGGUF(t testing.TB, name string) *GGUF {
	t.Helper()
	g, err := OpenGGUF(filepath.Join("testdata", "gguf", name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

func readAll(t testing.TB, s Source, name string) []float32 {
	t.Helper()
	info, ok := s.Find(name)
	if !ok {
		t.Fatalf("no tensor %q", name)
	}
	dst := make([]float32, info.Len())
	if err := s.Read(name, 0, dst); err != nil {
		t.Fatal(err)
	}
	return dst
}

// sameBits returns the first index at which two lists differ, -1 if they do not.
func sameBits(a, b []float32) int {
	if len(a) != len(b) {
		return min(len(a), len(b))
	}
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return i
		}
	}
	return -1
}

// TestGGUFTypes compares every type bit for bit with what the Python package gguf gives (testdata/make_gguf.py), whole
// and in parts that begin and end inside of blocks.
func TestGGUFTypes(t *testing.T) {
	g := openTestGGUF(t, "types.gguf")
	golden, err := OpenSafetensors(filepath.Join("testdata", "gguf", "types.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer golden.Close()
	seen := map[DType]bool{}
	for _, info := range golden.Tensors() {
		t.Run(info.Name, func(t *testing.T) {
			want := readAll(t, golden, info.Name)
			got, ok := g.Find(info.Name)
			if !ok || !reflect.DeepEqual(got.Shape, info.Shape) || !got.DType.Float() || !strings.HasPrefix(info.Name, string(got.DType)+".") {
				t.Fatalf("%v, want %v", got, info)
			}
			seen[got.DType] = true
			whole := readAll(t, g, info.Name)
			if i := sameBits(whole, want); i >= 0 {
				t.Fatalf("element %d: %x, want %x", i, math.Float32bits(whole[i]), math.Float32bits(want[i]))
			}
			for from := 0; from <= len(want); from++ {
				for _, n := range []int{0, 1, 31, 32, 33, 255, 257} {
					if n = min(n, len(want)-from); n < 0 {
						continue
					}
					part := make([]float32, n)
					if err := g.Read(info.Name, from, part); err != nil || sameBits(part, want[from:from+n]) >= 0 {
						t.Fatalf("elements %d to %d differ, %v", from, from+n, err)
					}
				}
			}
			for _, from := range []int{-1, len(want), math.MaxInt} {
				if err := g.Read(info.Name, from, make([]float32, 1)); err == nil || !strings.Contains(err.Error(), info.Name) {
					t.Errorf("read from element %d: %v", from, err)
				}
			}
		})
	}
	for _, kind := range ggmlTypes {
		if (kind.decode != nil || kind.name.Float()) && !seen[kind.name] {
			t.Errorf("%s has no golden tensor", kind.name)
		}
	}
}

func TestGGUFUnreadTypes(t *testing.T) {
	g := openTestGGUF(t, "types.gguf")
	for name, dtype := range map[string]DType{"IQ2_XS.unread": "IQ2_XS", "I32.unread": I32} {
		info, ok := g.Find(name)
		if !ok || info.DType != dtype || info.DType.Float() {
			t.Errorf("%v", info)
		}
		err := g.Read(name, 0, make([]float32, 1))
		want := "tensor " + name + " is " + string(dtype) + ", which is not read; have: BF16, F16, F32, F64, Q2_K, Q3_K, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0"
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := g.Read("absent", 0, nil); err == nil || !strings.Contains(err.Error(), `no tensor "absent"`) {
		t.Errorf("%v", err)
	}
}

// TestGGUFRealBlocks decodes three blocks of SmolLM2 that are recorded in hexadecimal.
func TestGGUFRealBlocks(t *testing.T) {
	r := readRecord(t, "smollm2.json")
	for name, b := range r.Blocks {
		block, err := hex.DecodeString(b.Hex)
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range ggmlTypes {
			if string(kind.name) != b.Type {
				continue
			}
			got := make([]float32, kind.values)
			kind.decode(got, block)
			if i := sameBits(got, b.Values); i >= 0 || len(block) != kind.bytes {
				t.Errorf("%s: element %d of a block of %d bytes: %v, want %v", name, i, len(block), got, b.Values)
			}
		}
	}
	if len(r.Blocks) != 3 {
		t.Errorf("%d blocks", len(r.Blocks))
	}
}

func TestGGUFMeta(t *testing.T) {
	m := openTestGGUF(t, "types.gguf").Meta()
	for key, want := range map[string]any{
		"uint8": uint8(255), "int8": int8(127), "uint16": uint16(65535), "int16": int16(32767), "uint32": uint32(math.MaxUint32), "int32": int32(math.MaxInt32),
		"uint64": uint64(math.MaxUint64), "int64": int64(math.MaxInt64), "float32": float32(-1e30), "float64": -1e300, "bool": true, "string": "Saat ü",
		"bools": []bool{false, true}, "nested": []any{[]int32{1, 2}, []int32{3}}, "uint64s": []uint64{0, math.MaxUint64, 7},
		"deeper": []any{[]any{[]string{"a"}, []string{"b", "c"}}, []any{[]string{"d"}}}, "absent": nil,
	} {
		if got := m.Value(key); !reflect.DeepEqual(got, want) || m.Has(key) != (want != nil) {
			t.Errorf("%s = %v, want %v", key, got, want)
		}
	}
	for key, want := range map[string]int{"uint8": 255, "int8": 127, "uint16": 65535, "int16": 32767, "uint32": math.MaxUint32, "int32": math.MaxInt32, "int64": math.MaxInt64} {
		if got, err := m.Int(key); got != want || err != nil {
			t.Errorf("%s = %d, %v, want %d", key, got, err, want)
		}
	}
	for key, want := range map[string][]int{"uint8s": {0, 255, 7}, "int8s": {-128, 127, 7}, "uint16s": {0, 65535, 7}, "int16s": {-32768, 32767, 7},
		"uint32s": {0, math.MaxUint32, 7}, "int32s": {math.MinInt32, math.MaxInt32, 7}, "int64s": {math.MinInt64, math.MaxInt64, 7}} {
		if got, err := m.Ints(key); !reflect.DeepEqual(got, want) || err != nil {
			t.Errorf("%s = %d, %v, want %d", key, got, err, want)
		}
	}
	for key, want := range map[string][]float64{"float32s": {float64(float32(0.1)), float64(float32(-1e30)), 7}, "float64s": {0.1, -1e300, 7}} {
		if got, err := m.Floats(key); !reflect.DeepEqual(got, want) || err != nil {
			t.Errorf("%s = %v, %v, want %v", key, got, err, want)
		}
	}
	if v, err := m.Float("float32"); v != float64(float32(-1e30)) || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	if v, err := m.Bool("bool"); !v || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	if v, err := m.String("string"); v != "Saat ü" || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	if v, err := m.Strings("strings"); !reflect.DeepEqual(v, []string{"", "a", "猫"}) || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	if keys := m.Keys(); len(keys) < 20 || keys[0] != "general.architecture" || keys[1] != alignmentKey {
		t.Errorf("keys %v", keys)
	}
	errOf := func(_ any, err error) error { return err }
	for want, err := range map[string]error{
		"key absent is missing, want STRING":                             errOf(m.String("absent")),
		"key int8 is an INT8, want STRING":                               errOf(m.String("int8")),
		"key strings is an array of STRING, want BOOL":                   errOf(m.Bool("strings")),
		"key bool is a BOOL, want integer":                               errOf(m.Int("bool")),
		"key float32 is a FLOAT32, want integer":                         errOf(m.Int("float32")),
		"key uint64 is 18446744073709551615, more than an int holds":     errOf(m.Int("uint64")),
		"key uint64s holds 18446744073709551615, more than an int holds": errOf(m.Ints("uint64s")),
		"key nested is an array of ARRAY, want array of integers":        errOf(m.Ints("nested")),
		"key int64 is an INT64, want float":                              errOf(m.Float("int64")),
		"key float64 is a FLOAT64, want array of floats":                 errOf(m.Floats("float64")),
		"key float64s is an array of FLOAT64, want array of STRING":      errOf(m.Strings("float64s")),
		"key string is a STRING, want array of integers":                 errOf(m.Ints("string")),
	} {
		if err == nil || err.Error() != want {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// ggufRecord is what testdata/make_gguf.py notes about a model.
type ggufRecord struct {
	SHA256     string            `json:"sha256"`
	Tensors    int               `json:"tensors"`
	FileDigest string            `json:"file_digest"` // Digest of all tensors under the file's names
	Config     LlamaConfig       `json:"config"`
	Digest     string            `json:"digest"` // Digest of all tensors under Hugging Face names
	Float32    map[string]string `json:"sha256_float32"`
	Blocks     map[string]struct {
		Type   string    `json:"type"`
		Shape  []int     `json:"shape"`
		Row    int       `json:"row"`
		Hex    string    `json:"hex"`
		Values []float32 `json:"values"`
	} `json:"blocks"`
}

func readRecord(t testing.TB, name string) (r ggufRecord) {
	t.Helper()
	p, err := os.ReadFile(filepath.Join("testdata", "gguf", name))
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(p))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		t.Fatal(err)
	}
	return r
}
