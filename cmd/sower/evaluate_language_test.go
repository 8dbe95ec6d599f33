package main

import (
	"encoding/json"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sower/gpu"
	"sower/gpu/models/lm"
	"sower/internal/evaluate/language"
	"sower/internal/generate"
)

// evaluateLanguage looks at what the demo's language model has learned: its bits are those of the training loss, and results depend
// neither on batches nor on threads.
func evaluateLanguage(t *testing.T, dir string) {
	const base = "standin:tiny:0"
	codes, adapter := filepath.Join(dir, "corpus"), filepath.Join(dir, "adapter")
	args := []string{"evaluate", "language", "-q", "--codes", codes, "--base", base, "--adapter", adapter, "--model", "mini", "--baseline", codes}
	measure := func(more ...string) (r language.Report) {
		if err := json.Unmarshal([]byte(must(t, append(append(args, "--json"), more...)...)), &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := measure()
	if again := measure("--batch", "7", "--threads", "1"); !reflect.DeepEqual(r, again) {
		t.Errorf("another batch: %+v, then %+v", r, again)
	}
	if r.Images != 64 || r.WithoutText != 0 || r.TooLong != 0 || r.Uniform != 10 || *r.Baseline > 10 || len(r.ByPlace) != 32 || r.Gallery < 40 {
		t.Errorf("%+v", r)
	}
	// The model has seen these pairs often; the tokenizer was trained on others, and its true codes find most captions.
	if r.Bits > *r.Baseline || r.Swapped <= r.Bits || r.True.At10 < 50 || r.True.At1 > r.True.At5 {
		t.Errorf("%+v", r)
	}
	if want := lossInBits(t, base, adapter, codes); math.Abs(r.Bits-want) > 1e-4 {
		t.Errorf("%v bits a code, by the loss of training %v", r.Bits, want)
	}
	if few := measure("--pairs", "10", "--min-words", "1"); few.Images != 10 || few.Gallery > 10 {
		t.Errorf("%+v", few)
	}
	text := must(t, args...)
	for _, want := range []string{"64 images", "a code costs", "counts of each place", "whole images", "captions found by"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--model", tiny}, exitFailed, "give the --model of its corpus"},
		{[]string{"--codes", filepath.Join(dir, "sequences")}, exitFailed, "written by sower interleave"},
		{[]string{"--codes", filepath.Join(dir, "none")}, exitFailed, "no such folder"},
		{[]string{"--temperature", "-1"}, exitUsage, "--temperature"},
		{[]string{"--min-words", "1000"}, exitFailed, "lower --min-words"},
	} {
		_, stderr, code := sower(t, append(args, c.args...)...)
		if code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: exit code %d: %s", c.args, code, stderr)
		}
	}
}

// lossInBits is the mean loss of all codes of a corpus behind their captions, as training computes it.
func lossInBits(t *testing.T, base, adapter, codes string) float64 {
	dev, err := gpu.Open("cpu", gpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	g, err := generate.Open(dev, generate.Config{Base: base, Adapter: adapter})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	rows, _ := readAll(t, codes)
	var parts []lm.Example
	for _, r := range rows {
		ids, err := g.ImagePrompt(g.Template(), *r.Text)
		if err != nil {
			t.Fatal(err)
		}
		labels := make([]int32, len(ids))
		for i := range labels {
			labels[i] = gpu.Ignored
		}
		for _, code := range r.Codes {
			ids = append(ids, g.Vocabulary.Offset+int32(code))
			labels = append(labels, g.Vocabulary.Offset+int32(code))
		}
		parts = append(parts, lm.Example{Batch: &lm.Batch{B: 1, T: len(ids), IDs: ids}, Labels: labels})
	}
	mean, targets, err := lm.Accumulate(g.Model, gpu.Inference, parts, nil)
	if err != nil || targets != 32*len(rows) {
		t.Fatalf("%d targets: %v", targets, err)
	}
	return mean / math.Ln2
}
