package checkpoint

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var rows = map[string][]float32{"weight": {0, 1, 2, 3, 4, 5}, "half": {1, -2, 0.5, 65504}, "bf16": {1, -3},
	"transposed": {0, 3, 1, 4, 2, 5}}

func TestTorchForms(t *testing.T) {
	for _, name := range []string{"zip.pt", "deflated.pt", "parameter.pt", "nested.pth", "legacy.pt", "code.pt"} {
		t.Run(name, func(t *testing.T) {
			s, err := OpenTorch(filepath.Join("testdata", name))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if got := len(s.Tensors()); got != 5 {
				t.Errorf("%d tensors, want 5: %v", got, s.Tensors())
			}
			for k, want := range rows {
				got := make([]float32, len(want))
				if err := s.Read(k, 0, got); err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("%s = %v, %v, want %v", k, got, err, want)
				}
				if err := s.Read(k, 1, got[1:]); err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("%s from element 1 = %v, %v", k, got, err)
				}
				if err := s.Read(k, 1, got); err == nil {
					t.Errorf("%s: read past the end", k)
				}
			}
			if err := s.Read("steps", 0, make([]float32, 1)); err == nil {
				t.Error("an integer tensor was read as weights")
			}
			var want []string
			switch name {
			case "code.pt":
				want = []string{"posix.system"}
			case "nested.pth":
				want = []string{"argparse.Namespace"}
			}
			if got := s.Ignored(); !reflect.DeepEqual(got, want) {
				t.Errorf("ignored %v, want %v", got, want)
			}
		})
	}
	if _, err := os.Stat("sower-ran-code"); err == nil {
		t.Fatal("code in a pickle was run")
	}
}

