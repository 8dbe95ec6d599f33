package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sower/internal/shards/shardtest"
	"sower/schemas"
)

const tiny = "standin:tiny:0"

// TestSameBytesEverywhere is the promise that resume and retries rest on: files are a function of input, weights and
// options alone.
func TestSameBytesEverywhere(t *testing.T) {
	in := pictures(t, 3, 40)
	base := filepath.Join(t.TempDir(), "base")
	encode := func(out string, more ...string) {
		must(t, append([]string{"encode", "-q", "-i", filepath.Join(in, "*.tar"), "-o", out, "-m", tiny, "--unit-bytes", "16KiB"}, more...)...)
	}
	encode(base)
	want := hashes(t, base)
	if m := readManifest(t, base); m.Units < 8 || m.Counts.Encoded != 120 || m.Counts.In != 120 {
		t.Fatalf("%d units, %+v", m.Units, m.Counts)
	}
	for name, flags := range map[string][]string{
		"again":        nil,
		"one branch":   {"--parallelism", "1"},
		"four":         {"--parallelism", "4"},
		"eight":        {"--parallelism", "8"},
		"batch 1":      {"--batch", "1"},
		"batch 7":      {"--batch", "7"},
		"batch 32":     {"--batch", "32"},
		"one thread":   {"--threads", "1"},
		"eight thread": {"--threads", "8", "--batch", "5", "--parallelism", "3"},
	} {
		out := filepath.Join(t.TempDir(), "other", "place")
		encode(out, flags...)
		same(t, name, hashes(t, out), want)
	}
	moved := t.TempDir()
	if err := os.CopyFS(filepath.Join(moved, "elsewhere"), os.DirFS(in)); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(moved, "out")
	must(t, "encode", "-q", "-i", filepath.Join(moved, "elsewhere", "{00000..00002}.tar"), "-o", out, "-m", tiny, "--unit-bytes", "16KiB")
	got := hashes(t, out)
	for name, sum := range want {
		if strings.HasPrefix(name, "data/") && got[name] != sum {
			t.Errorf("from another folder: %s differs", name)
		}
	}
}

func TestResume(t *testing.T) {
	in := pictures(t, 2, 30)
	dir := t.TempDir()
	args := func(out string) []string {
		return []string{"encode", "-q", "--json", "-i", in, "-o", out, "-m", tiny, "--unit-bytes", "16KiB"}
	}
	whole, part := filepath.Join(dir, "whole"), filepath.Join(dir, "part")
	must(t, args(whole)...)
	must(t, args(part)...)
	want := hashes(t, whole)
	units := readManifest(t, whole).Units
	// What a kill can leave: no manifest, units without either part, a torn temporary file.
	for i, name := range []string{"_manifest.json", "data/part-00001-of-%05d.parquet", "rejects/part-00002-of-%05d.parquet"} {
		if i > 0 {
			name = fmt.Sprintf(name, units)
		}
		if err := os.Remove(filepath.Join(part, filepath.FromSlash(name))); err != nil {
			t.Fatal(err)
		}
	}
	before := hashes(t, part)
	out := decodeJSON(t, must(t, args(part)...))
	if got := int(out["resumed_units"].(float64)); got != units-2 {
		t.Errorf("%d units resumed of %d, want all but 2", got, units)
	}
	same(t, "resumed", hashes(t, part), want)
	for name, sum := range before {
		if want[name] != sum {
			t.Errorf("%s was rewritten", name)
		}
	}
	if text := must(t, "encode", "-q", "-i", in, "-o", part, "-m", tiny, "--unit-bytes", "16KiB"); !strings.Contains(text, "finished already") {
		t.Errorf("a finished corpus: %s", text)
	}
}

