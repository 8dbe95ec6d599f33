package text

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sower/internal/golden"
)

// goldenFile is the form of testdata/golden-*.json, which testdata/make_golden.py writes.
type goldenFile struct {
	Strings, Seed int
	IDs           map[string][]string
	Decoded       map[string]string
}

// compareGolden compares the ids of all random strings. encode gets an empty slice.
func compareGolden(t *testing.T, what, name string, g *goldenFile, encode func(string) []int32, decode func([]int32) string) {
	t.Helper()
	want, ok := g.IDs[name]
	if !ok {
		t.Fatalf("golden-%s.json has no %q", what, name)
	}
	var full struct {
		IDs     [][]int32
		Decoded []string
	}
	if dir := os.Getenv("SOWER_TEXT_FULL"); dir != "" {
		if p, err := os.ReadFile(filepath.Join(dir, what+"-"+name+".json")); err == nil {
			if err := json.Unmarshal(p, &full); err != nil {
				t.Fatal(err)
			}
		}
	}
	decoded := sha256.New()
	shown := 0
	for block := range g.Strings / 100 {
		h := sha256.New()
		for i := range 100 {
			k := block*100 + i
			s := randomText(g.Seed, k)
			ids := encode(s)
			if i > 0 {
				h.Write([]byte("\n"))
			}
			for j, id := range ids {
				if j > 0 {
					h.Write([]byte(" "))
				}
				h.Write(strconv.AppendInt(nil, int64(id), 10))
			}
			if decode != nil {
				if k > 0 {
					decoded.Write([]byte("\n"))
				}
				text := decode(ids)
				decoded.Write([]byte(text))
				if full.Decoded != nil && text != full.Decoded[k] && shown < 6 {
					shown++
					t.Errorf("%s: decode %v\n got %q\nwant %q", name, ids, text, full.Decoded[k])
				}
			}
			if full.IDs != nil && !slices.Equal(ids, full.IDs[k]) && shown < 6 {
				shown++
				t.Errorf("%s: %q\n got %v\nwant %v", name, s, ids, full.IDs[k])
			}
		}
		if got := hex.EncodeToString(h.Sum(nil))[:16]; got != want[block] {
			t.Errorf("%s: strings %d to %d: ids differ", name, block*100, block*100+99)
		}
	}
	if decode != nil && hex.EncodeToString(decoded.Sum(nil)) != g.Decoded[name] {
		t.Errorf("%s: decoded text differs", name)
	}
}

func readGolden(t *testing.T, what string) *goldenFile {
	var g goldenFile
	readJSON(t, filepath.Join("testdata", "golden-"+what+".json"), &g)
	return &g
}

func encodeOf(tok Tokenizer) func(string) []int32 {
	return func(s string) []int32 { return tok.Encode(nil, s) }
}

func TestGoldenTokenizerJSON(t *testing.T) {
	g := readGolden(t, "json")
	for name := range g.IDs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := open(t, filepath.Join("testdata", "json", name), "")
			decode := l.Decode
			if g.Decoded[name] == "" {
				decode = nil
			}
			compareGolden(t, "json", name, g, encodeOf(l), decode)
		})
	}
}

func TestGoldenSentencePiece(t *testing.T) {
	g := readGolden(t, "sp")
	for name := range g.IDs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := open(t, filepath.Join("testdata", "sp", name), "").Tokenizer.(*chain)
			compareGolden(t, "sp", name, g, func(s string) []int32 {
				for _, n := range c.norm {
					s = n.apply(s)
				}
				if s == "" {
					return nil
				}
				return c.model.encode(nil, s)
			}, nil)
		})
	}
}

// TestGoldenPublished compares rules seed with the version of transformers that the published system used.
func TestGoldenPublished(t *testing.T) {
	root := golden.Fixtures(t, "tokenizers")
	g := readGolden(t, "old")
	for name := range g.IDs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := open(t, filepath.Join(root, name), "seed")
			compareGolden(t, "old", name, g, func(s string) []int32 {
				if name == "bert-wordpiece" { // see make_golden.py
					s = strings.Map(func(r rune) rune {
						if r >= 0x10000 || r == 0xCF3 || r == 0xECE {
							return -1
						}
						return r
					}, s)
				}
				return l.Encode(nil, s)
			}, nil)
		})
	}
}
