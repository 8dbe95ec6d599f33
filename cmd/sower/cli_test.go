package main

import (
	"bytes"
	"context"
	"image/png"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"sower/internal/blob"
	"sower/internal/corpus"
	"sower/internal/pixels"
	"sower/internal/shards/shardtest"
	"sower/internal/weights"
	"sower/schemas"
)

// TestArguments checks that wrong arguments say what is wrong and what to do, with the documented exit codes.
func TestArguments(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir, "in/a.tar", shardtest.Tar(shardtest.Captioned("a", shardtest.JPEG(20, 20, 1), "x")))
	other := writeFile(t, dir, "other/b.bin", []byte("neither"))
	in, out, empty := filepath.Join(dir, "in"), filepath.Join(dir, "out"), filepath.Join(dir, "x.tar")
	if err := os.Mkdir(empty, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"encode", exitUsage, "--input is missing"},
		{"encode -i IN", exitUsage, "--output is missing"},
		{"encode -i IN -o OUT", exitUsage, "--model is missing"},
		{"encode -i IN -o OUT -m standin:tiny:0 --resize lanczos", exitUsage, "lanczos"},
		{"encode -i IN -o OUT -m standin:tiny:0 --max-aspect 0.5 --min-side -3", exitUsage, "--min-side -3"},
		{"encode -i IN -o OUT -m standin:tiny:0 --max-failure-rate 0", exitUsage, "--max-failure-rate"},
		{"encode -i IN -o OUT -m standin:tiny:0 --unit-bytes many", exitUsage, "no size"},
		{"encode -i IN -o OUT -m standin:tiny:0 --no-such-flag", exitUsage, "no-such-flag"},
		{"encode -i IN -o OUT -m standin:tiny:0 stray", exitUsage, "quotes"},
		{"encode -i IN -o OUT -m standin:tiny:0 --runner spork", exitUsage, "have: dataflow, flink, local"},
		{"encode -i IN -o OUT -m standin:tiny:0 --parallelism 99", exitUsage, "--parallelism 99"},
		{"encode -i IN -o OUT -m standin:tiny:0 --device cuda", exitFailed, `"cuda"`},
		{"encode -i IN -o OUT -m standin:tiny:0 --format zip", exitUsage, "have: csv"},
		{"encode -i IN -o IN/sub -m standin:tiny:0", exitUsage, "inside"},
		{"encode -i OTHER -o OUT -m standin:tiny:0", exitFailed, "OTHER: cannot tell its format"},
		{"encode -i EMPTY -o OUT -m standin:tiny:0", exitFailed, "an empty folder"},
		{"encode -i IN/none.tar -o OUT -m standin:tiny:0", exitFailed, "none.tar"},
		{"encode -i IN/*.jpg -o OUT -m standin:tiny:0", exitFailed, "*.jpg"},
		{"encode -i gs://bucket/x.tar -o OUT -m standin:tiny:0", exitFailed, "gs"},
		{"encode -i IN -o OUT -m standin:huge:0", exitFailed, "have: seed2, tiny"},
		{"encode -i IN -o OUT -m standin:tiny:x", exitFailed, "no number"},
		{"encode -i IN -o OUT -m nowhere", exitFailed, "no such folder"},
		{"encode -i IN -o OUT -m IN", exitFailed, "seed_quantizer.pt"},
		{"encode -i IN -o OUT -m IN/a.tar", exitFailed, "is a file"},
		{"detokenize --codes nowhere -o OUT -m standin:tiny:0", exitFailed, "no such folder"},
		{"detokenize --codes IN -o OUT -m standin:tiny:0", exitFailed, "_manifest.json"},
		{"inspect IN", exitFailed, "no corpus"},
		{"inspect", exitUsage, "want one"},
		{"model inspect nowhere", exitFailed, "no such folder"},
		{"model inspect null --json", exitOK, `"encodes": false`},
		{"model", exitOK, "model convert"},
		{"model inspct", exitUsage, "inspct"},
		{"model convert standin:tiny:0 OUT --dtype f8", exitUsage, "--dtype"},
		{"model convert standin:tiny:0 IN", exitFailed, "not empty"},
		{"preview -o OUT", exitUsage, "no images"},
		{"preview x.png", exitUsage, "--output is missing"},
		{"preview IN/a.tar -o OUT", exitFailed, "1 of 1 images failed"},
		{"devices", exitOK, "auto     would take"},
		{"devices --json", exitOK, `"auto":`},
		{"doctor", exitOK, "cpu"},
		{"agree", exitUsage, "no pictures"},
		{"agree x.png --a float8x", exitUsage, "--a float8x"},
		{"agree x.png --resize nearest", exitUsage, "bicubic or bilinear"},
		{"agree nowhere.png -m standin:tiny:0", exitFailed, "1 of 1 pictures could not be read"},
		{"encode --input IN/a.tar -o OUT -m standin:tiny:0 --precision float16", exitFailed, "for GPUs"},
		{"encode --input IN/a.tar -o OUT -m standin:tiny:0 --device cuda:x", exitFailed, "not the number of a device"},
		{"harvest", exitUsage, "unknown command"},
		{"--help", exitOK, "sower encode --input"},
		{"encode --help", exitOK, "--min-similarity"},
		{"version", exitOK, "numerics version"},
	} {
		args := strings.Fields(strings.NewReplacer("IN", in, "OUT", out, "EMPTY", empty, "OTHER", other).Replace(c.args))
		stdout, stderr, code := sower(t, args...)
		want := strings.ReplaceAll(c.want, "OTHER", other)
		if code != c.code || !strings.Contains(stdout+stderr, want) {
			t.Errorf("sower %s: exit code %d, want %d with %q\n%s%s", c.args, code, c.code, c.want, stdout, stderr)
		}
		if strings.Contains(stdout+stderr, "goroutine ") {
			t.Errorf("sower %s: a stack trace", c.args)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a refused command made its output folder")
	}
}

