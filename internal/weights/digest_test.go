package weights

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sower/internal/blob"
	_ "sower/internal/blob/fileblob"
)

// TestDigestIsRemembered holds the cache to what it promises: the same files are not read again, others are.
func TestDigestIsRemembered(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("HOME", cache)
	defer func(d time.Duration) { grain = d }(grain)
	dir := t.TempDir()
	convert := func(arg string) {
		t.Helper()
		m, err := Open(arg)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		out, err := blob.OpenBucket(context.Background(), dir)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		if _, err := m.Convert(context.Background(), out, ""); err != nil {
			t.Fatal(err)
		}
	}
	digest := func() string {
		t.Helper()
		digests.Clear() // as another process
		m, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		d, err := m.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	files := func() []string {
		t.Helper()
		var list []string
		if err := filepath.WalkDir(cache, func(path string, e os.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				list = append(list, path)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return list
	}

	convert("standin:tiny:0")
	first := digest()
	if got := files(); len(got) != 0 {
		t.Errorf("the digest of files that were written just now is remembered: %v", got)
	}
	grain = -time.Hour
	if got := digest(); got != first || len(files()) != 1 {
		t.Fatalf("digest %s, files %v, want %s and one", got, files(), first)
	}
	const other = "00000000000000000000000000000000000000000000000000000000000000ff"
	if err := os.WriteFile(files()[0], []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := digest(); got != other {
		t.Error("a remembered digest was not used")
	}
	for _, damage := range []string{"", "00ff", "no digest"} {
		if err := os.WriteFile(files()[0], []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := digest(); got != first {
			t.Errorf("with %q in the cache the digest is %s, want %s", damage, got, first)
		}
	}
	convert("standin:tiny:1")
	if got := digest(); got == first || got == other {
		t.Errorf("other weights under the same name have the digest of the first")
	}
}
