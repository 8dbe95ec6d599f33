package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fsouza/fake-gcs-server/fakestorage"

	"sower/internal/blob"
	_ "sower/internal/blob/all"
	"sower/internal/blob/faulttest"
	"sower/internal/blob/gcstest"
)

// TestMain lets the test's own binary be one of several processes that want the same files.
func TestMain(m *testing.M) {
	if arg := os.Getenv("SOWER_TEST_FETCH"); arg != "" {
		p, err := Local(arg, nil)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(p)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// start makes a cache for one test and a bucket with files in it.
func start(t *testing.T, files map[string][]byte) (*gcstest.Server, *blob.Bucket) {
	t.Helper()
	s := gcstest.New(t, "b")
	t.Setenv(FolderVariable, filepath.Join(t.TempDir(), "cache"))
	t.Cleanup(release)
	b, err := blob.OpenBucket(t.Context(), "gs://b")
	if err != nil {
		t.Fatal(err)
	}
	for n, p := range files {
		if err := b.WriteAll(t.Context(), n, p); err != nil {
			t.Fatal(err)
		}
	}
	s.Reset()
	return s, b
}

// release gives up the entries in use, as the end of the process does.
func release() {
	inUse.Lock()
	defer inUse.Unlock()
	for _, f := range inUse.by {
		f.Close()
	}
	inUse.by = nil
}

func content(seed byte, n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

func get(t *testing.T, arg string, choose Choice) string {
	t.Helper()
	p, err := Local(arg, choose)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func names(t *testing.T, dir string) string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range list {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func TestFoldersAndFiles(t *testing.T) {
	big := content(1, 40<<20)
	s, b := start(t, map[string][]byte{"m/config.json": []byte("{}"), "m/model.safetensors": big, "m/.hidden": nil, "m/rounds/1/x": nil, "m/pytorch_model.bin": nil,
		"m2/x": nil, "v.gguf": []byte("v"), "m/empty.txt": nil})
	dir := get(t, "gs://b/m/", Weights)
	if got, want := names(t, dir), "config.json empty.txt model.safetensors"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if p, err := os.ReadFile(filepath.Join(dir, "model.safetensors")); err != nil || !bytes.Equal(p, big) {
		t.Errorf("%d bytes, %v", len(p), err)
	}
	s.Reset()
	if again := get(t, "gs://b/m", Weights); again != dir {
		t.Errorf("the second time %s, the first %s", again, dir)
	}
	if c := s.Counts(); c.A > 1 || c.B > 1 {
		t.Errorf("%+v: asked for more than what is there", c)
	}
	file := get(t, "gs://b/v.gguf", nil)
	if p, err := os.ReadFile(file); string(p) != "v" || err != nil || filepath.Base(file) != "v.gguf" {
		t.Errorf("%s: %q, %v", file, p, err)
	}
	if err := b.WriteAll(t.Context(), "m/config.json", []byte("{1}")); err != nil {
		t.Fatal(err)
	}
	if other := get(t, "gs://b/m", Weights); other == dir {
		t.Error("a folder that changed has the entry of the old one")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("the entry in use is gone: %v", err)
	}
	for _, arg := range []string{"gs://b/nope", "gs://b/nope/", "gs://b/v.gguf/x", "gs://b/m/rounds"} {
		if _, err := Local(arg, nil); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %v, want fs.ErrNotExist", arg, err)
		}
	}
}

func TestPathsStay(t *testing.T) {
	for arg, want := range map[string]string{"weights/": "weights/", "/a/b.gguf": "/a/b.gguf", "standin:tiny:0": "standin:tiny:0", "bytes": "bytes", "": "", "file:///a/b": "/a/b"} {
		if got, err := Local(arg, nil); got != want || err != nil || Remote(arg) {
			t.Errorf("%q: got %q, %v, remote %v", arg, got, err, Remote(arg))
		}
	}
	if _, err := Local("ftp://host/x", nil); !errors.Is(err, blob.ErrUnknownScheme) {
		t.Errorf("got %v, want ErrUnknownScheme", err)
	}
}

func TestChoices(t *testing.T) {
	hf := strings.Fields("config.json generation_config.json merges.txt model-00001-of-00002.safetensors model-00002-of-00002.safetensors model.safetensors.index.json " +
		"pytorch_model-00001-of-00002.bin pytorch_model.bin.index.json tokenizer.json vocab.json tf_model.h5 flax_model.msgpack m.gguf")
	published := strings.Fields("seed_quantizer.pt eva_vit_g.pth README.md")
	for _, c := range []struct {
		choose Choice
		names  []string
		want   string
	}{
		{Weights, hf, "config.json generation_config.json merges.txt model-00001-of-00002.safetensors model-00002-of-00002.safetensors model.safetensors.index.json pytorch_model.bin.index.json tokenizer.json vocab.json m.gguf"},
		{Vocabulary, hf, "config.json generation_config.json merges.txt model.safetensors.index.json pytorch_model.bin.index.json tokenizer.json vocab.json"},
		{Weights, published, "seed_quantizer.pt eva_vit_g.pth"},
		{Vocabulary, []string{"m.gguf", "README.md"}, "m.gguf"},
		{Weights, []string{"00000.tar", "00001.tar"}, ""},
	} {
		before := slices.Clone(c.names)
		if got := strings.Join(c.choose(c.names), " "); got != c.want {
			t.Errorf("got %s\nwant %s", got, c.want)
		}
		if !slices.Equal(before, c.names) {
			t.Error("the argument was changed")
		}
	}
}

// TestOneDownload lets goroutines and processes ask at once.
func TestOneDownload(t *testing.T) {
	s, _ := start(t, map[string][]byte{"m/a": content(1, 20<<20), "m/b": content(2, 100)})
	s.Inject(func(r *faulttest.Request) faulttest.Fault {
		if strings.HasSuffix(r.Object, "/a") {
			return faulttest.Slow(5*time.Millisecond, 10) // so that they meet
		}
		return nil
	})
	var wg sync.WaitGroup
	var mu sync.Mutex
	paths := map[string]int{}
	for range 4 {
		wg.Go(func() {
			p, err := Local("gs://b/m", nil)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			paths[p]++
			mu.Unlock()
		})
		wg.Go(func() {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "SOWER_TEST_FETCH=gs://b/m")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v: %s", err, out)
			}
			mu.Lock()
			paths[strings.TrimSpace(string(out))]++
			mu.Unlock()
		})
	}
	wg.Wait()
	if len(paths) != 1 {
		t.Fatalf("paths %v, want one", paths)
	}
	for p := range paths {
		if got, err := os.ReadFile(filepath.Join(p, "a")); err != nil || !bytes.Equal(got, content(1, 20<<20)) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	// The file takes three requests; eight callers that each fetched it would take 24.
	if n := s.Counts().Injected; n > 6 {
		t.Errorf("%d requests for the file: it was fetched more than once", n)
	}
}

// TestKilled starts beside what a killed process left.
func TestKilled(t *testing.T) {
	start(t, map[string][]byte{"m/a": content(1, 1000)})
	w, err := look(t.Context(), "gs://b/m", nil)
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(os.Getenv(FolderVariable), part+w.key)
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{filepath.Join(left, "a"), filepath.Join(left, "old"), filepath.Join(os.Getenv(FolderVariable), w.key+lockExt)} {
		if err := os.WriteFile(f, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dir := get(t, "gs://b/m", nil)
	if p, err := os.ReadFile(filepath.Join(dir, "a")); err != nil || !bytes.Equal(p, content(1, 1000)) || names(t, dir) != "a" {
		t.Errorf("%d bytes, %v, files %s", len(p), err, names(t, dir))
	}
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was left is there still: %v", err)
	}
}

// TestLimit deletes what was used longest ago, but nothing that is in use.
func TestLimit(t *testing.T) {
	files := map[string][]byte{}
	for i := range 5 {
		files[fmt.Sprintf("%d/x", i)] = content(byte(i), 1<<20)
	}
	start(t, files)
	t.Setenv(SizeVariable, "3M")
	paths := make([]string, 5)
	fetch := func(i int) { paths[i] = get(t, fmt.Sprintf("gs://b/%d", i), nil) }
	there := func() (s string) {
		for i, p := range paths {
			if p != "" && exists(p) {
				s += fmt.Sprint(i)
			}
		}
		return s
	}
	for i := range 4 {
		fetch(i)
		time.Sleep(10 * time.Millisecond)
	}
	if got := there(); got != "0123" {
		t.Errorf("all in use: %s are there", got)
	}
	release()
	fetch(0) // used again
	release()
	fetch(4)
	if got := there(); got != "034" {
		t.Errorf("with room for three: %s are there, want 034", got)
	}
	if _, err := os.ReadFile(filepath.Join(paths[4], "x")); err != nil {
		t.Error(err)
	}
	fetch(1)
	if got := there(); got != "014" {
		t.Errorf("with 4 in use: %s are there, want 014", got)
	}
}

func TestFaults(t *testing.T) {
	s, _ := start(t, map[string][]byte{"m/a": content(1, 50<<20), "m/b": content(2, 3<<20), "m/c": content(3, 10)})
	s.Inject(faulttest.Mixed(3, 3))
	before := blob.Trouble()
	dir := get(t, "gs://b/m", nil)
	for name, want := range map[string][]byte{"a": content(1, 50<<20), "b": content(2, 3<<20), "c": content(3, 10)} {
		if p, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(p, want) {
			t.Errorf("%s: %d bytes, %v", name, len(p), err)
		}
	}
	if got := blob.Trouble().Sub(before); got.Retries == 0 {
		t.Errorf("%+v: no faults befell", got)
	}
}

// TestNothingHalf leaves nothing behind a download that fails.
func TestNothingHalf(t *testing.T) {
	s, b := start(t, map[string][]byte{"m/a": content(1, 20<<20)})
	n := 0
	media := func(r *faulttest.Request) bool { return r.Object != "" && r.URL.Query().Get("alt") == "media" }
	s.Inject(func(r *faulttest.Request) faulttest.Fault {
		if media(r) {
			if n++; n == 2 {
				return faulttest.Corrupt
			}
		}
		return nil
	})
	empty := func(what string) {
		t.Helper()
		list, err := os.ReadDir(os.Getenv(FolderVariable))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			if e.IsDir() {
				t.Errorf("%s: %s is there", what, e.Name())
			}
		}
	}
	if _, err := Local("gs://b/m", nil); err == nil || !strings.Contains(err.Error(), "CRC-32C") {
		t.Errorf("a wrong bit: got %v", err)
	}
	empty("a wrong bit")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	Setup(ctx, nil)
	t.Cleanup(func() { Setup(context.Background(), nil) })
	s.Inject(func(r *faulttest.Request) faulttest.Fault {
		if media(r) {
			cancel()
		}
		return nil
	})
	if _, err := Local("gs://b/m", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: got %v", err)
	}
	empty("interrupted")
	Setup(t.Context(), nil)
	// Replaced while it is fetched: the new one comes.
	var once sync.Once
	s.Inject(func(r *faulttest.Request) faulttest.Fault {
		if media(r) {
			once.Do(func() {
				go func() {
					s.Fake.CreateObject(fakestorage.Object{ObjectAttrs: fakestorage.ObjectAttrs{BucketName: "b", Name: "m/a"}, Content: content(9, 18<<20)})
				}()
				time.Sleep(200 * time.Millisecond)
			})
		}
		return nil
	})
	dir := get(t, "gs://b/m", nil)
	if p, err := os.ReadFile(filepath.Join(dir, "a")); err != nil || !bytes.Equal(p, content(9, 18<<20)) {
		t.Errorf("replaced: %d bytes, %v", len(p), err)
	}
	_ = b
}

func TestUnsafeNames(t *testing.T) {
	s, _ := start(t, nil)
	for _, name := range []string{"..", `x\y`, "a\x01/../b"} {
		s.Fake.CreateObject(fakestorage.Object{ObjectAttrs: fakestorage.ObjectAttrs{BucketName: "b", Name: "m/" + name}, Content: []byte("x")})
		if p, err := Local("gs://b/m", nil); err == nil && names(t, p) != "" {
			t.Errorf("%q: got %s", name, p)
		}
	}
	if got := names(t, os.Getenv(FolderVariable)); got != "" {
		t.Errorf("the cache has %s", got)
	}
}

func TestFullDisk(t *testing.T) {
	t.Setenv(FolderVariable, t.TempDir())
	c, err := openCache()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.makeRoom(1 << 60); err == nil || !strings.Contains(err.Error(), FolderVariable) {
		t.Errorf("got %v", err)
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "17": 17, "3K": 3 << 10, "3m": 3 << 20, "64G": 64 << 30, "2TiB": 2 << 40, "5 GB": 5 << 30, "1kb": 1 << 10} {
		if n, err := parseSize(text); n != want || err != nil {
			t.Errorf("%q: got %d, %v, want %d", text, n, err, want)
		}
	}
	for _, text := range []string{"", "G", "-1", "1.5G", "9999999999T", "x"} {
		if n, err := parseSize(text); err == nil {
			t.Errorf("%q: got %d, want an error", text, n)
		}
	}
	t.Setenv(SizeVariable, "much")
	if _, err := openCache(); err == nil || !strings.Contains(err.Error(), SizeVariable) {
		t.Errorf("got %v", err)
	}
}