func TestDemo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	for range 2 {
		text := must(t, "demo", "-q", "--output", dir)
		for _, want := range []string{"encoded  64", "PSNR", "Sower trained on clip art", "<img ", "used  64", filepath.Join(dir, "corpus", "data"), filepath.Join(dir, "sequences", "data")} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in\n%s", want, text)
			}
		}
	}
	for _, name := range []string{"codes.png", "nearest.png", "imagined.png"} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Size() < 1000 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if rows, rejects := readAll(t, filepath.Join(dir, "corpus")); len(rows) != 64 || len(rejects) != 0 {
		t.Errorf("%d rows, %d rejects", len(rows), len(rejects))
	}
	evaluateLanguage(t, dir)
}

func TestInspect(t *testing.T) {
	in, out := pictures(t, 1, 12), filepath.Join(t.TempDir(), "out")
	must(t, "encode", "-q", "-i", in, "-o", out, "-m", tiny)
	if text := must(t, "inspect", out); !strings.Contains(text, "finished, 1 units") || !strings.Contains(text, "picture 0") {
		t.Error(text)
	}
	v := decodeJSON(t, must(t, "inspect", out, "--json", "--rows", "12"))
	if v["rows"].(float64) != 12 || len(v["examples"].([]any)) != 12 || v["finished"] != true {
		t.Errorf("%v", v)
	}
	if err := os.Remove(filepath.Join(out, schemas.ManifestName)); err != nil {
		t.Fatal(err)
	}
	if text := must(t, "inspect", out); !strings.Contains(text, "NOT finished: 1 of 1") {
		t.Error(text)
	}
}