func TestTorchRefuses(t *testing.T) {
	for name, want := range map[string]string{
		"only-code.pt":  "posix.system, which were not run",
		"only-code.pkl": "not one written by torch.save",
		"too-short.pt":  "cut short or damaged",
		"huge.pt":       "overflow",
	} {
		_, err := OpenTorch(filepath.Join("testdata", name))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

// TestTorchTruncated cuts real files at every length: always an error, never a crash or a short tensor.
func TestTorchTruncated(t *testing.T) {
	for _, name := range []string{"zip.pt", "legacy.pt"} {
		whole, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		for n := range whole {
			if r, err := parseTorch(whole[:n]); err == nil {
				t.Fatalf("%s cut to %d of %d bytes: %d tensors and no error", name, n, len(whole), len(r.tensors))
			}
		}
	}
}

func FuzzTorch(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.p*")
	for _, name := range files {
		p, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		r, err := parseTorch(p)
		if err != nil {
			return
		}
		for _, v := range r.tensors {
			n := min(v.info.Len(), 1<<12)
			v.read(0, make([]float32, n))
			v.read(v.info.Len()-n, make([]float32, n))
		}
	})
}

func FuzzSafetensors(f *testing.F) {
	f.Add(small(f))
	f.Add([]byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"))
	f.Fuzz(func(t *testing.T, p []byte) {
		tensors, _, err := parseSafetensors(p)
		if err != nil {
			return
		}
		for _, v := range tensors {
			v.read(0, make([]float32, min(v.info.Len(), 1<<12)))
		}
	})
}

// small is a safetensors file of one tensor of each element type that can be written.
func small(t testing.TB) []byte {
	t.Helper()
	src := NewStandIn([]Info{{Name: "b", Shape: []int{5}}, {Name: "w.weight", Shape: []int{3, 4}}, {Name: "h", Shape: []int{2, 2}}}, 3)
	var out bytes.Buffer
	err := WriteSafetensors(&out, []Entry{{Info: Info{"first", F32, []int{3, 4}}, From: src, FromName: "w.weight"},
		{Info: Info{"h", F16, []int{2, 2}}, From: src}, {Info: Info{"b", BF16, []int{5}}, From: src}}, map[string]string{"k": "v"})
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestSafetensorsRoundTrip(t *testing.T) {
	name := filepath.Join(t.TempDir(), "model.safetensors")
	if err := os.WriteFile(name, small(t), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := OpenSharded(filepath.Dir(name))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	src := NewStandIn([]Info{{Name: "w.weight", Shape: []int{3, 4}}}, 3)
	want, got := make([]float32, 12), make([]float32, 12)
	if src.Read("w.weight", 0, want) != nil || s.Read("first", 0, got) != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("first = %v, want %v", got, want)
	}
	if meta, err := Metadata(name); err != nil || meta["k"] != "v" {
		t.Errorf("metadata %v, %v", meta, err)
	}
}

func TestSafetensorsRefuses(t *testing.T) {
	file := func(header string, data int) []byte {
		p := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
		return append(append(p, header...), make([]byte, data)...)
	}
	for want, p := range map[string][]byte{
		"no safetensors file":   []byte("short"),
		"cut short":             binary.LittleEndian.AppendUint64(nil, 1<<40),
		"no JSON object":        file("[]", 0),
		"occurs twice":          file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
		"share bytes":           file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
		"data at 0 to 4 of 3":   file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 3),
		"want 8":                file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 4),
		"overflow":              file(`{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}`, 0),
		"negative size":         file(`{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}`, 4),
		`type "F8" is not know`: file(`{"a":{"dtype":"F8","shape":[0],"data_offsets":[0,0]}}`, 0),
	} {
		if _, _, err := parseSafetensors(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestShardIndex(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.safetensors"), small(t), 0o644); err != nil {
		t.Fatal(err)
	}
	for want, index := range map[string]string{
		"":                          `{"weight_map":{"first":"a.safetensors"}}`,
		"not a file of this folder": `{"weight_map":{"first":"../a.safetensors"}}`,
		"is not in":                 `{"weight_map":{"second":"a.safetensors"}}`,
		"is empty":                  `{"weight_map":{}}`,
		"no such file":              `{"weight_map":{"first":"b.safetensors"}}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), []byte(index), 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := OpenSharded(dir)
		if want == "" {
			if err != nil || len(s.Tensors()) != 1 {
				t.Errorf("%v, %v", s, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestHalf holds the conversions to the definition for every bit pattern.
func TestHalf(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		f := halfToFloat(h)
		exp, frac := int(h>>10)&31, float64(h&1023)
		want := math.Ldexp(1+frac/1024, exp-15)
		switch {
		case exp == 0:
			want = math.Ldexp(frac, -24)
		case exp == 31 && frac == 0:
			want = math.Inf(1)
		case exp == 31:
			if f == f || floatToHalf(f)&0x7c00 != 0x7c00 {
				t.Fatalf("%04x is not NaN", h)
			}
			continue
		}
		if h>>15 == 1 {
			want = -want
		}
		if float64(f) != want || floatToHalf(f) != h {
			t.Fatalf("%04x = %v, want %v; back to %04x", h, f, want, floatToHalf(f))
		}
	}
	// Halfway cases go to even, in both directions.
	for f, want := range map[float32]uint16{1 + 1.0/2048: 0x3c00, 1 + 3.0/2048: 0x3c02, 65520: 0x7c00, 65519: 0x7bff, 1.0 / (1 << 25): 0,
		3.0 / (1 << 25): 2} {
		if got := floatToHalf(f); got != want {
			t.Errorf("%v = %04x, want %04x", f, got, want)
		}
	}
	for f, want := range map[float32]uint16{1: 0x3f80, 1 + 1.0/256: 0x3f80, 1 + 3.0/256: 0x3f82} {
		if got := floatToBfloat(f); got != want {
			t.Errorf("bf16 %v = %04x, want %04x", f, got, want)
		}
	}
}

// TestStandIn pins values that the Python statement of the rule (docs/numerics.md) gives.
func TestStandIn(t *testing.T) {
	s := NewStandIn([]Info{{Name: "query_tokens", Shape: []int{1, 32, 768}}, {Name: "a.bias", Shape: []int{4}},
		{Name: "ln.weight", Shape: []int{4}}, {Name: "quantize.embedding.weight", Shape: []int{8, 4}},
		{Name: "x.self.query.weight", Shape: []int{4, 12}}}, 5)
	for name, want := range standInWant {
		got := make([]float32, len(want))
		if err := s.Read(name, 1, got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s = %v, %v, want %v", name, got, err, want)
		}
	}
}

func TestDigest(t *testing.T) {
	a := NewStandIn([]Info{{Name: "x.weight", Shape: []int{300, 200}}, {Name: "y.bias", Shape: []int{7}}}, 1)
	b := NewStandIn([]Info{{Name: "weight", Shape: []int{9}}, {Name: "bias", Shape: []int{7}}}, 1)
	first, err := Digest(a, []string{"x.weight", "y.bias"})
	if err != nil {
		t.Fatal(err)
	}
	again, err := Digest(Union(Prefixed{a, ""}, Prefixed{b, "z."}), []string{"y.bias", "x.weight"})
	if err != nil || again != first {
		t.Errorf("%s, %v, want %s: order of names or other tensors changed it", again, err, first)
	}
	if other, _ := Digest(a, []string{"x.weight"}); other == first {
		t.Error("a missing tensor does not change the digest")
	}
	if _, err := Digest(a, []string{"none"}); err == nil {
		t.Error("no error for a tensor that is not there")
	}
}
