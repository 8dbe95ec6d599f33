package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"strings"
	"testing"

	"sower/internal/blob"
	"sower/internal/corpus"
	"sower/internal/text"
	"sower/schemas"
)

// encoded is a corpus of n small pictures with captions.
func encoded(t testing.TB, n int) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "codes")
	must(t, "encode", "-q", "-i", pictures(t, 2, n/2), "-o", out, "-m", tiny, "--unit-bytes", "16KiB")
	return out
}

// texts writes JSON lines and returns their folder.
func textLines(t testing.TB, n int) string {
	t.Helper()
	dir := t.TempDir()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{\"id\":\"t%d\",\"text\":\"line %d says %s\"}\n", i, i, strings.Repeat("so ", i%40))
	}
	writeFile(t, dir, "lines.jsonl", []byte(b.String()))
	return filepath.Join(dir, "*.jsonl")
}

// sequences reads one split, cutting packed rows apart.
func sequences(t testing.TB, dir, split string) (out []schemas.SequenceRow) {
	t.Helper()
	ctx := context.Background()
	b, err := blob.OpenBucket(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	parts, err := corpus.Parts(ctx, b, "data")
	if err != nil {
		t.Fatal(err)
	}
	packed := readManifest(t, dir).Identity.Options["pack"] == "true"
	for _, p := range parts {
		if !strings.HasPrefix(p.Name, "data/"+split+"-") {
			continue
		}
		if !packed {
			err = corpus.Read(ctx, b, p.Name, func(r schemas.SequenceRow) error { out = append(out, r); return nil })
		} else {
			err = corpus.Read(ctx, b, p.Name, func(r schemas.PackedRow) error {
				at := int32(0)
				for _, n := range r.SequenceLengths {
					s := schemas.SequenceRow{InputIDs: r.InputIDs[at : at+n], Labels: r.Labels[at : at+n], Length: n}
					for _, im := range r.Images {
						if im >= at && im < at+n {
							s.Images = append(s.Images, im-at)
						}
					}
					out = append(out, s)
					at += n
				}
				return nil
			})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// plain writes sequences without their keys and order, for comparing as sets.
func plain(rows []schemas.SequenceRow) []string {
	var out []string
	for _, r := range rows {
		out = append(out, fmt.Sprint(r.InputIDs, r.Labels, append([]int32{}, r.Images...)))
	}
	sort.Strings(out)
	return out
}

func TestInterleaveSameBytes(t *testing.T) {
	codes, lines := encoded(t, 80), textLines(t, 300)
	args := func(out string, more ...string) []string {
		return append([]string{"interleave", "-q", "--codes", codes + ":1.5", "--text", lines + ":0.5", "-o", out, "--context", "200", "--pack", "--file-tokens", "4000", "--validation", "0.2"}, more...)
	}
	base := filepath.Join(t.TempDir(), "base")
	must(t, args(base)...)
	want := hashes(t, base)
	m := readManifest(t, base)
	if m.Units < 3 || m.Counts.In != 80*2+300 || m.Counts.Rejected["not_sampled"] == 0 {
		t.Fatalf("%d units, %+v", m.Units, m.Counts)
	}
	must(t, "validate", base)
	for _, flags := range [][]string{nil, {"--parallelism", "1"}, {"--parallelism", "8"}} {
		out := filepath.Join(t.TempDir(), "again")
		must(t, args(out, flags...)...)
		same(t, fmt.Sprint(flags), hashes(t, out), want)
	}
	// What a kill leaves: a train part without a manifest, a validation part without its train part.
	for _, name := range []string{"_manifest.json", fmt.Sprintf("data/train-00001-of-%05d.parquet", m.Units)} {
		if err := os.Remove(filepath.Join(base, filepath.FromSlash(name))); err != nil {
			t.Fatal(err)
		}
	}
	must(t, args(base)...)
	same(t, "resumed", hashes(t, base), want)
	if got := readManifest(t, base).Resumed; got != m.Units-1 {
		t.Errorf("%d of %d units resumed", got, m.Units)
	}
	if _, stderr, code := sower(t, args(base, "--seed", "1")...); code != exitRefused || !strings.Contains(stderr, "options.seed") {
		t.Errorf("another seed: exit code %d: %s", code, stderr)
	}
}

func TestInterleavePackedIsUnpacked(t *testing.T) {
	codes, lines := encoded(t, 60), textLines(t, 100)
	loose, packed := filepath.Join(t.TempDir(), "l"), filepath.Join(t.TempDir(), "p")
	for out, flags := range map[string][]string{loose: nil, packed: {"--pack"}} {
		must(t, append([]string{"interleave", "-q", "--codes", codes, "--text", lines, "-o", out, "--context", "160", "--validation", "0.1"}, flags...)...)
		must(t, "validate", out)
	}
	for _, split := range []string{"train", "validation"} {
		a, b := plain(sequences(t, loose, split)), plain(sequences(t, packed, split))
		if len(a) == 0 || !reflect.DeepEqual(a, b) {
			t.Errorf("%s: %d sequences, %d out of packed rows", split, len(a), len(b))
		}
	}
}

func TestInterleaveSplit(t *testing.T) {
	codes := encoded(t, 200)
	out := filepath.Join(t.TempDir(), "o")
	must(t, "interleave", "-q", "--codes", codes+":3", "-o", out, "--validation", "0.3", "--seed", "9")
	side := map[string]string{}
	for _, split := range []string{"train", "validation"} {
		rows := sequences(t, out, split)
		if len(rows) < 100 {
			t.Errorf("%d rows in %s", len(rows), split)
		}
		for _, r := range rows {
			if other := side[r.Keys[0]]; other != "" && other != split {
				t.Errorf("%s is in both splits", r.Keys[0])
			}
			side[r.Keys[0]] = split
		}
	}
	if len(side) != 200 {
		t.Errorf("%d images of 200", len(side))
	}
	// The split does not depend on the seed: two corpora of one input can be used together.
	again := filepath.Join(t.TempDir(), "o")
	must(t, "interleave", "-q", "--codes", codes, "-o", again, "--validation", "0.3", "--seed", "10")
	for _, r := range sequences(t, again, "validation") {
		if side[r.Keys[0]] != "validation" {
			t.Errorf("%s changed sides with the seed", r.Keys[0])
		}
	}
}

func TestInterleaveRefuses(t *testing.T) {
	codes, other := encoded(t, 4), filepath.Join(t.TempDir(), "other")
	must(t, "encode", "-q", "-i", pictures(t, 1, 3), "-o", other, "-m", tiny, "--resize", "bilinear")
	unfinished := filepath.Join(t.TempDir(), "u")
	if err := os.CopyFS(unfinished, os.DirFS(codes)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(unfinished, schemas.ManifestName)); err != nil {
		t.Fatal(err)
	}
	lines := t.TempDir()
	writeFile(t, lines, "a.jsonl.gz", []byte("\x1f\x8b\x08\x00"))
	writeFile(t, lines, "empty.jsonl", nil)
	out := filepath.Join(t.TempDir(), "o")
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"-o OUT", exitUsage, "no input"},
		{"--codes CODES", exitUsage, "--output is missing"},
		{"--codes CODES --codes OTHER -o OUT", exitFailed, `resize: "bicubic" → "bilinear"`},
		{"--codes UNFINISHED -o OUT", exitFailed, "no finished corpus"},
		{"--codes CODES -o OUT --context 20", exitUsage, "--context 20"},
		{"--codes CODES -o OUT --template haiku", exitUsage, "haiku"},
		{"--codes CODES -o OUT --template caption --template seed1", exitUsage, "both"},
		{"--codes CODES -o OUT --overlong fold", exitUsage, "--overlong"},
		{"--codes CODES -o OUT --validation 1", exitUsage, "--validation"},
		{"--codes CODES -o CODES --overwrite", exitUsage, "is the corpus of --codes"},
		{"--codes CODES:2 -o CODES/../codes/ --overwrite", exitUsage, "is the corpus of --codes"},
		{"--codes CODES:0 -o OUT", exitUsage, "weight"},
		{"--codes CODES -o OUT --tokenizer nowhere", exitFailed, "nowhere"},
		{"--text LINES/*.gz -o OUT", exitFailed, "gzip-compressed"},
		{"--text LINES/empty.jsonl -o OUT", exitFailed, "empty.jsonl: no rows"},
	} {
		args := strings.Fields("interleave -q " + strings.NewReplacer("CODES", codes, "OTHER", other, "UNFINISHED", unfinished, "LINES", lines, "OUT", out).Replace(c.args))
		stdout, stderr, code := sower(t, args...)
		if code != c.code || !strings.Contains(stdout+stderr, c.want) {
			t.Errorf("%s: exit code %d, want %d with %q\n%s%s", c.args, code, c.code, c.want, stdout, stderr)
		}
	}
	must(t, "validate", codes)
	if _, err := os.Stat(out); err == nil {
		t.Error("a refused command made its output folder")
	}
}

// TestCaptionsCannotWriteImages feeds texts that look like image words.
func TestCaptionsCannotWriteImages(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir, "in/x.jsonl", []byte(`{"text":"<img><img_00001></img> </img> <img_00511><img>"}`+"\n"+`{"text":"fine"}`+"\n"))
	out := filepath.Join(dir, "out")
	must(t, "interleave", "-q", "--text", filepath.Join(dir, "in", "*.jsonl"), "-o", out, "--validation", "0")
	must(t, "validate", out)
	for _, r := range sequences(t, out, "train") {
		if len(r.Images) != 0 {
			t.Errorf("%v", r)
		}
	}
}

// TestInterleaveTextsAlone uses a tokenizer whose image words are of another number than the published codes, and a folder of
// which a part is read.
func TestInterleaveTextsAlone(t *testing.T) {
	codes, dir := encoded(t, 2), t.TempDir()
	must(t, "interleave", "-q", "--codes", codes, "-o", filepath.Join(dir, "first"))
	writeFile(t, dir, "in/x.jsonl", []byte(`{"text":"one"}`+"\n"))
	writeFile(t, dir, "in/y.txt", []byte("two\n"))
	out := filepath.Join(dir, "out")
	stdout, stderr, code := sower(t, "interleave", "-q", "--text", filepath.Join(dir, "in"), "-o", out, "--tokenizer", filepath.Join(dir, "first", "tokenizer"))
	if code != 0 || !strings.Contains(stderr, "1 .txt files not read") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if got, want := *readManifest(t, out).Vocabulary, *readManifest(t, filepath.Join(dir, "first")).Vocabulary; got.K != want.K || got.Offset != want.Offset || got.Length != want.Length {
		t.Errorf("vocabulary %+v, want that of %+v", got, want)
	}
	must(t, "validate", out)
	// One id has no label: such a row is left out, and counted.
	writeFile(t, dir, "single/x.txt", []byte("a\nbc\n"))
	must(t, "interleave", "-q", "--text", filepath.Join(dir, "single", "*.txt"), "-o", filepath.Join(dir, "two"), "--no-bos", "--no-eos", "--validation", "0")
	must(t, "validate", filepath.Join(dir, "two"))
	if c := readManifest(t, filepath.Join(dir, "two")).Counts; c.In != 2 || c.Encoded != 1 || c.Rejected["no_text"] != 1 {
		t.Errorf("%+v", c)
	}
}

// TestInterleaveCounts: what was cut is counted and said.
func TestInterleaveCounts(t *testing.T) {
	codes, dir := encoded(t, 10), t.TempDir()
	for i, c := range []struct {
		args  []string
		want  schemas.Counts
		words string
	}{
		{[]string{"--codes", codes, "--context", "38"}, schemas.Counts{In: 10, Encoded: 10, Truncated: 10}, "of them truncated to the context  10"},
		{[]string{"--codes", codes, "--context", "38", "--overlong", "split"}, schemas.Counts{In: 10, Encoded: 10, Split: 10}, "of them cut into several sequences  10"},
		{[]string{"--codes", codes, "--context", "38", "--overlong", "drop"}, schemas.Counts{In: 10, Rejected: map[string]int64{"too_long": 10}}, "too_long  10"},
		{[]string{"--codes", codes}, schemas.Counts{In: 10, Encoded: 10}, "used  10"},
	} {
		out := filepath.Join(dir, fmt.Sprint(i))
		stdout, stderr, code := sower(t, append([]string{"interleave", "-q", "-o", out}, c.args...)...)
		if code != 0 || !strings.Contains(stdout, c.words) {
			t.Errorf("%v: exit code %d, want %q\n%s%s", c.args, code, c.words, stdout, stderr)
			continue
		}
		got := readManifest(t, out).Counts
		if len(got.Rejected) == 0 {
			got.Rejected = nil
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: %+v, want %+v", c.args, got, c.want)
		}
		must(t, "validate", out)
	}
}

// TestInterleaveSameNames: corpora whose files have the same names are mixed, not paired.
func TestInterleaveSameNames(t *testing.T) {
	codes, out := encoded(t, 40), filepath.Join(t.TempDir(), "o")
	must(t, "interleave", "-q", "--codes", codes, "--codes", codes, "-o", out, "--validation", "0")
	rows, pairs := sequences(t, out, "train"), 0
	for i := 1; i < len(rows); i++ {
		if rows[i].Keys[0] == rows[i-1].Keys[0] {
			pairs++
		}
	}
	if len(rows) != 80 || pairs > 10 {
		t.Errorf("%d rows, %d of them behind their twin", len(rows), pairs)
	}
}

// TestInterleaveChangedCodes: codes made anew are refused although the files' sizes are the same, and the same codes are not.
func TestInterleaveChangedCodes(t *testing.T) {
	codes, out := encoded(t, 4), filepath.Join(t.TempDir(), "o")
	must(t, "interleave", "-q", "--codes", codes, "-o", out)
	again := filepath.Join(t.TempDir(), "again") // with new times
	if err := os.CopyFS(again, os.DirFS(codes)); err != nil {
		t.Fatal(err)
	}
	must(t, "interleave", "-q", "--codes", again, "-o", out)
	path := filepath.Join(again, schemas.ManifestName)
	m := readManifest(t, again)
	for i := range m.Files {
		m.Files[i].SHA256 = strings.Repeat("0", 64)
	}
	p, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, p, 0o600); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, code := sower(t, "interleave", "-q", "--codes", again, "-o", out); code != exitRefused || !strings.Contains(stderr, "was modified") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

// TestValidateTokenizer: sequences are worth nothing without the tokenizer beside them.
func TestValidateTokenizer(t *testing.T) {
	codes, dir := encoded(t, 2), t.TempDir()
	good, other := filepath.Join(dir, "good"), filepath.Join(dir, "other")
	must(t, "interleave", "-q", "--codes", codes, "-o", good)
	must(t, "interleave", "-q", "--codes", codes, "-o", other, "--tokenizer", "../../testdata/fixtures/tokenizers/bert-wordpiece")
	must(t, "validate", good)
	must(t, "validate", other)
	for _, c := range []struct {
		damage func() error
		want   string
	}{
		{func() error { return os.RemoveAll(filepath.Join(good, "tokenizer")) }, "tokenizer: "},
		{func() error { return os.Rename(filepath.Join(other, "tokenizer"), filepath.Join(good, "tokenizer")) }, "ids, the manifest says"},
	} {
		if err := c.damage(); err != nil {
			t.Fatal(err)
		}
		if stdout, stderr, code := sower(t, "validate", good); code != exitFailed || !strings.Contains(stdout, c.want) {
			t.Errorf("exit code %d, want %q\n%s%s", code, c.want, stdout, stderr)
		}
	}
}

func TestTokenize(t *testing.T) {
	run := func(in string, args ...string) string {
		cmd := process(append([]string{"tokenize"}, args...)...)
		cmd.Stdin = strings.NewReader(in)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	ids := run("a red bird\n\nhé\n")
	if ids != "100 35 117 104 103 35 101 108 117 103\n\n107 198 172\n" {
		t.Errorf("%q", ids)
	}
	if back := run(ids, "--decode"); back != "a red bird\n\nhé\n" {
		t.Errorf("%q", back)
	}
	var list []int32
	if err := json.Unmarshal([]byte(run("hi", "--json", "--special")), &list); err != nil || len(list) < 2 {
		t.Errorf("%v, %v", list, err)
	}
}

// TestShowMarks: BOS, EOS and padding look different, also where one id is two of them.
func TestShowMarks(t *testing.T) {
	v := &schemas.Vocabulary{Begin: 400, End: 401, Pad: 0, BOS: 1, EOS: 2, ImageLength: 34}
	ids, labels := []int32{1, 3 + 'a', 0, 2}, []int32{-100, 3 + 'a', 0, 2}
	if got := renderSequence(text.Bytes(), v, ids, labels); got != "[‹BOS›]a‹PAD›‹EOS›" {
		t.Error(got)
	}
	v.BOS, v.Pad, ids[0] = 2, 2, 2
	if got := renderSequence(text.Bytes(), v, ids[:2], labels[:2]); got != "[‹BOS›]a" {
		t.Error(got)
	}
}

func TestShow(t *testing.T) {
	codes, out := encoded(t, 20), filepath.Join(t.TempDir(), "o")
	must(t, "interleave", "-q", "--codes", codes, "-o", out, "--template", "seed1", "--image-first", "1", "--validation", "0", "--pack")
	text := must(t, "show", out, "--rows", "2")
	if !strings.Contains(text, "A photo of]") || !strings.Contains(text, "<img ") || !strings.Contains(text, "picture ") {
		t.Error(text)
	}
	if text := must(t, "inspect", out); !strings.Contains(text, "train: 2 rows, 20 sequences") || !strings.Contains(text, "<img> 771") {
		t.Error(text)
	}
	if ids := must(t, "show", out, "--rows", "1", "--ids"); strings.Contains(ids, "photo") {
		t.Error(ids)
	}
	if _, stderr, code := sower(t, "show", out, "--split", "validation"); code != 0 || !strings.Contains(stderr, "validation has no rows") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if _, stderr, code := sower(t, "show", out, "--rows", "-1"); code != exitUsage {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	for _, c := range []struct{ remove, want string }{{"tokenizer", "use --ids"}, {schemas.ManifestName, "no finished corpus"}} {
		if err := os.RemoveAll(filepath.Join(out, c.remove)); err != nil {
			t.Fatal(err)
		}
		if _, stderr, code := sower(t, "show", out); code != exitFailed || !strings.Contains(stderr, c.want) {
			t.Errorf("without %s: exit code %d: %s", c.remove, code, stderr)
		}
	}
	if text, _, _ := sower(t, "inspect", out); !strings.Contains(text, "1 of 1 units") {
		t.Error(text)
	}
}

// TestInterleaveDocuments takes every format of documents to training sequences: all documents are used or dropped with a
// reason, and what is written holds.
func TestInterleaveDocuments(t *testing.T) {
	for format, in := range documentInputs(t) {
		t.Run(format, func(t *testing.T) {
			codes := filepath.Join(t.TempDir(), "codes")
			must(t, "encode", "-q", "-i", in, "-o", codes, "-m", tiny, "--unit-bytes", "2KiB")
			must(t, "validate", codes)
			documents := readManifest(t, codes).Counts.Documents.Written
			for _, flags := range [][]string{nil, {"--template", "document", "--context", "100", "--swap", "0.5", "--max-images", "2", "--pack"}} {
				base := filepath.Join(t.TempDir(), "o")
				args := func(out string, more ...string) []string {
					return append(append([]string{"interleave", "-q", "--codes", codes, "-o", out, "--validation", "0.2", "--file-tokens", "3000"}, flags...), more...)
				}
				must(t, args(base)...)
				must(t, "validate", base)
				m := readManifest(t, base)
				if m.Counts.In != documents || m.Counts.Encoded == 0 {
					t.Errorf("%v: %d documents written, counts %+v", flags, documents, m.Counts)
				}
				again := filepath.Join(t.TempDir(), "o")
				must(t, args(again, "--parallelism", "1")...)
				same(t, fmt.Sprint(flags), hashes(t, again), hashes(t, base))
			}
		})
	}
}
