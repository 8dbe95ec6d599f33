package text

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sower/internal/golden"
)

// TestSmolLM2 reads the vocabulary of a published model. SOWER_SMOLLM2 names the file, which the fixture set says where to
// get.
func TestSmolLM2(t *testing.T) {
	path := os.Getenv("SOWER_SMOLLM2")
	if path == "" {
		t.Skip("SOWER_SMOLLM2 does not name the GGUF file of SmolLM2-135M-Instruct")
	}
	var want struct {
		SHA256           string
		Prompts, Strings []struct {
			Text, Decoded string
			IDs           []int32
		}
	}
	readJSON(t, filepath.Join(golden.Fixtures(t, "smollm2"), "expected.json"), &want)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want.SHA256 {
		t.Fatalf("SHA-256 %s, want %s", got, want.SHA256)
	}
	l := open(t, path, "hf")
	for _, e := range slices.Concat(want.Prompts, want.Strings) {
		if got := l.Encode(nil, e.Text); !slices.Equal(got, e.IDs) {
			t.Errorf("%q\n got %v\nwant %v", e.Text, got, e.IDs)
		}
		if got := l.Decode(e.IDs); e.Decoded != "" && got != e.Decoded {
			t.Errorf("decode: got %q, want %q", got, e.Decoded)
		}
	}
	if v := l.Vocab(); v.Size != 49152 || len(v.Prefix) != 0 {
		t.Errorf("%+v", v)
	}
	t.Logf("%d strings, %s", len(want.Prompts)+len(want.Strings), l.Kind)
}
