package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fsouza/fake-gcs-server/fakestorage"

	"sower/internal/blob"
	"sower/internal/blob/faulttest"
	"sower/internal/blob/gcstest"
	"sower/internal/blob/s3test"
	"sower/internal/golden"
	"sower/internal/shards/shardtest"
	"sower/schemas"
)

// upload puts a folder below a URL.
func upload(t testing.TB, dir, url string) {
	t.Helper()
	b, err := blob.OpenBucket(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		p, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		return b.WriteAll(context.Background(), filepath.ToSlash(rel), p)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// mirror brings what lies below a URL to a folder.
func mirror(t testing.TB, url string) string {
	t.Helper()
	b, err := blob.OpenBucket(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for i, err := range b.List(context.Background(), "") {
		if err != nil {
			t.Fatal(err)
		}
		p, err := b.ReadAll(context.Background(), i.Name, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, dir, i.Name, p)
	}
	return dir
}

// tables are the hashes of a corpus less its plan, which notes when the input was written and which generation it is.
func tables(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := hashes(t, dir)
	for name := range all {
		if !strings.HasPrefix(name, "data/") && !strings.HasPrefix(name, "rejects/") && !strings.HasPrefix(name, "documents/") && !strings.HasPrefix(name, "tokenizer/") {
			delete(all, name)
		}
	}
	return all
}

// TestObjectStore runs the chain with input, model, tokenizer and output in an object store that fails, and wants the bytes of
// a run on local files.
func TestObjectStore(t *testing.T) {
	s := gcstest.New(t, "bkt")
	t.Setenv("SOWER_CACHE", filepath.Join(t.TempDir(), "cache"))
	in, dir := pictures(t, 3, 30), t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	must(t, "model", "convert", tiny, path("tiny"))
	upload(t, in, "gs://bkt/in/shards")
	upload(t, path("tiny"), "gs://bkt/models/tiny")
	for i := range 20 { // beside the shards, not to be read
		s.Fake.CreateObject(fakestorage.Object{ObjectAttrs: fakestorage.ObjectAttrs{BucketName: "bkt", Name: fmt.Sprintf("in/shards/deep/%d.tar", i)}, Content: []byte("no tar")})
	}
	chain := func(in, model, out, train string) (text string) {
		text = must(t, "encode", "-q", "-i", in, "-o", out, "-m", model, "--unit-bytes", "16KiB")
		text += must(t, "interleave", "-q", "--codes", out, "-o", train, "--context", "160", "--pack", "--file-tokens", "2000")
		text += must(t, "validate", out)
		return text + must(t, "validate", train)
	}
	chain(filepath.Join(in, "*.tar"), path("tiny"), path("codes"), path("train"))

	t.Run("faults", func(t *testing.T) {
		s.Inject(faulttest.Mixed(11, 6))
		defer s.Inject(nil)
		s.Reset()
		text := chain("gs://bkt/in/shards/*.tar", "gs://bkt/models/tiny", "gs://bkt/codes", "gs://bkt/train/")
		counts := s.Counts()
		s.Inject(nil)
		for _, what := range []string{"codes", "train"} {
			got := mirror(t, "gs://bkt/"+what)
			same(t, what, tables(t, got), tables(t, path(what)))
			a, b := readManifest(t, got), readManifest(t, path(what))
			if a.Counts.In != b.Counts.In || a.Counts.Encoded != b.Counts.Encoded || a.Units != b.Units || len(a.Identity.Diff(b.Identity)) > 0 {
				t.Errorf("%s: %+v, %v; want %+v", what, a.Counts, a.Identity.Diff(b.Identity), b.Counts)
			}
		}
		said := regexp.MustCompile(`storage: \d+ of \d+ requests sent again, [\d.]+m?s lost`).FindAllString(text, -1)
		if len(said) != 2 || counts.Injected < 20 {
			t.Errorf("%d faults; said %q:\n%s", counts.Injected, said, text)
		}
		t.Logf("%+v: %s", counts, strings.Join(said, "; "))
	})

	// What one unit more costs, which docs/storage.md says.
	t.Run("costs", func(t *testing.T) {
		measure := func(size string) (c faulttest.Counts, units int) {
			out := "gs://bkt/cost" + size
			s.Reset()
			must(t, "encode", "-q", "-i", "gs://bkt/in/shards/*.tar", "-o", out, "-m", tiny, "--unit-bytes", size)
			return s.Counts(), readManifest(t, mirror(t, out)).Units
		}
		few, m := measure("64KiB")
		many, n := measure("16KiB")
		a, b := float64(many.A-few.A)/float64(n-m), float64(many.B-few.B)/float64(n-m)
		t.Logf("%d and %d units: %+v, %+v: a unit more is %.2f uploads and listings, %.2f reads", m, n, few, many, a, b)
		if n-m < 8 || a > 2 || b > 6 {
			t.Errorf("a unit more takes %.2f uploads and listings, %.2f reads; want at most 2 and 6", a, b)
		}
	})

	// What a kill leaves, and listings that show half of it: what is there is found by name.
	t.Run("resume", func(t *testing.T) {
		b, err := blob.OpenBucket(t.Context(), "gs://bkt/codes")
		if err != nil {
			t.Fatal(err)
		}
		m := readManifest(t, path("codes"))
		for _, name := range []string{schemas.ManifestName, fmt.Sprintf("data/part-00001-of-%05d.parquet", m.Units)} {
			if err := b.Delete(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		s.Inject(func(r *faulttest.Request) faulttest.Fault {
			if !r.List {
				return nil
			}
			return faulttest.Stale(func(name string) bool {
				return strings.Contains(name, "codes/data/part-") || strings.Contains(name, "codes/rejects/")
			})
		})
		defer s.Inject(nil)
		out := decodeJSON(t, must(t, "encode", "-q", "--json", "-i", "gs://bkt/in/shards/*.tar", "-o", "gs://bkt/codes", "-m", "gs://bkt/models/tiny", "--unit-bytes", "16KiB"))
		s.Inject(nil)
		if got := int(out["resumed_units"].(float64)); got != m.Units-1 {
			t.Errorf("%d units resumed of %d, want all but one", got, m.Units)
		}
		same(t, "resumed", tables(t, mirror(t, "gs://bkt/codes")), tables(t, path("codes")))
	})

	// Processes that are killed, with faults besides: what the last one leaves is what a run in peace would.
	t.Run("killed", func(t *testing.T) {
		args := []string{"encode", "-q", "-i", "gs://bkt/in/shards/*.tar", "-o", "gs://bkt/killed", "-m", "gs://bkt/models/tiny", "--unit-bytes", "16KiB"}
		s.Inject(faulttest.Mixed(17, 8))
		defer s.Inject(nil)
		killed, units := 0, readManifest(t, path("codes")).Units
		for range 3 {
			cmd := process(args...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			parts := func() (n int) {
				listing, _ := s.Fake.ListObjectsWithOptionsPaginated("bkt", fakestorage.ListOptions{Prefix: "killed/"})
				return len(listing.Objects)
			}
			before, deadline := parts(), time.Now().Add(20*time.Second)
			for parts() < before+units/3 && time.Now().Before(deadline) {
				time.Sleep(time.Millisecond)
			}
			if cmd.Process.Kill() == nil && cmd.Wait() != nil {
				killed++
			}
		}
		must(t, args...)
		s.Inject(nil)
		if killed == 0 {
			t.Error("no process was killed on its way")
		}
		got := mirror(t, "gs://bkt/killed")
		same(t, "after kills", tables(t, got), tables(t, path("codes")))
		if m := readManifest(t, got); m.Resumed == 0 || m.Counts.Encoded != 90 {
			t.Errorf("%d of %d units resumed, %+v", m.Resumed, m.Units, m.Counts)
		}
	})

	// Commands that look at a corpus do so where it lies.
	t.Run("commands", func(t *testing.T) {
		s.Inject(faulttest.Mixed(19, 8))
		defer s.Inject(nil)
		for _, c := range []struct{ args, want string }{
			{"inspect %s", "90"}, {"show %s", "picture"}, {"validate %s", "all is well"}, {"model inspect MODEL", "encodes: yes"},
		} {
			args := strings.Fields(strings.ReplaceAll(c.args, "MODEL", "gs://bkt/models/tiny"))
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], "%s", "gs://bkt/codes")
			}
			if text := must(t, args...); !strings.Contains(text, c.want) {
				t.Errorf("%v: no %q in\n%s", args, c.want, text)
			}
		}
		must(t, "encode", "-i", "gs://bkt/in/shards", "-o", "gs://bkt/never", "-m", tiny, "--dry-run", "--format", "webdataset")
		must(t, "detokenize", "-q", "--codes", "gs://bkt/codes", "-o", "gs://bkt/pixels", "-m", "gs://bkt/models/tiny")
	})

	t.Run("images beside a table", func(t *testing.T) {
		photos := path("photos")
		var table strings.Builder
		for i := range 12 {
			name := fmt.Sprintf("%d/p.png", i)
			writeFile(t, photos, name, shardtest.PNG(20+i, 15, uint32(i)))
			fmt.Fprintf(&table, "{\"image\":%q,\"text\":\"picture %d\"}\n", name, i)
		}
		fmt.Fprintln(&table, `{"image":"none.png","text":"not there"}`)
		writeFile(t, dir, "table/t.jsonl", []byte(table.String()))
		upload(t, path("table"), "gs://bkt/table")
		upload(t, photos, "gs://bkt/photos")
		args := func(in, root, out string) []string {
			return []string{"encode", "-q", "-i", in, "-o", out, "-m", tiny, "--image-root", root, "--max-failure-rate", "1"}
		}
		must(t, args(path("table/t.jsonl"), photos, path("by-table"))...)
		s.Inject(faulttest.Mixed(5, 5))
		must(t, args("gs://bkt/table/t.jsonl", "gs://bkt/photos", "gs://bkt/by-table")...)
		s.Inject(nil)
		got := mirror(t, "gs://bkt/by-table")
		if m := readManifest(t, got); m.Counts.Encoded != 12 || m.Counts.In != 13 {
			t.Errorf("%+v", m.Counts)
		}
		same(t, "by table", tables(t, got), tables(t, path("by-table")))
	})
}

// TestObjectStoreS3 runs the chain in an S3 store that fails, with the model there too.
func TestObjectStoreS3(t *testing.T) {
	s := s3test.New(t, "bkt")
	t.Setenv("SOWER_CACHE", filepath.Join(t.TempDir(), "cache"))
	in, dir := pictures(t, 2, 30), t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	must(t, "model", "convert", tiny, path("tiny"))
	upload(t, in, "s3://bkt/in")
	upload(t, path("tiny"), "s3://bkt/tiny")
	s.Inject(faulttest.Mixed(2, 6))
	for _, c := range []struct{ in, model, codes, train string }{{in, path("tiny"), path("codes"), path("train")}, {"s3://bkt/in", "s3://bkt/tiny", "s3://bkt/codes", "s3://bkt/train"}} {
		must(t, "encode", "-q", "-i", c.in+"/*.tar", "-o", c.codes, "-m", c.model, "--unit-bytes", "16KiB")
		must(t, "interleave", "-q", "--codes", c.codes, "-o", c.train, "--context", "160", "--pack", "--file-tokens", "2000")
		must(t, "validate", c.train)
	}
	s.Inject(nil)
	for _, what := range []string{"codes", "train"} {
		same(t, what, tables(t, mirror(t, "s3://bkt/"+what)), tables(t, path(what)))
	}
	if n := s.Counts().Injected; n < 20 {
		t.Errorf("%d faults, too few to tell", n)
	}
}

// TestObjectStoreModels opens bases, adapters and tokenizers in an object store that fails: all is as with local folders.
func TestObjectStoreModels(t *testing.T) {
	s := gcstest.New(t, "bkt")
	cache := filepath.Join(t.TempDir(), "cache")
	t.Setenv("SOWER_CACHE", cache)
	base, adapter := golden.Fixtures(t, "llama-tiny"), tunedFolder(t, "lora-llama-tiny", "llama-bpe", nil)
	tokenizer := filepath.Join(golden.Fixtures(t, "tokenizers"), "llama-bpe")
	upload(t, base, "gs://bkt/base")
	upload(t, adapter, "gs://bkt/adapter")
	upload(t, tokenizer, "gs://bkt/tokenizer")
	s.Inject(faulttest.Mixed(3, 6))
	defer s.Inject(nil)

	args := []string{"--prompt", "a photo of", "--tokens", "20"}
	want := ask(t, append([]string{"--base", base, "--adapter", adapter}, args...)...)
	for _, where := range [][]string{
		{"--base", "gs://bkt/base", "--adapter", "gs://bkt/adapter/"},
		{"--base", "gs://bkt/base/", "--adapter", adapter},
		{"--base", base, "--adapter", "gs://bkt/adapter", "--tokenizer", "gs://bkt/adapter/tokenizer.json"},
	} {
		if got := ask(t, append(where, args...)...); fmt.Sprint(got.Answers) != fmt.Sprint(want.Answers) {
			t.Errorf("%v: got %v, want %v", where, got.Answers, want.Answers)
		}
	}
	merged := filepath.Join(t.TempDir(), "merged")
	must(t, "merge", "--base", base, "--adapter", adapter, "--output", merged)
	must(t, "merge", "--base", "gs://bkt/base", "--adapter", "gs://bkt/adapter", "--output", "gs://bkt/merged")
	same(t, "merged", hashes(t, mirror(t, "gs://bkt/merged")), hashes(t, merged))
	if got := ask(t, append([]string{"--base", "gs://bkt/merged"}, args...)...); fmt.Sprint(got.Answers) != fmt.Sprint(want.Answers) {
		t.Errorf("merged: got %v, want %v", got.Answers, want.Answers)
	}

	codes, dir := encoded(t, 40), t.TempDir()
	for out, tok := range map[string]string{filepath.Join(dir, "train"): tokenizer, "gs://bkt/train": "gs://bkt/tokenizer"} {
		must(t, "interleave", "-q", "--codes", codes, "-o", out, "--context", "200", "--tokenizer", tok)
	}
	same(t, "train", tables(t, mirror(t, "gs://bkt/train")), tables(t, filepath.Join(dir, "train")))
	must(t, "validate", "gs://bkt/train")

	corpus := trainingSequences(t, false)
	upload(t, corpus, "gs://bkt/corpus")
	must(t, tuneArgs(corpus, filepath.Join(dir, "tuned"))...)
	must(t, tuneArgs("gs://bkt/corpus", "gs://bkt/tuned")...)
	same(t, "tuned", adapterHashes(t, mirror(t, "gs://bkt/tuned")), adapterHashes(t, filepath.Join(dir, "tuned")))
	must(t, "generate", "--base", "standin:tiny:0", "--adapter", "gs://bkt/tuned", "--prompt", "picture", "--image")
	if n := s.Counts().Injected; n < 20 {
		t.Errorf("%d faults, too few to tell", n)
	}
	if _, stderr, code := sower(t, "generate", "--base", "gs://bkt/nothing", "--prompt", "x"); code == exitOK || !strings.Contains(stderr, "gs://bkt/nothing") {
		t.Errorf("a base that is not there: exit code %d: %s", code, stderr)
	}
}