// TestDetokenize follows codes to embeddings, through the same weights in another form, and refuses other ones.
func TestDetokenize(t *testing.T) {
	dir := t.TempDir()
	in, codes, seed := pictures(t, 2, 20), filepath.Join(dir, "codes"), filepath.Join(dir, "seed")
	must(t, "encode", "-q", "-i", in, "-o", codes, "-m", tiny, "--unit-bytes", "16KiB")
	must(t, "model", "convert", tiny, seed)
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	must(t, "detokenize", "-q", "--codes", codes, "-o", a, "-m", tiny)
	must(t, "detokenize", "-q", "--codes", codes, "-o", b, "-m", seed, "--parallelism", "4", "--threads", "1")
	same(t, "converted weights", hashes(t, b), hashes(t, a))
	if _, stderr, code := sower(t, "detokenize", "-q", "--codes", codes, "-o", filepath.Join(dir, "c"), "-m", "standin:tiny:1"); code != exitFailed || !strings.Contains(stderr, "weights that made the codes") {
		t.Errorf("other weights: exit code %d: %s", code, stderr)
	}
	rows, _ := readAll(t, codes)
	ctx := context.Background()
	store, err := blob.OpenBucket(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	parts, err := corpus.Parts(ctx, store, "data")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, p := range parts {
		err := corpus.Read(ctx, store, p.Name, func(e schemas.EmbeddingRow) error {
			if e.Key != rows[n].Key || e.Source != rows[n].Source || e.Row != rows[n].Row || len(e.Embedding) != 40 {
				t.Errorf("row %d: %+v, codes are of %+v", n, e, rows[n])
			}
			n++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n != len(rows) || n != 40 {
		t.Errorf("%d embeddings of %d rows", n, len(rows))
	}
	must(t, "detokenize", "-q", "--codes", codes, "-o", a, "-m", tiny) // finished already
	if _, stderr, code := sower(t, "detokenize", "-q", "--codes", a, "-o", filepath.Join(dir, "d"), "-m", tiny); code != exitFailed || !strings.Contains(stderr, "written by sower detokenize") {
		t.Errorf("embeddings as codes: exit code %d: %s", code, stderr)
	}
}

func TestModel(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "m")
	must(t, "model", "convert", tiny, dir)
	original := decodeJSON(t, must(t, "model", "inspect", tiny, "--json"))
	converted := decodeJSON(t, must(t, "model", "inspect", dir, "--json"))
	if original["weights"] != converted["weights"] || original["weights"] == "" || converted["encodes"] != true || converted["detokenizes"] != true {
		t.Errorf("%v\n%v", original, converted)
	}
	half := filepath.Join(t.TempDir(), "h")
	must(t, "model", "convert", tiny, half, "--dtype", "bf16")
	if v := decodeJSON(t, must(t, "model", "inspect", half, "--json")); v["weights"] == original["weights"] {
		t.Error("rounded weights have the same digest")
	}
	// A missing tensor is named, by whatever command needs it.
	m, err := weights.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	config, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), bytes.Replace(config, []byte(`"vit_depth": 3`), []byte(`"vit_depth": 4`), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	_, stderr, code := sower(t, "encode", "-q", "-i", pictures(t, 1, 1), "-o", filepath.Join(t.TempDir(), "o"), "-m", dir)
	if code != exitFailed || !strings.Contains(stderr, "visual_encoder.blocks.3.attn.qkv.weight is missing") || !strings.Contains(stderr, "13 of") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestPreview(t *testing.T) {
	dir := t.TempDir()
	j, p := shardtest.JPEG(90, 60, 1), shardtest.PNG(50, 80, 2)
	files := []string{writeFile(t, dir, "a/cat.jpg", j), writeFile(t, dir, "a/dog.png", p), writeFile(t, dir, "b/dog.jpg", j), writeFile(t, dir, "c/dog.jpg", j)}
	out := filepath.Join(dir, "seen")
	must(t, append([]string{"preview", "--output", out, "--resize", "bilinear", "--size", "56"}, files...)...)
	entries, err := os.ReadDir(out)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{"cat.png", "dog.jpg.2.png", "dog.jpg.png", "dog.png.png"}; !reflect.DeepEqual(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
	f, err := os.Open(filepath.Join(out, "cat.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	im, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 3*56*56)
	if _, _, err := pixels.Prepare(want, j, 56, pixels.Bilinear, pixels.Limits{}); err != nil {
		t.Fatal(err)
	}
	for i := range 56 * 56 {
		r, g, b, _ := im.At(i%56, i/56).RGBA()
		if byte(r>>8) != want[3*i] || byte(g>>8) != want[3*i+1] || byte(b>>8) != want[3*i+2] {
			t.Fatalf("pixel %d differs from what the model gets", i)
		}
	}
}

// TestInterrupt sends the program a Ctrl-C in the middle of a run.
func TestInterrupt(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a process")
	}
	in, out := pictures(t, 10, 300), filepath.Join(t.TempDir(), "out")
	args := []string{"encode", "-i", in, "-o", out, "-m", tiny, "--unit-bytes", "64KiB"}
	cmd := process(args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) { // until it is at work
		if parts, _ := filepath.Glob(filepath.Join(out, "data", "part-*")); len(parts) > 1 {
			break
		}
	}
	began := time.Now()
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted || !strings.Contains(stderr.String(), "interrupted") {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	t.Logf("stopped after %v", time.Since(began))
	if left := leftovers(t, out); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	rows, _ := readAll(t, out) // every file there is whole
	if len(rows) == 0 || len(rows) == 3000 {
		t.Errorf("%d rows after an interrupt", len(rows))
	}
	must(t, append(args, "-q")...)
	if m := readManifest(t, out); m.Counts.Encoded != 3000 || m.Resumed == 0 {
		t.Errorf("after the second run: %+v, %d resumed", m.Counts, m.Resumed)
	}
}

// TestTwoRuns starts a run where one is at work: it is turned away, and the first comes to its end.
func TestTwoRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a process")
	}
	in, out := pictures(t, 10, 200), filepath.Join(t.TempDir(), "out")
	args := []string{"encode", "-i", in, "-o", out, "-m", tiny, "--unit-bytes", "64KiB"}
	cmd := process(args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if parts, _ := filepath.Glob(filepath.Join(out, "data", "part-*")); len(parts) > 0 {
			break
		}
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if _, text, code := sower(t, args...); code != exitFailed || !strings.Contains(text, "another run is at work") {
		t.Errorf("exit code %d: %s", code, text)
	}
	if _, text, code := sower(t, append(args, "--overwrite")...); code != exitFailed || !strings.Contains(text, "another run is at work") {
		t.Errorf("with --overwrite: exit code %d: %s", code, text)
	}
	cmd.Process.Signal(syscall.SIGCONT)
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if rows, _ := readAll(t, out); len(rows) != 2000 {
		t.Errorf("%d rows", len(rows))
	}
}

// TestWorkerForm starts the program as a runner does, without a subcommand.
func TestWorkerForm(t *testing.T) {
	cmd := process("--worker", "--id=1", "--logging_endpoint=127.0.0.1:1", "--control_endpoint=127.0.0.1:1")
	done := make(chan error, 1)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { done <- cmd.Wait() }()
	select {
	case <-done: // nobody listens there: the harness gives up
		if strings.Contains(stderr.String(), "unknown command") || strings.Contains(stderr.String(), "unknown flag") {
			t.Errorf("taken for a command line: %s", stderr.String())
		}
	case <-time.After(3 * time.Second): // still trying to connect
		cmd.Process.Kill()
		<-done
	}
}

// TestPartGone takes a part out of a finished corpus: nobody may read the rest as if it were all.
func TestPartGone(t *testing.T) {
	codes := filepath.Join(t.TempDir(), "codes")
	must(t, "encode", "-q", "-i", pictures(t, 2, 20), "-o", codes, "-m", tiny, "--unit-bytes", "16KiB")
	parts, err := filepath.Glob(filepath.Join(codes, "data", "part-00001-*"))
	if err != nil || len(parts) != 1 {
		t.Fatal(parts, err)
	}
	if err := os.Remove(parts[0]); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{{"detokenize", "-m", tiny}, {"interleave"}} {
		out := filepath.Join(t.TempDir(), "out")
		args := append(command, "-q", "--codes", codes, "-o", out)
		if _, stderr, code := sower(t, args...); code != exitFailed || !strings.Contains(stderr, "part-00001") || !strings.Contains(stderr, "missing") {
			t.Errorf("%v: exit code %d: %s", args, code, stderr)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s made its output folder", command[0])
		}
	}
}
