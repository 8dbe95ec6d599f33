package checkpoint

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// rawTensor is a line of the table as it stands in a file: dims fastest first.
type rawTensor struct {
	name   string
	dims   []uint64
	kind   uint32
	offset uint64
}

// ggufBytes puts values together: strings with their length, numbers little-endian.
func ggufBytes(values ...any) (p []byte) {
	for _, v := range values {
		if s, ok := v.(string); ok {
			p = append(binary.LittleEndian.AppendUint64(p, uint64(len(s))), s...)
			continue
		}
		var err error
		if p, err = binary.Append(p, binary.LittleEndian, v); err != nil {
			panic(err)
		}
	}
	return p
}

// ggufFile builds a file of pairs (key, uint32 type, value …), tensors, and data of zeros after padding to 32.
func ggufFile(version uint32, pairs [][]any, tensors []rawTensor, data int) []byte {
	p := append([]byte("GGUF"), ggufBytes(version, uint64(len(tensors)), uint64(len(pairs)))...)
	for _, pair := range pairs {
		p = append(p, ggufBytes(pair...)...)
	}
	for _, t := range tensors {
		p = append(p, ggufBytes(t.name, uint32(len(t.dims)), t.dims, t.kind, t.offset)...)
	}
	p = append(p, make([]byte, -len(p)&31)...)
	return append(p, make([]byte, data)...)
}

// brokenGGUF maps what the error must say to a file.
func brokenGGUF() map[string][]byte {
	pair := func(v ...any) []byte { return ggufFile(3, [][]any{v}, nil, 64) }
	tensors := func(data int, t ...rawTensor) []byte { return ggufFile(3, nil, t, data) }
	head := func(version uint32, tensors, pairs uint64) []byte {
		return append([]byte("GGUF"), ggufBytes(version, tensors, pairs)...)
	}
	deep := []any{"k", uint32(ggufArray)}
	for range 4 {
		deep = append(deep, uint32(ggufArray), uint64(1))
	}
	return map[string][]byte{
		`begins with "GGML": not a GGUF file`:                     []byte("GGML    "),
		`begins with "GG": not a GGUF file`:                       []byte("GG"),
		"4 bytes wanted at byte 4, 0 left":                        []byte("GGUF"),
		"GGUF version 1, whose lengths have 32 bits, is not read": head(1, 0, 0),
		"GGUF version 4 is not read; have: 2, 3":                  head(4, 0, 0),
		"GGUF version 0 is not read":                              head(0, 0, 0),
		"a big-endian GGUF file":                                  []byte("GGUF\x00\x00\x00\x03\x00\x00\x00\x00"),
		"4294967296 tensors in the 8 bytes":                       head(3, 1<<32, 0),
		"18446744073709551615 pairs of metadata":                  head(3, 0, 1<<64-1),
		"metadata pair 0 of 1: a key of 65536 bytes":              pair(strings.Repeat("k", 1<<16), uint32(ggufBool), true),
		"metadata pair 0 of 1: 200 bytes wanted":                  append(head(3, 0, 1), ggufBytes(uint64(200), uint64(0))...),
		`key "k": value type 13 is not known`:                     pair("k", uint32(13), uint64(0)),
		`key "k": an array of value type 13`:                      pair("k", uint32(ggufArray), uint32(13), uint64(0)),
		`key "k": a boolean of 2`:                                 pair("k", uint32(ggufBool), uint8(2)),
		`key "l": a boolean of 3`:                                 pair("l", uint32(ggufArray), uint32(ggufBool), uint64(2), uint16(0x300)),
		`key "k": 18446744073709551615 elements in the`:           pair("k", uint32(ggufArray), uint32(ggufUint8), uint64(1<<64-1)),
		`key "k": 2305843009213693953 elements in the`:            pair("k", uint32(ggufArray), uint32(ggufUint64), uint64(1<<61+1)),
		`key "k": 1000 strings in the`:                            pair("k", uint32(ggufArray), uint32(ggufString), uint64(1000)),
		`key "k": 1000 arrays in the`:                             pair("k", uint32(ggufArray), uint32(ggufArray), uint64(1000)),
		`key "k": 1099511627776 bytes wanted`:                     pair("k", uint32(ggufString), uint64(1<<40)),
		`key "k": arrays nested more than 4 deep`:                 pair(deep...),
		`key "k" occurs twice`:                                    ggufFile(3, [][]any{{"k", uint32(ggufBool), true}, {"k", uint32(ggufBool), true}}, nil, 64),
		"general.alignment is a UINT64, want UINT32":              pair(alignmentKey, uint32(ggufUint64), uint64(32)),
		"general.alignment is 0, want a power of two":             pair(alignmentKey, uint32(ggufUint32), uint32(0)),
		"general.alignment is 48, want a power of two":            pair(alignmentKey, uint32(ggufUint32), uint32(48)),
		"data begins at byte 2147483648 of": ggufFile(3, [][]any{{alignmentKey, uint32(ggufUint32), uint32(1 << 31)}},
			[]rawTensor{{"a", []uint64{1}, 0, 0}}, 64),
		`tensor "a" occurs twice`:                                                  tensors(64, rawTensor{"a", []uint64{1}, 0, 0}, rawTensor{"a", []uint64{1}, 0, 32}),
		`tensor "a": 5 dimensions, want at most 4`:                                 tensors(64, rawTensor{"a", []uint64{1, 1, 1, 1, 1}, 0, 0}),
		`tensor "a": a dimension of 18446744073709551615`:                          tensors(64, rawTensor{"a", []uint64{1<<64 - 1}, 0, 0}),
		`tensor "a": shape [1099511627776 1099511627776]`:                          tensors(64, rawTensor{"a", []uint64{1 << 40, 1 << 40}, 0, 0}),
		`tensor "a": ggml type 4 is not known`:                                     tensors(64, rawTensor{"a", []uint64{32}, 4, 0}),
		`tensor "a": rows of 48 elements are no whole number of Q4_1 blocks of 32`: tensors(64, rawTensor{"a", []uint64{48, 2}, 3, 0}),
		`tensor "a": rows of 1 elements are no whole number of Q4_K blocks`:        tensors(64, rawTensor{"a", nil, 12, 0}),
		`tensor "a": offset 8 is not a multiple of 32`:                             tensors(64, rawTensor{"a", []uint64{1}, 0, 8}),
		`tensor "a": 68 bytes at offset 0 of 64 bytes of data`:                     tensors(64, rawTensor{"a", []uint64{17}, 0, 0}),
		`tensor "a": 40 bytes at offset 32 of 64 bytes of data`:                    tensors(64, rawTensor{"a", []uint64{32, 2}, 3, 32}),
		`tensor "b": 4 bytes at offset 18446744073709551584 of 64 bytes of data`:   tensors(64, rawTensor{"b", []uint64{1}, 0, 1<<64 - 32}),
		`tensor "b": 562949953421312 bytes at offset 0 of 64 bytes`:                tensors(64, rawTensor{"b", []uint64{1 << 23, 1 << 23}, 27, 0}),
		`tensors "a" and "b" share bytes`:                                          tensors(96, rawTensor{"b", []uint64{9}, 0, 32}, rawTensor{"a", []uint64{9}, 0, 0}),
		`tensor 0 of 1: 200 bytes wanted`:                                          append(head(3, 1, 0), ggufBytes(uint64(200), uint64(0), uint64(0))...),
		`tensor "": 8 bytes wanted`:                                                append(head(3, 1, 0), ggufBytes(uint64(0), uint32(2), uint64(1), uint32(0))...),
	}
}

