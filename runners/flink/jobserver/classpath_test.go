package jobserver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// jars writes some files and returns what they have to be pinned to.
func jars(t *testing.T, dir string, contents map[string]string) (int, string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	lines := ""
	for _, name := range []string{"a-1.jar", "b.jar", "b_c.jar"} {
		text, ok := contents[name]
		if !ok {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(text))
		lines += fmt.Sprintf("%x  %s\n", sum, name)
	}
	sum := sha256.Sum256([]byte(lines))
	return len(contents), hex.EncodeToString(sum[:])
}

func TestVerify(t *testing.T) {
	dir := t.TempDir()
	n, want := jars(t, dir, map[string]string{"a-1.jar": "x", "b.jar": "y", "b_c.jar": "z"})
	if err := verify(dir, n, want); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(dir string) error{
		"changed": func(dir string) error { return os.WriteFile(filepath.Join(dir, "b.jar"), []byte("Y"), 0o644) },
		"renamed": func(dir string) error { return os.Rename(filepath.Join(dir, "b.jar"), filepath.Join(dir, "bb.jar")) },
		"missing": func(dir string) error { return os.Remove(filepath.Join(dir, "b.jar")) },
		"extra":   func(dir string) error { return os.WriteFile(filepath.Join(dir, "c.jar"), nil, 0o644) },
	} {
		other := t.TempDir()
		if err := errors.Join(os.CopyFS(other, os.DirFS(dir)), change(other)); err != nil {
			t.Fatal(err)
		}
		if err := verify(other, n, want); err == nil || !strings.Contains(err.Error(), "delete the folder") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := Verify(t.TempDir()); !errors.Is(err, ErrNoLib) {
		t.Errorf("an empty folder: %v", err)
	}
}

// TestPinned checks the class path that tests on Flink use.
func TestPinned(t *testing.T) {
	dir := os.Getenv(LibVariable)
	if dir == "" {
		t.Skipf("%s does not name the class path of Flink (sower flink fetch)", LibVariable)
	}
	if err := Verify(dir); err != nil {
		t.Error(err)
	}
}

// maven is a program that does what Maven would.
func maven(t *testing.T, script string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mvn")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestFetch(t *testing.T) {
	n, want := jars(t, t.TempDir(), map[string]string{"a-1.jar": "x"})
	good := `for a; do case $a in -DoutputDirectory=*) d=${a#-DoutputDirectory=};; *pom.xml) grep -q beam-runners-flink "$a" || exit 9;; esac; done; mkdir -p "$d"; printf x > "$d/a-1.jar"`
	for _, c := range []struct {
		what, script, err string
	}{
		{"good", good, ""},
		{"another jar", strings.Replace(good, "printf x", "printf y", 1), "not what was pinned"},
		{"nothing", "exit 0", "not what was pinned"},
		{"good after a failure", `t=${0%/*}/tried; [ -e "$t" ] || { : > "$t"; exit 1; }; ` + good, ""},
		{"failure", "echo Could not resolve dependencies; exit 1", "Could not resolve dependencies"},
	} {
		dir := filepath.Join(t.TempDir(), "cache", "lib")
		err := fetch(context.Background(), dir, maven(t, c.script), n, want, io.Discard)
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v", c.what, err)
		}
		left, _ := os.ReadDir(filepath.Dir(dir))
		if names := fmt.Sprint(left); (err == nil) != strings.Contains(names, "lib") || strings.Contains(names, ".flink-") {
			t.Errorf("%s leaves %s", c.what, names)
		}
		if err == nil { // a second time nothing is fetched
			if err := fetch(context.Background(), dir, maven(t, "exit 1"), n, want, io.Discard); err != nil {
				t.Errorf("again: %v", err)
			}
		}
	}
	if err := fetch(context.Background(), t.TempDir(), "no-such-maven", n, want, io.Discard); err == nil || !strings.Contains(err.Error(), "apt-get install maven") {
		t.Errorf("no Maven: %v", err)
	}
}

// TestFetchHasALimit ends a Maven that hangs, with its children.
func TestFetchHasALimit(t *testing.T) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), 300*time.Millisecond, errors.New("no end within the limit"))
	defer cancel()
	began := time.Now()
	err := fetch(ctx, filepath.Join(t.TempDir(), "lib"), maven(t, "echo downloading; sleep 30 | cat"), 1, "", io.Discard)
	if err == nil || !strings.Contains(err.Error(), "no end within the limit") || !strings.Contains(err.Error(), "downloading") || time.Since(began) > 10*time.Second {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}

func TestLib(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", "/cache")
	t.Setenv(LibVariable, "")
	if dir, err := Lib(); err != nil || !strings.HasPrefix(dir, "/cache/sower/flink-") {
		t.Errorf("%s, %v", dir, err)
	}
	t.Setenv(LibVariable, "/some/lib")
	if dir, err := Lib(); err != nil || dir != "/some/lib" {
		t.Errorf("%s, %v", dir, err)
	}
}
