package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sower/internal/blob"
	"sower/internal/corpus"
	"sower/internal/shards/shardtest"
	"sower/schemas"
)

// asMain makes the test binary behave as the program, for tests that need a process of its own.
const asMain = "SOWER_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
		return
	}
	initBeam()
	os.Exit(m.Run())
}

// sower runs a command line in this process.
func sower(t testing.TB, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(context.Background(), args, &out, &errs)
	return out.String(), errs.String(), code
}

// must runs a command line that has to succeed.
func must(t testing.TB, args ...string) string {
	t.Helper()
	stdout, stderr, code := sower(t, args...)
	if code != exitOK {
		t.Fatalf("sower %s: exit code %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// process is a command line in a process of its own.
func process(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asMain+"=1")
	return cmd
}

// writeFile puts bytes below dir.
func writeFile(t testing.TB, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// pictures writes tars of small good JPEGs and returns their folder.
func pictures(t testing.TB, tars, perTar int) string {
	t.Helper()
	dir := t.TempDir()
	for i := range tars {
		var samples []shardtest.Sample
		for j := range perTar {
			n := i*perTar + j
			samples = append(samples, shardtest.Captioned(fmt.Sprintf("%05d%04d", i, j), shardtest.JPEG(20+n%13, 16+n%7, uint32(n)), fmt.Sprintf("picture %d", n)))
		}
		writeFile(t, dir, fmt.Sprintf("%05d.tar", i), shardtest.Tar(samples...))
	}
	return dir
}

// hashes gives the SHA-256 of every file of a corpus except the manifest, by relative name.
func hashes(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == schemas.ManifestName {
			return err
		}
		p, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(p)
		rel, _ := filepath.Rel(dir, path)
		out[filepath.ToSlash(rel)] = hex.EncodeToString(sum[:])
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// same compares two corpora byte for byte.
func same(t testing.TB, what string, got, want map[string]string) {
	t.Helper()
	for name, sum := range want {
		if got[name] != sum {
			t.Errorf("%s: %s differs", what, name)
		}
	}
	for name := range got {
		if want[name] == "" {
			t.Errorf("%s: %s is extra", what, name)
		}
	}
}

// readAll reads both tables of a corpus.
func readAll(t testing.TB, dir string) (rows []schemas.CodeRow, rejects []schemas.RejectRow) {
	t.Helper()
	ctx := context.Background()
	b, err := blob.OpenBucket(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, folder := range []string{"data", "rejects"} {
		parts, err := corpus.Parts(ctx, b, folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range parts {
			if folder == "data" {
				err = corpus.Read(ctx, b, p.Name, func(r schemas.CodeRow) error { rows = append(rows, r); return nil })
			} else {
				err = corpus.Read(ctx, b, p.Name, func(r schemas.RejectRow) error { rejects = append(rejects, r); return nil })
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return rows, rejects
}

// manifest reads a corpus's manifest.
func readManifest(t testing.TB, dir string) *schemas.Manifest {
	t.Helper()
	p, err := os.ReadFile(filepath.Join(dir, schemas.ManifestName))
	if err != nil {
		t.Fatal(err)
	}
	m, err := schemas.ParseManifest(p)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func decodeJSON(t testing.TB, text string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return v
}

// TestCommits asks once a minute, and keeps what it knew where nobody answers.
func TestCommits(t *testing.T) {
	asked, n, err := 0, 3, error(nil)
	progress := commits(func() (int, error) { asked++; return n, err })
	for range 5 {
		if got := progress(); got != 3 {
			t.Errorf("%d rounds, want 3", got)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times in a moment", asked)
	}
	err = errors.New("away")
	if got := commits(func() (int, error) { return 7, err })(); got != 0 {
		t.Errorf("%d rounds where nobody answers", got)
	}
}
