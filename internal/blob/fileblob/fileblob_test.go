package fileblob_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sower/internal/blob"
	"sower/internal/blob/drivertest"
	"sower/internal/blob/fileblob"
)

func openDir(t *testing.T, dir string) *blob.Bucket {
	t.Helper()
	b, err := fileblob.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestConformance(t *testing.T) {
	drivertest.Run(t, drivertest.Harness{Open: func(t *testing.T) *blob.Bucket { return openDir(t, t.TempDir()) }})
}

func TestConformanceOfMissingFolder(t *testing.T) {
	drivertest.Run(t, drivertest.Harness{Open: func(t *testing.T) *blob.Bucket {
		return openDir(t, filepath.Join(t.TempDir(), "not", "yet"))
	}})
}

func names(t *testing.T, b *blob.Bucket) []string {
	t.Helper()
	var all []string
	for i, err := range b.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, i.Name)
	}
	return all
}

func TestOddFiles(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	write := func(path string) {
		if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(dir, "file"))
	write(filepath.Join(outside, "far"))
	must(os.Mkdir(filepath.Join(dir, "sub"), 0o755))
	must(os.Mkdir(filepath.Join(dir, "empty"), 0o755))
	must(os.Symlink("../file", filepath.Join(dir, "sub", "link")))
	must(os.Symlink("..", filepath.Join(dir, "sub", "loop")))
	must(os.Symlink("self", filepath.Join(dir, "self")))
	must(os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	must(os.Symlink(outside, filepath.Join(dir, "out")))
	must(syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644))
	b := openDir(t, dir)
	if got, want := names(t, b), []string{"dangling", "file", "out/far", "self", "sub/link"}; !slices.Equal(got, want) {
		t.Errorf("list: got %q, want %q", got, want)
	}
	for _, n := range []string{"out/far", "sub/link"} {
		if p, err := b.ReadAll(t.Context(), n, 9); string(p) != "x" || err != nil {
			t.Errorf("read %s: got %q, %v", n, p, err)
		}
	}
	for _, n := range []string{"pipe", "dangling", "self", "sub", "empty"} {
		if _, err := b.Open(t.Context(), n); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("open %s: got %v, want fs.ErrNotExist", n, err)
		}
	}
	// Replacing a link leaves its target alone.
	if err := b.WriteAll(t.Context(), "sub/link", []byte("new")); err != nil {
		t.Fatal(err)
	}
	if p, _ := b.ReadAll(t.Context(), "file", 9); string(p) != "x" {
		t.Errorf("the link's target became %q", p)
	}
}

func TestTemporaryFiles(t *testing.T) {
	dir := t.TempDir()
	b := openDir(t, dir)
	w, err := b.Create(t.Context(), "data/part")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Join(dir, "data"))
	if err != nil || len(entries) != 1 || !strings.HasPrefix(entries[0].Name(), ".part.sower-tmp-") {
		t.Fatalf("beside the target: got %v, %v; want one .part.sower-tmp-*", entries, err)
	}
	if _, err := b.Create(t.Context(), "data/"+entries[0].Name()); err == nil {
		t.Error("create under a temporary file's name: got no error")
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	// Files of other programs stay, whatever they are called.
	for _, n := range []string{".part.tmp", "part.sower-tmp-x", ".part.swp"} {
		if err := os.WriteFile(filepath.Join(dir, "data", n), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := b.Sweep(t.Context(), ""); n != 0 || err != nil {
		t.Errorf("sweep: got %d, %v", n, err)
	}
	if got := len(names(t, b)); got != 4 {
		t.Errorf("%d objects, want 4", got)
	}
}

func TestModeFollowsUmask(t *testing.T) {
	old := syscall.Umask(0o027)
	defer syscall.Umask(old)
	dir := t.TempDir()
	if err := openDir(t, dir).WriteAll(t.Context(), "x", nil); err != nil {
		t.Fatal(err)
	}
	i, err := os.Stat(filepath.Join(dir, "x"))
	if err != nil || i.Mode().Perm() != 0o640 {
		t.Errorf("mode: got %v, %v; want 0640", i.Mode(), err)
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	b := openDir(t, "rel")
	t.Chdir("/")
	if err := b.WriteAll(t.Context(), "x", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "rel", "x")); err != nil {
		t.Errorf("a relative root moved with the working folder: %v", err)
	}
	if _, err := fileblob.Open(filepath.Join(dir, "rel", "x")); err == nil {
		t.Error("open of a file: got no error")
	}
	if _, err := fileblob.Open(""); err == nil {
		t.Error("open of no path: got no error")
	}
}

// TestHold lets one run at a time into a folder.
func TestHold(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "yet")
	one, two, below := openDir(t, dir), openDir(t, dir), openDir(t, filepath.Join(dir, "below"))
	hold := func(b *blob.Bucket) func() {
		t.Helper()
		release, err := b.Hold(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return release
	}
	release := hold(one)
	hold(below)()
	if _, err := two.Hold(t.Context()); !errors.Is(err, blob.ErrHeld) {
		t.Errorf("held by another: %v", err)
	}
	time.AfterFunc(200*time.Millisecond, release) // as a process that was killed lets go after a moment
	hold(two)()
	if left := names(t, one); len(left) > 0 {
		t.Errorf("holding wrote %v", left)
	}
}
