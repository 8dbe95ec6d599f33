package text

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"sower/internal/golden"
)

// TestGGUF compares the embedded vocabularies, which gguf-py wrote, with the fixtures that they were made from: the same
// ids for every text without image tokens.
func TestGGUF(t *testing.T) {
	root := golden.Fixtures(t, "tokenizers")
	for _, c := range []struct{ file, rules, fixture, column string }{
		{"gpt2", "hf", "opt-bpe", "fast"},
		{"llama", "seed", "llama-bpe", "slow-4.30"},
		{"llama", "hf", "llama-bpe", "fast-legacy-true"},
		{"bert", "seed", "bert-wordpiece", "slow"},
		{"bert", "hf", "bert-wordpiece", "fast"},
	} {
		l := open(t, filepath.Join("testdata", "gguf", c.file+".gguf"), c.rules)
		var want expected
		readJSON(t, filepath.Join(root, c.fixture, "expected.json"), &want)
		n := 0
		for _, e := range want.Cases {
			if strings.Contains(e.Text, "img") && c.file != "bert" {
				continue
			}
			n++
			ids, decoded := e.in(c.column)
			if got := l.Encode(nil, e.Text); !slices.Equal(got, ids) {
				t.Errorf("%s: %q\n got %v\nwant %v", c.file, e.Text, got, ids)
			}
			if got := l.Decode(ids); got != decoded {
				t.Errorf("%s: decode %v\n got %q\nwant %q", c.file, ids, got, decoded)
			}
		}
		for _, e := range want.Special {
			ids, _ := e.in(c.column)
			if got := around(l.Vocab(), l.Encode(nil, e.Text)); !slices.Equal(got, ids) {
				t.Errorf("%s: special %q\n got %v\nwant %v", c.file, e.Text, got, ids)
			}
		}
		if n < 100 {
			t.Errorf("%s: %d texts", c.file, n)
		}
	}
}