func TestGGUFRefuses(t *testing.T) {
	for want, p := range brokenGGUF() {
		if _, err := parseGGUF("test", p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := OpenGGUF(filepath.Join(t.TempDir(), "absent.gguf")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// TestGGUFForms reads what is unusual and right: version 2, no tensors and no padding, empty and scalar tensors, an
// empty array, zero alignment bytes.
func TestGGUFForms(t *testing.T) {
	p := ggufFile(2, [][]any{{"e", uint32(ggufArray), uint32(ggufString), uint64(0)}},
		[]rawTensor{{"scalar", nil, 0, 0}, {"empty", []uint64{32, 0}, 3, 32}, {"vector", []uint64{3}, 1, 32}}, 38)
	g, err := parseGGUF("test", p)
	if err != nil {
		t.Fatal(err)
	}
	if g.Version() != 2 || len(g.Tensors()) != 3 {
		t.Errorf("version %d, %v", g.Version(), g.Tensors())
	}
	for name, n := range map[string]int{"scalar": 1, "empty": 0, "vector": 3} {
		if got := readAll(t, g, name); len(got) != n {
			t.Errorf("%s = %v", name, got)
		}
	}
	if v, err := g.Meta().Strings("e"); err != nil || len(v) != 0 {
		t.Errorf("%v, %v", v, err)
	}
	bare := append([]byte("GGUF"), ggufBytes(uint32(3), uint64(0), uint64(1), "k", uint32(ggufUint8), uint8(1))...)
	if g, err := parseGGUF("test", bare); err != nil || !g.Meta().Has("k") {
		t.Errorf("a vocabulary without padding: %v", err)
	}
}

// TestGGUFTruncated cuts a file at every length: always an error, until only the padding of the last tensor is missing.
func TestGGUFTruncated(t *testing.T) {
	whole, err := os.ReadFile(filepath.Join("testdata", "gguf", "llama.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) - defaultAlign {
		if _, err := parseGGUF("test", whole[:n]); err == nil {
			t.Fatalf("cut to %d of %d bytes: no error", n, len(whole))
		}
	}
}

func FuzzGGUF(f *testing.F) {
	files, _ := filepath.Glob("testdata/gguf/*.gguf")
	for _, name := range files {
		p, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p)
	}
	for _, p := range brokenGGUF() {
		if len(p) < 1<<12 {
			f.Add(p)
		}
	}
	read := func(t *testing.T, s Source) {
		for _, info := range s.Tensors() {
			n := info.Len()
			part := make([]float32, min(n, 300))
			err := s.Read(info.Name, 0, part)
			if e := s.Read(info.Name, n-len(part), part); (e == nil) != (err == nil) {
				t.Errorf("%v: %v at the beginning, %v at the end", info, err, e)
			}
		}
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		g, err := parseGGUF("fuzz", p)
		if err != nil {
			return
		}
		m := g.Meta()
		for _, key := range m.Keys() {
			if m.typeOf(key) == "a " {
				t.Errorf("key %q has no type", key)
			}
			m.Int(key)
			m.Ints(key)
			m.Floats(key)
		}
		read(t, g)
		if v, err := g.HuggingFace(); err == nil {
			read(t, v)
		}
	})
}
