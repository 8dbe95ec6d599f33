package interleave

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sower/internal/blob"
	_ "sower/internal/blob/all"
)

// linesOf reads a file in ranges of n bytes.
func linesOf(t *testing.T, name string, content []byte, n int64) (got []string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := blob.OpenBucket(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for from := int64(0); from < int64(len(content)); from += n {
		err := readLines(context.Background(), b, name, "text", from, min(from+n, int64(len(content))), func(r Record, drop Drop) error {
			got = append(got, string(drop)+r.text()+"@"+r.Key)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return got
}

// TestLinesOfRanges: however a file is cut, every line is read once, with the same key.
func TestLinesOfRanges(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 12 {
		var content bytes.Buffer
		for range r.IntN(12) {
			content.WriteString(strings.Repeat("x", r.IntN(9)))
			content.WriteString([]string{"\n", "\r\n", "\n\n", " \n"}[r.IntN(4)])
		}
		content.WriteString(strings.Repeat("y", r.IntN(3))) // with and without an end
		want := linesOf(t, "a.txt", content.Bytes(), 1<<20)
		for n := int64(1); n < int64(content.Len())+2; n++ {
			if got := linesOf(t, "a.txt", content.Bytes(), n); !slices.Equal(got, want) {
				t.Fatalf("%q in ranges of %d: %q, want %q", content.String(), n, got, want)
			}
		}
		lines := 0
		for _, l := range strings.Split(content.String(), "\n") {
			if strings.TrimSpace(l) != "" {
				lines++
			}
		}
		if len(want) != lines {
			t.Fatalf("%q: %d records, want %d", content.String(), len(want), lines)
		}
	}
}

func TestLines(t *testing.T) {
	for _, c := range []struct{ name, content, want string }{
		{"a.txt", "\ufeffone\r\n\r\ntwo", "[one@a.txt:0 two@a.txt:10]"},
		{"a.jsonl", "\ufeff{\"text\":\"one\",\"id\":\"k\"}\n", "[one@k]"},
		{"a.txt", "\ufeff\nx\n", "[x@a.txt:4]"},
		{"a.txt", "\xff\nx\n", "[bad_text@a.txt:0 x@a.txt:2]"},
		{"a.jsonl", "{\"other\":1}\n[1]\n{\"text\":5}\n", "[no_text@a.jsonl:0 bad_text@a.jsonl:12 no_text@a.jsonl:16]"},
		{"a.txt", strings.Repeat("z", maxLine+1) + "\nx", fmt.Sprintf("[bad_text@a.txt:0 x@a.txt:%d]", maxLine+2)},
	} {
		if got := fmt.Sprint(linesOf(t, c.name, []byte(c.content), 1<<30)); got != c.want {
			t.Errorf("%.40q: %.200s, want %.200s", c.content, got, c.want)
		}
	}
}
