package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sower/schemas"
)

// trainingSequences is a small corpus in bytes, packed or not.
func trainingSequences(t testing.TB, packed bool) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "sequences")
	args := []string{"interleave", "-q", "--codes", encoded(t, 60), "-o", out, "--context", "256", "--validation", "0.15"}
	if packed {
		args = append(args, "--pack")
	}
	must(t, args...)
	return out
}

// tuneArgs is a short run.
func tuneArgs(corpus, out string, more ...string) []string {
	return append([]string{"tune", "-q", "--corpus", corpus, "--base", "standin:tiny:0", "--output", out, "--rank", "4", "--batch-rows", "2", "--warmup", "4", "--rate", "5e-3",
		"--validation-rows", "8", "--steps", "16", "--steps-per-round", "4"}, more...)
}

// adapterHashes are those of the files that a run is for: what only says how long it took is left out.
func adapterHashes(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := hashes(t, dir)
	for name := range all {
		if strings.HasSuffix(name, "commit.json") || strings.HasSuffix(name, "metrics.parquet") {
			delete(all, name)
		}
	}
	return all
}

// TestTuneRounds trains once in one round and once in four, packed and not: the adapters must be the same bytes.
func TestTuneRounds(t *testing.T) {
	for _, packed := range []bool{false, true} {
		corpus, dir := trainingSequences(t, packed), t.TempDir()
		one, four := filepath.Join(dir, "one"), filepath.Join(dir, "four")
		must(t, tuneArgs(corpus, one, "--steps-per-round", "16", "--dropout", "0.1")...)
		must(t, tuneArgs(corpus, four, "--dropout", "0.1")...)
		const adapter = "adapter_model.safetensors"
		if a, b := hashes(t, one)[adapter], hashes(t, four)[adapter]; a != b || a == "" {
			t.Errorf("packed %v: one round and four give other adapters", packed)
		}
		if text := must(t, tuneArgs(corpus, four, "--dropout", "0.1")...); !strings.Contains(text, "finished already") {
			t.Errorf("a finished run says\n%s", text)
		}
		if _, text, code := sower(t, tuneArgs(corpus, four, "--dropout", "0.2")...); code != exitRefused || !strings.Contains(text, "options.dropout") {
			t.Errorf("other settings: exit code %d\n%s", code, text)
		}
	}
}

// TestTuneLearns holds the loss to fall, and what is written to be whole.
func TestTuneLearns(t *testing.T) {
	corpus, out := trainingSequences(t, true), filepath.Join(t.TempDir(), "adapter")
	must(t, tuneArgs(corpus, out, "--steps", "48", "--steps-per-round", "12")...)
	m := readManifest(t, out)
	if m.Pipeline != "tune" || m.Vocabulary == nil || m.Units != 4 {
		t.Errorf("manifest: %+v", m)
	}
	listed := map[string]bool{}
	for _, f := range m.Files {
		listed[f.Path] = true
	}
	for _, name := range []string{"adapter_config.json", "adapter_model.safetensors", "best/adapter_model.safetensors", "metrics.parquet", "tokenizer.json"} {
		if !listed[name] {
			t.Errorf("%s is not in the manifest", name)
		}
	}
	if text := must(t, "validate", out); !strings.Contains(text, "all is well") {
		t.Errorf("validate says\n%s", text)
	}
	if text := must(t, "inspect", out); !strings.Contains(text, "an adapter of standin:tiny:0, finished, 4 rounds") {
		t.Errorf("inspect says\n%s", text)
	}
	if text := must(t, "generate", "--base", "standin:tiny:0", "--adapter", out, "--prompt", "picture", "--image", "--json"); !strings.Contains(text, "codes") {
		t.Errorf("generate says\n%s", text)
	}
	first, last := validation(t, out, 0), validation(t, out, 3)
	if !(last < first-0.3) {
		t.Errorf("validation loss went from %.3f to %.3f", first, last)
	}
	weights := filepath.Join(out, "best", "adapter_model.safetensors")
	raw, err := os.ReadFile(weights)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-1] ^= 1
	if err := os.WriteFile(weights, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	if text, _, code := sower(t, "validate", out); code != exitFailed || !strings.Contains(text, "best/adapter_model.safetensors: is not the file") {
		t.Errorf("validate of a flipped bit: exit code %d\n%s", code, text)
	}
}

