// Package golden finds and reads the fixtures that tests compare with. Only tests import it.
//
// Fixture sets are folders under testdata/fixtures of the repository. SOWER_FIXTURES, when set, names another folder of
// the same layout, which is then used alone: a set that it lacks is skipped.
package golden

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// Fixtures returns the folder of a fixture set, or skips the test with a line that names the set.
func Fixtures(t testing.TB, set string) string {
	t.Helper()
	root := os.Getenv("SOWER_FIXTURES")
	if root == "" {
		root = filepath.Join(repository(t), "testdata", "fixtures")
	}
	dir := filepath.Join(root, filepath.FromSlash(set))
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no fixture set %q: %v", set, err)
	}
	return dir
}

// repository is the folder of go.mod, at or above the working folder.
func repository(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("golden: no go.mod at or above the working folder")
		}
		dir = up
	}
}

// File is a safetensors file in memory. Unlike package checkpoint it trusts the file and keeps integers.
type File struct {
	Metadata map[string]string
	tensors  map[string]entry
	data     []byte
	t        testing.TB
}

type entry struct {
	DType   string
	Shape   []int
	Offsets [2]int `json:"data_offsets"`
}

// Open reads a safetensors file, or ends the test.
func Open(t testing.TB, path string) *File {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := 8 + binary.LittleEndian.Uint64(raw)
	var header map[string]json.RawMessage
	if err := json.Unmarshal(raw[8:n], &header); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	f := &File{tensors: map[string]entry{}, data: raw[n:], t: t}
	for name, text := range header {
		var into any = &f.Metadata
		var e entry
		if name != "__metadata__" {
			into = &e
		}
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatalf("%s: %s: %v", path, name, err)
		}
		f.tensors[name] = e
	}
	delete(f.tensors, "__metadata__")
	return f
}

// Has reports whether there is a tensor of that name.
func (f *File) Has(name string) bool {
	_, ok := f.tensors[name]
	return ok
}

// Shape is the shape of a tensor; a missing one ends the test.
func (f *File) Shape(name string) []int { return f.find(name, "").Shape }

// Bytes returns a tensor of type U8.
func (f *File) Bytes(name string) []byte {
	e := f.find(name, "U8")
	return f.data[e.Offsets[0]:e.Offsets[1]]
}

// Int32s returns a tensor of type I32.
func (f *File) Int32s(name string) []int32 {
	e := f.find(name, "I32")
	v := make([]int32, (e.Offsets[1]-e.Offsets[0])/4)
	for i := range v {
		v[i] = int32(binary.LittleEndian.Uint32(f.data[e.Offsets[0]+4*i:]))
	}
	return v
}

// Floats returns a tensor of type F32.
func (f *File) Floats(name string) []float32 {
	e := f.find(name, "F32")
	v := make([]float32, (e.Offsets[1]-e.Offsets[0])/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(f.data[e.Offsets[0]+4*i:]))
	}
	return v
}

func (f *File) find(name, dtype string) entry {
	f.t.Helper()
	e, ok := f.tensors[name]
	if !ok || dtype != "" && e.DType != dtype {
		f.t.Fatalf("golden: tensor %q is %q, want %q", name, e.DType, dtype)
	}
	return e
}

// Relative is the largest |got-want| as a share of the largest |want|; NaN if anything is not a number.
func Relative(got, want []float32) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	diff, most := 0.0, 0.0
	for i, w := range want {
		diff = max(diff, math.Abs(float64(got[i])-float64(w)))
		most = max(most, math.Abs(float64(w)))
	}
	return diff / most
}
