package blob_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sower/internal/blob"
	_ "sower/internal/blob/all"
)

func TestOpenBucket(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	for _, url := range []string{dir, "file://" + dir, dir + "/"} {
		b, err := blob.OpenBucket(ctx, url)
		if err != nil {
			t.Fatalf("%s: %v", url, err)
		}
		if err := b.WriteAll(ctx, "a/b", []byte(url)); err != nil {
			t.Errorf("%s: %v", url, err)
		}
		if p, err := os.ReadFile(filepath.Join(dir, "a", "b")); string(p) != url || err != nil {
			t.Errorf("%s: got %q, %v", url, p, err)
		}
		if b.URL() != url {
			t.Errorf("URL: got %s, want %s", b.URL(), url)
		}
	}
	for _, url := range []string{"ftp://host/x", "Hdfs://host"} {
		_, err := blob.OpenBucket(ctx, url)
		if !errors.Is(err, blob.ErrUnknownScheme) || !strings.Contains(err.Error(), "have: file, gs, mem, s3") {
			t.Errorf("%s: got %v, want the known schemes", url, err)
		}
	}
	if _, err := blob.OpenBucket(ctx, ""); err == nil {
		t.Error("empty url: got no error")
	}
}

func TestRegisterTwicePanics(t *testing.T) {
	defer func() {
		if r := recover(); r == nil || !strings.Contains(r.(string), "file") {
			t.Errorf("got %v, want a panic that names the scheme", r)
		}
	}()
	blob.Register("file", nil)
}

func TestJoin(t *testing.T) {
	for _, c := range [][3]string{{"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"", "b", "b"}, {"mem://x", "b/c", "mem://x/b/c"}} {
		if got := blob.Join(c[0], c[1]); got != c[2] {
			t.Errorf("Join(%q, %q): got %q, want %q", c[0], c[1], got, c[2])
		}
	}
}