// validation reads the loss of a commit.
func validation(t testing.TB, dir string, round int) float64 {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("rounds/%04d/commit.json", round)))
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Validation *struct {
			Loss float64 `json:"loss"`
		} `json:"validation"`
	}
	if err := json.Unmarshal(raw, &c); err != nil || c.Validation == nil {
		t.Fatalf("commit of round %d: %v\n%s", round, err, raw)
	}
	return c.Validation.Loss
}

// TestTuneWorkers trains with one, two and four workers: reproducible, and learning.
func TestTuneWorkers(t *testing.T) {
	corpus, dir := trainingSequences(t, true), t.TempDir()
	losses := map[int]float64{}
	for _, workers := range []int{1, 2, 4} {
		var twice [2]map[string]string
		for i := range twice {
			if workers == 1 && i > 0 {
				continue
			}
			out := filepath.Join(dir, fmt.Sprintf("%d-%d", workers, i))
			must(t, tuneArgs(corpus, out, "--workers", fmt.Sprint(workers), "--steps", "64", "--steps-per-round", "16")...)
			twice[i] = adapterHashes(t, out)
			losses[workers] = validation(t, out, 3)
		}
		if workers > 1 {
			same(t, fmt.Sprintf("%d workers, again", workers), twice[1], twice[0])
		}
	}
	t.Logf("validation losses by workers: %v", losses)
	// A few steps, each worker a part of them: docs/benchmarks.md compares the losses of real runs.
	for workers, loss := range losses {
		first := validation(t, filepath.Join(dir, fmt.Sprintf("%d-0", workers)), 0)
		if math.IsNaN(loss) || loss > first-0.5 {
			t.Errorf("%d workers go from %.3f to %.3f", workers, first, loss)
		}
	}
}

// TestTuneKill kills a run with SIGKILL in its rounds, and interrupts one, and resumes both.
func TestTuneKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	corpus, dir := trainingSequences(t, true), t.TempDir()
	whole, killed := filepath.Join(dir, "whole"), filepath.Join(dir, "killed")
	args := func(out string) []string {
		return tuneArgs(corpus, out, "--steps", "80", "--steps-per-round", "10", "--dropout", "0.1")
	}
	must(t, args(whole)...)
	for _, round := range []int{0, 3, 5} {
		cmd := process(args(killed)...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for range 600 { // until the round before is there; then somewhere in this one
			if _, err := os.Stat(filepath.Join(killed, fmt.Sprintf("rounds/%04d/commit.json", round-1))); err == nil || round == 0 {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(60 * time.Millisecond)
		cmd.Process.Kill()
		_ = cmd.Wait()
		if _, err := os.Stat(filepath.Join(killed, schemas.ManifestName)); err == nil {
			t.Logf("the run was finished before it was killed in round %d", round)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	var discard strings.Builder
	run(ctx, args(killed), &discard, &discard)
	cancel()
	must(t, args(killed)...)
	same(t, "killed and resumed", adapterHashes(t, killed), adapterHashes(t, whole))
	for name := range leftovers(t, killed) {
		t.Errorf("%s is left over", name)
	}
}

// TestTuneRefuses holds wrong arguments and inputs to their words.
func TestTuneRefuses(t *testing.T) {
	corpus, dir := trainingSequences(t, false), t.TempDir()
	other := filepath.Join(dir, "other")
	writeFile(t, other, "mine.txt", []byte("mine"))
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"tune"}, exitUsage, "--corpus is missing"},
		{tuneArgs(corpus, filepath.Join(dir, "a"), "--rank", "0"), exitUsage, "--rank"},
		{tuneArgs(corpus, filepath.Join(dir, "a"), "--workers", "3"), exitUsage, "multiples of --workers"},
		{tuneArgs(corpus, filepath.Join(dir, "a"), "--schedule", "sine"), exitUsage, "cosine"},
		{tuneArgs(corpus, corpus), exitUsage, "the corpus itself"},
		{tuneArgs(corpus, other), exitRefused, "mine.txt"},
		{tuneArgs(corpus, filepath.Join(dir, "a"), "--base", "nowhere"), exitFailed, "nowhere"},
		{tuneArgs(corpus, filepath.Join(dir, "a"), "--targets", "c_attn"), exitFailed, "c_attn"},
		{tuneArgs(corpus, filepath.Join(dir, "b"), "--rate", "9"), exitFailed, "--rate"},
	} {
		if _, text, code := sower(t, c.args...); code != c.code || !strings.Contains(text, c.want) {
			t.Errorf("sower %s: exit code %d, want %d with %q\n%s", strings.Join(c.args, " "), code, c.code, c.want, text)
		}
	}
}
