package text

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sower/internal/golden"
)

// expected is the form of expected.json in the fixture set "tokenizers".
type expected struct {
	Reference              string
	Cases, Special, Decode []expectedCase
	Bytes                  []struct {
		Hex, Text string
		IDs       []int32
	}
}

type expectedCase struct {
	Text    string
	IDs     []int32
	Decoded any
	Differs map[string]struct {
		IDs     *[]int32
		Decoded any
	}
}

// in returns what a column has for a case.
func (c expectedCase) in(column string) ([]int32, any) {
	ids, decoded := c.IDs, c.Decoded
	if d, ok := c.Differs[column]; ok {
		if d.IDs != nil {
			ids = *d.IDs
		}
		if d.Decoded != nil {
			decoded = d.Decoded
		}
	}
	return ids, decoded
}

func readJSON(t testing.TB, path string, into any) {
	t.Helper()
	p, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(p, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, path string, rules string) *Loaded {
	t.Helper()
	l, err := Open(path, Options{Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// around puts the tokenizer's own special tokens around ids.
func around(v Vocab, ids []int32) []int32 {
	return slices.Concat(v.Prefix, ids, v.Suffix)
}

func TestFixtures(t *testing.T) {
	root := golden.Fixtures(t, "tokenizers")
	for _, c := range []struct {
		path, rules, column string
		idsOnly             bool // the column's decoder is not this one's
	}{
		{"opt-bpe", "auto", "fast", false},
		{"opt-bpe", "hf", "fast", false},
		{"opt-bpe", "seed", "slow-4.30", false},
		{"llama-bpe", "seed", "slow-4.30", false},
		{"llama-bpe/tokenizer-legacy.json", "", "fast-legacy-true", false},
		{"llama-bpe/tokenizer.json", "", "fast-legacy-false", false},
		{"llama-bpe", "auto", "fast-legacy-false", false},
		{"bert-wordpiece", "seed", "slow", false},
		{"bert-wordpiece", "auto", "fast", false},
		{"bert-wordpiece/vocab.txt", "hf", "fast", false},
		{"bert-wordpiece/vocab.txt", "", "slow", false},
	} {
		t.Run(c.path+" "+c.rules, func(t *testing.T) {
			l := open(t, filepath.Join(root, c.path), c.rules)
			dir := filepath.Join(root, c.path)
			if filepath.Ext(dir) != "" {
				dir = filepath.Dir(dir)
			}
			var want expected
			readJSON(t, filepath.Join(dir, "expected.json"), &want)
			n := 0
			compare := func(kind string, e expectedCase, ids []int32) {
				wantIDs, decoded := e.in(c.column)
				if ids != nil && !slices.Equal(ids, wantIDs) {
					t.Errorf("%s %q\n got %v\nwant %v", kind, e.Text, ids, wantIDs)
				}
				if text, ok := decoded.(string); ok && !c.idsOnly {
					if got := l.Decode(wantIDs); got != text {
						t.Errorf("%s: decode %v\n got %q\nwant %q", kind, wantIDs, got, text)
					}
				}
				n++
			}
			for _, e := range want.Cases {
				compare("case", e, append([]int32{}, l.Encode(nil, e.Text)...))
			}
			for _, e := range want.Special {
				compare("special", e, append([]int32{}, around(l.Vocab(), l.Encode(nil, e.Text))...))
			}
			for _, e := range want.Decode {
				compare("decode", e, nil)
			}
			for _, b := range want.Bytes {
				raw, _ := hex.DecodeString(b.Hex)
				for _, s := range []string{string(raw), b.Text} {
					wantIDs := b.IDs
					if got := l.Encode(nil, s); c.column == want.Reference && !slices.Equal(got, wantIDs) {
						t.Errorf("bytes %s: got %v, want %v", b.Hex, got, wantIDs)
					}
				}
				n++
			}
			t.Logf("%s: %d strings, %s", c.column, n, l.Kind)
		})
	}
}

// TestSentencePieceBytes compares the model alone with the library on text that is not UTF-8.
func TestSentencePieceBytes(t *testing.T) {
	root := golden.Fixtures(t, "tokenizers")
	var want struct {
		Cases []struct {
			Hex string
			IDs []int32
		}
	}
	readJSON(t, filepath.Join(root, "llama-bpe", "sentencepiece.json"), &want)
	c := open(t, filepath.Join(root, "llama-bpe", "tokenizer.model"), "").Tokenizer.(*chain)
	for _, e := range want.Cases {
		raw, _ := hex.DecodeString(e.Hex)
		s := string(raw)
		for _, n := range c.norm {
			s = n.apply(s)
		}
		var got []int32
		if s != "" {
			got = c.model.encode(nil, s)
		}
		if !slices.Equal(got, e.IDs) {
			t.Errorf("%q\n got %v\nwant %v", raw, got, e.IDs)
		}
	}
}