// TestUnsupported: whatever a file asks for and is not there is an error that names it.
func TestUnsupported(t *testing.T) {
	part := func(old, new string) string {
		t.Helper()
		s := strings.Replace(smallJSON, old, new, 1)
		if s == smallJSON {
			t.Fatalf("%q is not in the file", old)
		}
		return s
	}
	for _, c := range []struct{ json, want string }{
		{part(`"type":"Prepend","prepend":"▁"`, `"type":"NFC"`), `normalizer "NFC" is not supported (have: Sequence, Prepend, Replace, BertNormalizer)`},
		{part(`{"String":" "}`, `{"Regex":"\\s+"}`), `regular expression "\\s+" is not supported`},
		{part(`"pre_tokenizer":null`, `"pre_tokenizer":{"type":"Whitespace"}`), `pre_tokenizer "Whitespace" is not supported`},
		{part(`"TemplateProcessing"`, `"Other"`), `post_processor "Other" is not supported`},
		{part(`"ByteFallback"`, `"CTC"`), `decoder "CTC" is not supported`},
		{part(`"BPE"`, `"WordLevel"`), `model: model "WordLevel" is not supported`},
		{part(`"dropout":null`, `"dropout":0.1`), "dropout 0.1"},
		{part(`"end_of_word_suffix":null`, `"end_of_word_suffix":"</w>"`), `end_of_word_suffix "</w>"`},
		{part(`"ignore_merges":false`, `"ignore_merges":false,"new_flag":true`), `unknown field "new_flag"`},
		{part(`"version":"1.0"`, `"version":"2.0"`), `version "2.0"`},
		{part(`"▁a":3`, `"▁a":300000`), "out of range"},
		{part(`"▁a":3`, `"▁b":3`), "merge 0"},
		{part(`"unk_token":"u"`, `"unk_token":"U"`), `unk_token "U"`},
	} {
		path := filepath.Join(t.TempDir(), "tokenizer.json")
		if err := os.WriteFile(path, []byte(c.json), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path, Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "text: tokenizer.json: ") {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
	for _, c := range []struct{ path, rules, want string }{
		{t.TempDir(), "", "no tokenizer found"},
		{filepath.Join(t.TempDir(), "no"), "", "no such file"},
		{"bytes.go", "", "not a tokenizer file"},
		{"testdata", "old", `rules "old" are not known (have: auto, hf, seed)`},
	} {
		if _, err := Open(c.path, Options{Rules: c.rules}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.path, err, c.want)
		}
	}
	l := open(t, filepath.Join("testdata", "sp", "unigram-rules.model"), "")
	if _, _, err := folderFiles(l); err == nil || !strings.Contains(err.Error(), "normalization table") {
		t.Errorf("normalization table: %v", err)
	}
}

// copyFixture copies some files of a fixture folder.
func copyFixture(t *testing.T, from string, names ...string) string {
	dir := t.TempDir()
	for _, name := range names {
		p, err := os.ReadFile(filepath.Join(from, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), p, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestWarnings(t *testing.T) {
	root := golden.Fixtures(t, "tokenizers")
	dir := copyFixture(t, filepath.Join(root, "llama-bpe"), "tokenizer.model", "added_tokens.json", "tokenizer_config.json", "special_tokens_map.json")
	l := open(t, dir, "")
	if l.Rules != "seed" || l.Kind != "tokenizer.model bpe" || len(l.Warnings) != 1 || !strings.Contains(l.Warnings[0], "514 added tokens are looked for after normalization") {
		t.Errorf("%s, %s, %q", l.Rules, l.Kind, l.Warnings)
	}
	if want := []string{"tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"}; !slices.Equal(l.Files, want) {
		t.Errorf("files %q, want %q", l.Files, want)
	}
	if l := open(t, filepath.Join(root, "llama-bpe"), ""); len(l.Warnings) != 0 {
		t.Errorf("%q", l.Warnings)
	}
	if l := open(t, filepath.Join("testdata", "json", "sp-bytes.json"), ""); len(l.Warnings) != 1 || !strings.Contains(l.Warnings[0], "looked for after normalization") {
		t.Errorf("%q", l.Warnings)
	}
	// The library does not ask what ids a file states.
	path := filepath.Join(t.TempDir(), "tokenizer.json")
	if err := os.WriteFile(path, []byte(strings.Replace(smallJSON, `"id":4`, `"id":9`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	l = open(t, path, "")
	if id, _ := l.ID("<s>"); id != 4 || len(l.Warnings) != 1 || !strings.Contains(l.Warnings[0], "has id 9 there") {
		t.Errorf("id %d, %q", id, l.Warnings)
	}
}

// TestDigest: the same behaviour has the same digest however the file is written; each change of behaviour another.
func TestDigest(t *testing.T) {
	root := golden.Fixtures(t, "tokenizers")
	seen := map[string]string{}
	for _, c := range [][2]string{{"bytes", ""}, {filepath.Join(root, "opt-bpe"), "hf"}, {filepath.Join(root, "opt-bpe"), "seed"}, {filepath.Join(root, "llama-bpe"), "hf"}, {filepath.Join(root, "llama-bpe"), "seed"},
		{filepath.Join(root, "llama-bpe", "tokenizer-legacy.json"), "hf"}, {filepath.Join(root, "llama-bpe", "tokenizer.model"), "hf"}, {filepath.Join(root, "bert-wordpiece"), "hf"}, {filepath.Join(root, "bert-wordpiece"), "seed"}} {
		name := c[0] + " " + c[1]
		d := open(t, c[0], c[1]).Vocab().Digest
		if other, ok := seen[d]; ok || len(d) != 64 {
			t.Errorf("%s has the digest of %s", name, other)
		}
		seen[d] = name
		if again := open(t, c[0], c[1]).Vocab().Digest; again != d {
			t.Errorf("%s: two digests", name)
		}
	}
	var doc any
	if err := json.Unmarshal([]byte(smallJSON), &doc); err != nil {
		t.Fatal(err)
	}
	pretty, _ := json.MarshalIndent(doc, "", " ")
	digest := func(p []byte) string {
		s, _, err := parseTokenizerJSON(p, nil)
		if err != nil {
			t.Fatal(err)
		}
		c, err := build(s)
		if err != nil {
			t.Fatal(err)
		}
		return c.vocab.Digest
	}
	if digest(pretty) != digest([]byte(smallJSON)) {
		t.Error("the digest depends on how the file is written")
	}
}

// TestConcurrent is for the race detector; the ids must not depend on who asks.
func TestConcurrent(t *testing.T) {
	root := golden.Fixtures(t, "tokenizers")
	for _, l := range []*Loaded{open(t, filepath.Join(root, "opt-bpe"), ""), open(t, filepath.Join(root, "llama-bpe"), "seed"), open(t, filepath.Join(root, "bert-wordpiece"), ""), open(t, filepath.Join("testdata", "sp", "unigram-user.model"), ""), open(t, filepath.Join("testdata", "sp", "bpe-user.model"), "")} {
		var want [][]int32
		for i := range 300 {
			want = append(want, l.Encode(nil, randomText(5, i)))
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for i := range want {
					if got := l.Encode(nil, randomText(5, i)); !slices.Equal(got, want[i]) {
						t.Errorf("%q: %v, then %v", randomText(5, i), want[i], got)
					}
				}
			})
		}
		wg.Wait()
	}
}

// TestLongText: time grows with length about as n log n, not n².
func TestLongText(t *testing.T) {
	root := golden.Fixtures(t, "tokenizers")
	long := strings.Repeat("a", 1<<20)
	for _, l := range []*Loaded{open(t, filepath.Join(root, "opt-bpe"), ""), open(t, filepath.Join(root, "llama-bpe"), "seed"), open(t, filepath.Join(root, "bert-wordpiece"), ""), open(t, filepath.Join("testdata", "sp", "unigram-user.model"), "")} {
		for _, s := range []string{long, strings.Repeat(" ", 1<<20), strings.Repeat("<img", 1<<18), strings.Repeat("猫", 1<<18)} {
			l.Encode(nil, s)
		}
	}
}

func TestLossy(t *testing.T) {
	for s, want := range map[string]string{"a\xffb": "a\uFFFDb", "\xe2\x82": "\uFFFD", "\xed\xa0\x80": "\uFFFD\uFFFD\uFFFD", "\xc0\x80": "\uFFFD\uFFFD", "\xf0\x9f\x99a": "\uFFFDa", "\xf4\x90\x80\x80": "\uFFFD\uFFFD\uFFFD\uFFFD", "é\xc3": "é\uFFFD"} {
		if got := lossy(s); got != want {
			t.Errorf("%q: got %q, want %q", s, got, want)
		}
	}
}
