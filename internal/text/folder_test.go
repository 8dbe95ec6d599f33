package text

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sower/internal/blob"
	_ "sower/internal/blob/fileblob"
	"sower/internal/golden"
)

// folderCase is a tokenizer that is extended and written. differs says for which texts AutoTokenizer gives other ids than
// the tokenizer before it was written: the limits that WriteFolder warns of.
type folderCase struct {
	name, path, rules string
	codes             int
	differs           func(s string) bool
}

func folderCases(t *testing.T) []folderCase {
	root := golden.Fixtures(t, "tokenizers")
	separators := func(s string) bool { return strings.ContainsAny(s, "\x1c\x1d\x1e\x1f") }
	rare := func(s string) bool { // characters that Unicode or the library's tables have come to know late
		for _, r := range s {
			word := piece{"a" + string(r), true}
			slow, fast := bert{slow: true, clean: true, accents: true}, bert{clean: true, accents: true}
			if slow.apply(string(r)) != fast.apply(string(r)) || len((bertWords{slow: true}).split(nil, word)) != len((bertWords{}).split(nil, word)) {
				return true
			}
		}
		return separators(s)
	}
	list := []folderCase{
		{"bytes", "bytes", "", 16, nil},
		{"opt-hf", filepath.Join(root, "opt-bpe"), "hf", 512, nil},
		{"opt-hf-slow-files", filepath.Join(root, "opt-bpe", "vocab.json"), "hf", 16, nil},
		{"opt-seed", filepath.Join(root, "opt-bpe"), "seed", 512, separators},
		{"llama-seed", filepath.Join(root, "llama-bpe"), "seed", 512, separators},
		{"llama-seed-bare", filepath.Join(root, "llama-bpe", "tokenizer.model"), "seed", 16, separators},
		{"llama-hf-bare", filepath.Join(root, "llama-bpe", "tokenizer.model"), "hf", 16, nil},
		{"llama-json", filepath.Join(root, "llama-bpe"), "hf", 512, nil},
		{"llama-json-legacy", filepath.Join(root, "llama-bpe", "tokenizer-legacy.json"), "hf", 512, nil},
		{"bert-hf", filepath.Join(root, "bert-wordpiece"), "hf", 16, nil},
		{"bert-seed", filepath.Join(root, "bert-wordpiece"), "seed", 16, rare},
		{"gguf-gpt2", filepath.Join("testdata", "gguf", "gpt2.gguf"), "hf", 16, nil},
		{"gguf-llama", filepath.Join("testdata", "gguf", "llama.gguf"), "hf", 16, nil},
		{"gguf-bert", filepath.Join("testdata", "gguf", "bert.gguf"), "hf", 16, nil},
		{"sp-bpe-identity", filepath.Join("testdata", "sp", "bpe-identity.model"), "hf", 16, nil},
		{"sp-unigram-identity-bytes", filepath.Join("testdata", "sp", "unigram-identity-bytes.model"), "hf", 16, func(s string) bool { return strings.Contains(s, "<0x") || strings.Contains(s, "00") }},
	}
	files, err := filepath.Glob(filepath.Join("testdata", "json", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata/json", err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".json")
		list = append(list, folderCase{"json-" + name, f, "hf", 16, nil})
	}
	return list
}

// TestWriteFolders extends every tokenizer by image tokens, writes it, reads it back, and compares what is read with what
// AutoTokenizer reads. SOWER_TEXT_FOLDERS=DIR keeps the folders, from which make_golden.py makes golden-auto.json.
func TestWriteFolders(t *testing.T) {
	ctx := context.Background()
	dir := os.Getenv("SOWER_TEXT_FOLDERS")
	keep := dir != ""
	if !keep {
		dir = t.TempDir()
	}
	b, err := blob.OpenBucket(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var g goldenFile
	if !keep {
		g = *readGolden(t, "auto")
	}
	for _, c := range folderCases(t) {
		t.Run(c.name, func(t *testing.T) {
			l := open(t, c.path, c.rules)
			m, err := Extend(l, c.codes)
			if err != nil {
				if strings.Contains(err.Error(), "is missing") && strings.HasPrefix(c.name, "json-") {
					m, err = &Images{Tokenizer: l}, nil // its own added tokens hold a part of these
				} else {
					t.Fatal(err)
				}
			}
			warnings, err := WriteFolder(ctx, b, c.name, m)
			if err != nil {
				t.Fatal(err)
			}
			if c.differs != nil && len(warnings) == 0 {
				t.Error("no warning")
			}
			back := open(t, filepath.Join(dir, c.name), "")
			for _, w := range back.Warnings {
				if !strings.Contains(w, "after normalization") {
					t.Error(w)
				}
			}
			v, w := m.Vocab(), back.Vocab()
			if v.Size != w.Size || v.BOS != w.BOS || v.EOS != w.EOS || v.Pad != w.Pad || v.Unk != w.Unk || !slices.Equal(v.Prefix, w.Prefix) || !slices.Equal(v.Suffix, w.Suffix) {
				t.Errorf("read back: %+v, written %+v", w, v)
			}
			if keep {
				return
			}
			compareGolden(t, "auto", c.name, &g, encodeOf(back), nil)
			shown, skipped := 0, 0
			for i := range 6000 {
				s := randomText(1, i)
				if c.differs != nil && c.differs(s) {
					skipped++
					continue
				}
				if want, got := back.Encode(nil, s), m.Encode(nil, s); !slices.Equal(got, want) && shown < 3 {
					shown++
					t.Errorf("%q\n got       %v\nread back %v", s, got, want)
				}
			}
			if skipped > 3000 {
				t.Errorf("%d strings left out", skipped)
			}
		})
	}
}
