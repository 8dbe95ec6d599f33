package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sower/internal/golden"
	"sower/schemas"
)

// TestGenerateCorpus makes images of the texts of a corpus and texts of its codes: the same as single commands make, whatever the
// units, batches and threads, and in tables that the other commands take.
func TestGenerateCorpus(t *testing.T) {
	dir := t.TempDir()
	corpus := filepath.Join(dir, "corpus")
	must(t, "encode", "-q", "-i", pictures(t, 3, 8), "-o", corpus, "-m", tiny, "--unit-bytes", "8KiB")
	digest := strings.Fields(strings.SplitAfter(must(t, "model", "inspect", tiny), "encodes: yes, weights")[1])[0]
	base, adapter := golden.Fixtures(t, "llama-tiny"), tunedFolder(t, "lora-llama-tiny", "llama-bpe", map[string]string{"codes_weights": digest})
	args := []string{"generate", "-q", "--base", base, "--adapter", adapter, "--input", corpus}
	before, _ := readAll(t, corpus)

	images := filepath.Join(dir, "images")
	must(t, append(slices.Clone(args), "--image", "--temperature", "1", "--seed", "5", "--output", images)...)
	rows, rejects := readAll(t, images)
	if len(rows) != 24 || len(rejects) != 0 {
		t.Fatalf("%d rows, %d rejects", len(rows), len(rejects))
	}
	seen := map[string]bool{}
	for i, r := range rows {
		if r.Key != before[i].Key || r.Source != before[i].Source || r.Row != before[i].Row || *r.Text != *before[i].Text || len(r.Codes) != 32 || slices.Max(r.Codes) > 511 ||
			r.Width != 56 || r.SHA256 == before[i].SHA256 {
			t.Errorf("row %d: %+v", i, r)
		}
		seen[fmt.Sprint(r.Codes)] = true
	}
	if len(seen) != 24 {
		t.Errorf("%d of 24 images differ", len(seen))
	}
	again := filepath.Join(dir, "again")
	must(t, append(slices.Clone(args), "--image", "--temperature", "1", "--seed", "5", "--output", again, "--batch", "3", "--threads", "1", "--parallelism", "3")...)
	same(t, "another batch", hashes(t, again), hashes(t, images))
	greedy := filepath.Join(dir, "greedy")
	must(t, append(slices.Clone(args), "--image", "--output", greedy)...)
	rows, _ = readAll(t, greedy)
	for _, i := range []int{0, 11} {
		one := ask(t, "--base", base, "--adapter", adapter, "--image", "--prompt", *before[i].Text)
		if fmt.Sprint(one.Answers[0].Codes) != fmt.Sprint(rows[i].Codes) {
			t.Errorf("row %d: %v, alone %v", i, rows[i].Codes, one.Answers[0].Codes)
		}
	}

	captions := filepath.Join(dir, "captions")
	must(t, append(slices.Clone(args), "--temperature", "2", "--tokens", "9", "--stop", "zz", "--output", captions)...)
	rows, _ = readAll(t, captions)
	texts := map[string]bool{}
	for i, r := range rows {
		if r.Key != before[i].Key || !slices.Equal(r.Codes, before[i].Codes) || r.SHA256 != before[i].SHA256 || r.Text == nil || strings.Contains(*r.Text, "<img") {
			t.Errorf("row %d: %+v", i, r)
		}
		texts[*r.Text] = true
	}
	if len(rows) != 24 || len(texts) < 20 {
		t.Errorf("%d rows with %d texts", len(rows), len(texts))
	}

	for _, folder := range []string{images, captions} {
		must(t, "validate", folder)
		must(t, "detokenize", "-q", "--codes", folder, "-o", folder+"-embeddings", "-m", tiny)
		must(t, "interleave", "-q", "--codes", folder, "-o", folder+"-sequences", "-t", "bytes")
	}

	// A part that is lost is made again, the others are not.
	parts, err := filepath.Glob(filepath.Join(images, "data", "*.parquet"))
	if err != nil || len(parts) < 2 {
		t.Fatal(parts, err)
	}
	want := hashes(t, images)
	for _, f := range []string{parts[0], filepath.Join(images, schemas.ManifestName)} {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	must(t, append(slices.Clone(args), "--image", "--temperature", "1", "--seed", "5", "--output", images)...)
	same(t, "resumed", hashes(t, images), want)
	if _, stderr, code := sower(t, append(slices.Clone(args), "--image", "--temperature", "1", "--seed", "6", "--output", images)...); code != exitRefused {
		t.Errorf("another seed into the same folder: exit code %d: %s", code, stderr)
	}

	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"--input CORPUS", exitUsage, "--output belong together"},
		{"--input CORPUS --output CORPUS", exitUsage, "give another folder"},
		{"--input CORPUS --output OUT --count 2", exitUsage, "leave"},
		{"--input CORPUS --output OUT --image --prompt x", exitUsage, "leave --prompt out"},
		{"--input CORPUS --output OUT --batch -1", exitUsage, "--batch -1"},
		{"--input nowhere --output OUT", exitFailed, "no such folder"},
		{"--input EMBEDDINGS --output OUT", exitFailed, "sower detokenize"},
		{"--input CORPUS --output OUT --adapter FOREIGN", exitFailed, "_manifest.json"},
	} {
		line := strings.NewReplacer("CORPUS", corpus, "EMBEDDINGS", images+"-embeddings", "OUT", filepath.Join(dir, "out"),
			"FOREIGN", filepath.Join(golden.Fixtures(t, "lora-llama-tiny"), "tuned")).Replace(c.args)
		_, stderr, code := sower(t, append([]string{"generate", "--base", base, "--adapter", adapter}, strings.Fields(line)...)...)
		if code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit code %d, want %d with %q\n%s", c.args, code, c.code, c.want, stderr)
		}
	}
}