func TestRefusesToMix(t *testing.T) {
	in := pictures(t, 2, 10)
	unfinished, finished := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	base := []string{"encode", "-q", "-i", in, "-m", tiny, "--unit-bytes", "16KiB", "-o"}
	must(t, append(base, unfinished)...)
	must(t, append(base, finished)...)
	if err := os.Remove(filepath.Join(unfinished, schemas.ManifestName)); err != nil {
		t.Fatal(err)
	}
	before := hashes(t, unfinished)
	for field, change := range map[string]func(args []string) []string{
		"weights":          func(a []string) []string { a[5] = "standin:tiny:1"; return a },
		"resize":           func(a []string) []string { return append(a, "--resize", "bilinear") },
		"options.min_side": func(a []string) []string { return append(a, "--min-side", "1") },
		"options.dedup":    func(a []string) []string { return append(a, "--dedup") },
		"units instead of": func(a []string) []string { a[7] = "1MiB"; return a },
		"image_size":       func(a []string) []string { a[5] = "null"; return a },
	} {
		for state, out := range map[string]string{"unfinished": unfinished, "finished": finished} {
			args := change(append(append([]string(nil), base...), out))
			_, stderr, code := sower(t, args...)
			if code != exitRefused || !strings.Contains(stderr, field) || !strings.Contains(stderr, "--overwrite") {
				t.Errorf("%s, %s: exit code %d: %s", field, state, code, stderr)
			}
		}
	}
	same(t, "after refusals", hashes(t, unfinished), before)
	// Changed input: another size, another time, a new file.
	victim := filepath.Join(in, "00001.tar")
	old, err := os.ReadFile(victim)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(victim, append(append([]byte(nil), old...), make([]byte, 10240)...), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := sower(t, append(base, unfinished)...); code != exitRefused || !strings.Contains(stderr, "00001.tar: size") {
		t.Errorf("changed size: exit code %d: %s", code, stderr)
	}
	if err := os.WriteFile(victim, old, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := sower(t, append(base, unfinished)...); code != exitRefused || !strings.Contains(stderr, "00001.tar was modified") {
		t.Errorf("changed time: exit code %d: %s", code, stderr)
	}
	must(t, append(append(base, unfinished), "--overwrite", "--resize", "bilinear")...)
	if m := readManifest(t, unfinished); m.Identity.Resize != "bilinear" || m.Counts.Encoded != 20 {
		t.Errorf("overwritten: %+v", m)
	}
}

func TestFilters(t *testing.T) {
	dir := t.TempDir()
	sample := func(key string, w, h int, text, meta string) shardtest.Sample {
		s := shardtest.Sample{Key: key, Files: []shardtest.File{{Ext: "jpg", Data: shardtest.JPEG(w, h, 7)}}}
		if text != "-" {
			s.Files = append(s.Files, shardtest.File{Ext: "txt", Data: []byte(text)})
		}
		if meta != "" {
			s.Files = append(s.Files, shardtest.File{Ext: "json", Data: []byte(meta)})
		}
		return s
	}
	writeFile(t, dir, "in/0.tar", shardtest.Tar(
		sample("good", 40, 30, "a cat", `{"similarity":0.5}`),
		sample("same", 40, 30, "a cat", `{"similarity":0.5}`),
		sample("small", 40, 9, "x", ""),
		sample("thin", 50, 12, "x", ""),
		sample("unlike", 30, 30, "x", `{"similarity":0.1}`),
		sample("best-of", 31, 30, "x", `{"all_similarities":[0.1,0.4]}`),
		sample("score", 32, 30, "x", `{"SCORE":"0.01"}`),
		sample("stated", 33, 30, "x", `{"width":5,"height":500}`),
		sample("mute", 34, 30, "-", ""),
		sample("blank", 35, 30, " \n", ""),
		sample("long", 36, 30, strings.Repeat("é", 11), ""),
		sample("fits", 37, 30, strings.Repeat("é", 10), ""),
	))
	out := filepath.Join(dir, "out")
	must(t, "encode", "-q", "-i", filepath.Join(dir, "in"), "-o", out, "-m", tiny, "--min-side", "10", "--max-aspect", "3", "--min-similarity", "0.25",
		"--require-text", "--max-text", "10", "--dedup")
	rows, rejects := readAll(t, out)
	var kept []string
	for _, r := range rows {
		kept = append(kept, r.Key)
	}
	if want := []string{"good", "best-of", "fits"}; !reflect.DeepEqual(kept, want) {
		t.Errorf("kept %v, want %v", kept, want)
	}
	got := map[string]string{}
	for _, r := range rejects {
		got[r.Key] = r.Reason
		if r.Retryable || r.Detail == "" {
			t.Errorf("%+v: filtered rows are not retryable and say why", r)
		}
	}
	want := map[string]string{"same": "duplicate", "small": "too_small", "thin": "aspect", "unlike": "similarity", "score": "similarity", "stated": "too_small",
		"mute": "no_text", "blank": "no_text", "long": "text_too_long"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("rejected %v, want %v", got, want)
	}
	plain := filepath.Join(dir, "plain")
	must(t, "encode", "-q", "-i", filepath.Join(dir, "in"), "-o", plain, "-m", tiny)
	if m := readManifest(t, plain); m.Counts.Encoded != 12 {
		t.Errorf("filters are not off by default: %+v", m.Counts)
	}
}

func TestFailureRateStops(t *testing.T) {
	dir := t.TempDir()
	var samples []shardtest.Sample
	for i := range 1500 {
		samples = append(samples, shardtest.Captioned(fmt.Sprintf("%05d", i), []byte("<html>403 Forbidden</html>"), "x"))
	}
	writeFile(t, dir, "in/0.tar", shardtest.Tar(samples...))
	out := filepath.Join(dir, "out")
	_, stderr, code := sower(t, "encode", "-q", "-i", filepath.Join(dir, "in"), "-o", out, "-m", tiny)
	if code != exitFailures || !strings.Contains(stderr, "unsupported_format") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if _, err := os.Stat(filepath.Join(out, schemas.ManifestName)); err == nil {
		t.Error("a stopped run has a manifest")
	}
	must(t, "encode", "-q", "-i", filepath.Join(dir, "in"), "-o", out, "-m", tiny, "--max-failure-rate", "1")
	if m := readManifest(t, out); m.Counts.In != 1500 || m.Counts.Rejected["unsupported_format"] != 1500 {
		t.Errorf("%+v", m.Counts)
	}
	// Few rows: found at the end, and what was done is kept.
	writeFile(t, dir, "few/0.tar", shardtest.Tar(samples[:5]...))
	few := filepath.Join(dir, "out-few")
	if _, stderr, code := sower(t, "encode", "-q", "-i", filepath.Join(dir, "few"), "-o", few, "-m", tiny); code != exitFailures || !strings.Contains(stderr, "5 of 5") {
		t.Errorf("few rows: exit code %d: %s", code, stderr)
	}
	must(t, "encode", "-q", "-i", filepath.Join(dir, "few"), "-o", few, "-m", tiny, "--max-failure-rate", "1")
	if m := readManifest(t, few); m.Resumed != 1 {
		t.Errorf("the unit was done twice: %+v", m)
	}
}

func TestDryRunWritesNothing(t *testing.T) {
	in, out := pictures(t, 2, 20), filepath.Join(t.TempDir(), "out")
	text := must(t, "encode", "-i", in, "-o", out, "-m", tiny, "--dry-run")
	for _, want := range []string{"about 40 in", "estimate", "nothing was written", "webdataset"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("the output folder was made")
	}
	v := decodeJSON(t, must(t, "encode", "-i", in, "-o", out, "-m", tiny, "--dry-run", "--json"))
	if v["rows"].(float64) != 40 || v["estimated_seconds"].(float64) <= 0 {
		t.Errorf("%v", v)
	}
	// In a process of its own, in which no run has started the decoders' pool.
	stdout, err := process("encode", "-i", in, "-o", out, "-m", tiny, "--dry-run", "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	if s := decodeJSON(t, string(stdout))["sample"].(map[string]any); s["encoded"].(float64) != 40 || s["prepare"].(float64) <= 0 {
		t.Errorf("sample of a fresh process: %v", s)
	}
}

// TestNoRows checks that an input without rows is done, and said to be so beside the JSON.
func TestNoRows(t *testing.T) {
	dir := t.TempDir()
	in := writeFile(t, dir, "a.csv", []byte("image,caption\n"))
	for range 2 { // the second time it is finished already
		stdout, stderr, code := sower(t, "encode", "-q", "-i", in, "-o", filepath.Join(dir, "out"), "-m", tiny, "--json")
		if decodeJSON(t, stdout); code != exitOK || !strings.Contains(stderr, "no rows") {
			t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
		}
	}
}

// TestForeignFiles checks that --overwrite deletes nothing that no run made, and that a damaged manifest or plan is named
// with a way out.
func TestForeignFiles(t *testing.T) {
	in, out := pictures(t, 1, 5), t.TempDir()
	mine := writeFile(t, out, "data/train.parquet", []byte("not Sower's"))
	args := []string{"encode", "-i", in, "-o", out, "-m", tiny}
	for _, more := range []string{"-q", "--overwrite"} {
		_, stderr, code := sower(t, append(args, more)...)
		if code != exitRefused || !strings.Contains(stderr, "delete them yourself") {
			t.Errorf("%s: exit code %d\n%s", more, code, stderr)
		}
		if _, err := os.Stat(mine); err != nil {
			t.Fatalf("%s: %v", more, err)
		}
	}
	if err := os.Remove(mine); err != nil {
		t.Fatal(err)
	}
	must(t, args...)
	manifest := writeFile(t, out, schemas.ManifestName, []byte("{bad"))
	if _, stderr, code := sower(t, args...); code != exitFailed || !strings.Contains(stderr, "delete it and run") {
		t.Errorf("damaged manifest: exit code %d\n%s", code, stderr)
	}
	if err := os.Remove(manifest); err != nil {
		t.Fatal(err)
	}
	plans, err := filepath.Glob(filepath.Join(out, "_plan", "*.parquet"))
	if err != nil || len(plans) != 1 {
		t.Fatal(plans, err)
	}
	if err := os.Truncate(plans[0], 100); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := sower(t, args...); code != exitFailed || !strings.Contains(stderr, "--overwrite") {
		t.Errorf("damaged plan: exit code %d\n%s", code, stderr)
	}
	must(t, append(args, "--overwrite")...)
}

func TestNullModel(t *testing.T) {
	in, out := pictures(t, 1, 20), filepath.Join(t.TempDir(), "out")
	must(t, "encode", "-q", "-i", in, "-o", out, "-m", "null")
	rows, _ := readAll(t, out)
	if len(rows) != 20 || len(rows[0].Codes) != 32 || rows[0].SHA256 == rows[1].SHA256 {
		t.Errorf("%d rows, %+v", len(rows), rows[0])
	}
}
