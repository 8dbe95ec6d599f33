package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"sower/internal/blob/gcstest"
	"sower/internal/launch"
	"sower/internal/shards/shardtest"
	"sower/schemas"
)

// repair is a retry of an input that is put right between two runs.
type repair struct {
	name   string
	build  func(t *testing.T, dir string) []string // writes the input below dir and returns encode's flags for it
	break_ func(t *testing.T, dir string)
	mend   func(t *testing.T, dir string)
	flags  []string // of retry
	// kept says that parts of units without a retried row must not be touched; gained is how many images get codes.
	kept   bool
	gained int64
	// reused is how many of the images read again keep their codes without the model; -1 is not looked at.
	reused int64
}

func overwrite(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// table writes lines of JSON that name images, and the images in a folder of their own.
func table(t *testing.T, dir string, rows int) []string {
	t.Helper()
	var lines bytes.Buffer
	for i := range rows {
		fmt.Fprintf(&lines, "{\"id\":\"k%03d\",\"image\":\"%03d.jpg\",\"caption\":\"picture %d of a long story that fills the line\"}\n", i, i, i)
		writeFile(t, dir, fmt.Sprintf("images/%03d.jpg", i), shardtest.JPEG(20+i%9, 16+i%7, uint32(i)))
	}
	in := writeFile(t, dir, "in/rows.jsonl", lines.Bytes())
	return []string{"-i", filepath.Dir(in), "--image-root", filepath.Join(dir, "images"), "--unit-bytes", "1KiB"}
}

func conversations(t *testing.T, dir string) []string {
	t.Helper()
	var lines bytes.Buffer
	for i := range 40 {
		fmt.Fprintf(&lines, `{"id":"d%d","image":["%d-a.jpg","%d-b.jpg"],"conversations":[{"from":"human","value":"<image>\nand <image>?"},{"from":"gpt","value":"two pictures %d"}]}`+"\n", i, i, i, i)
		writeFile(t, dir, fmt.Sprintf("images/%d-a.jpg", i), shardtest.JPEG(20+i%9, 16, uint32(i)))
		writeFile(t, dir, fmt.Sprintf("images/%d-b.jpg", i), shardtest.JPEG(16, 20+i%9, uint32(100+i)))
	}
	in := writeFile(t, dir, "in/talk.jsonl", lines.Bytes())
	return []string{"-i", filepath.Dir(in), "--image-root", filepath.Join(dir, "images"), "--unit-bytes", "1KiB"}
}

// tars writes archives into dir/in.
func tars(t *testing.T, dir string, n, rows int) []string {
	t.Helper()
	for i := range n {
		writeFile(t, dir, fmt.Sprintf("in/%05d.tar", i), tarOf(i, rows))
	}
	return []string{"-i", filepath.Join(dir, "in", "*.tar"), "--unit-bytes", "32KiB"}
}

func tarOf(i, rows int) []byte {
	var samples []shardtest.Sample
	for j := range rows {
		n := i*rows + j
		samples = append(samples, shardtest.Captioned(fmt.Sprintf("%05d%04d", i, j), shardtest.JPEG(20+n%13, 16+n%7, uint32(n)), fmt.Sprintf("picture %d", n%5)))
	}
	return shardtest.Tar(samples...)
}

func remove(names ...string) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		for _, n := range names {
			if err := os.Remove(filepath.Join(dir, n)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func garble(names ...string) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		for _, n := range names {
			overwrite(t, filepath.Join(dir, n), []byte("<html>503</html>"))
		}
	}
}

func putBack(names map[string][]byte) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		for n, data := range names {
			overwrite(t, filepath.Join(dir, n), data)
		}
	}
}

func picture(i int) []byte { return shardtest.JPEG(20+i%9, 16+i%7, uint32(i)) }

var repairs = []repair{
	{name: "images that were not there", build: func(t *testing.T, dir string) []string { return table(t, dir, 100) },
		break_: remove("images/003.jpg", "images/004.jpg", "images/077.jpg"),
		mend:   putBack(map[string][]byte{"images/003.jpg": picture(3), "images/004.jpg": picture(4), "images/077.jpg": picture(77)}),
		kept:   true, gained: 3, reused: -1},
	{name: "one of two images", build: func(t *testing.T, dir string) []string { return table(t, dir, 30) },
		break_: garble("images/003.jpg", "images/020.jpg"), mend: putBack(map[string][]byte{"images/003.jpg": picture(3)}), kept: true, gained: 1, reused: -1},
	{name: "all again", build: func(t *testing.T, dir string) []string { return table(t, dir, 30) },
		break_: garble("images/003.jpg"), mend: putBack(map[string][]byte{"images/003.jpg": picture(3), "images/005.jpg": picture(99)}),
		flags: []string{"--all"}, gained: 1, reused: 28},
	{name: "an archive that was cut off", build: func(t *testing.T, dir string) []string { return tars(t, dir, 6, 20) },
		break_: func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, "in/00002.tar"), 12345); err != nil {
				t.Fatal(err)
			}
		},
		mend: putBack(map[string][]byte{"in/00002.tar": tarOf(2, 20)}), gained: -1, reused: -1},
	{name: "an archive that was cut off, with --dedup", build: func(t *testing.T, dir string) []string { return append(tars(t, dir, 6, 20), "--dedup") },
		break_: func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, "in/00002.tar"), 12345); err != nil {
				t.Fatal(err)
			}
		},
		mend: putBack(map[string][]byte{"in/00002.tar": tarOf(2, 20)}), gained: -1, reused: -1},
	{name: "an archive damaged in the middle", build: func(t *testing.T, dir string) []string { return tars(t, dir, 6, 20) },
		break_: func(t *testing.T, dir string) {
			p := tarOf(4, 20)
			copy(p[len(p)/2&^511:], bytes.Repeat([]byte("x"), 512))
			overwrite(t, filepath.Join(dir, "in/00004.tar"), p)
		},
		mend: putBack(map[string][]byte{"in/00004.tar": tarOf(4, 20)}), kept: true, gained: -1, reused: -1},
	{name: "an archive that was empty", build: func(t *testing.T, dir string) []string { return tars(t, dir, 5, 20) },
		break_: func(t *testing.T, dir string) { overwrite(t, filepath.Join(dir, "in/00000.tar"), nil) },
		mend:   putBack(map[string][]byte{"in/00000.tar": tarOf(0, 20)}), gained: 20, reused: 0},
	{name: "images of documents", build: conversations,
		break_: remove("images/3-b.jpg", "images/30-a.jpg", "images/30-b.jpg"),
		mend:   putBack(map[string][]byte{"images/3-b.jpg": picture(1), "images/30-a.jpg": picture(2)}), kept: true, gained: 2, reused: -1},
	{name: "images of documents that are dropped", build: func(t *testing.T, dir string) []string {
		return append(conversations(t, dir), "--missing-image", "drop-document")
	},
		break_: garble("images/3-b.jpg", "images/30-a.jpg", "images/30-b.jpg"),
		mend:   putBack(map[string][]byte{"images/3-b.jpg": picture(1), "images/30-a.jpg": picture(2)}), kept: true, gained: 2, reused: -1},
	{name: "documents and a line", build: conversations,
		break_: func(t *testing.T, dir string) {
			remove("images/3-b.jpg")(t, dir)
			p, err := os.ReadFile(filepath.Join(dir, "in/talk.jsonl"))
			if err != nil {
				t.Fatal(err)
			}
			writeFile(t, dir, "whole.jsonl", p)
			overwrite(t, filepath.Join(dir, "in/talk.jsonl"), bytes.Replace(p, []byte(`{"id":"d20"`), []byte(`{"id:"d20"`), 1))
		},
		mend: func(t *testing.T, dir string) {
			p, err := os.ReadFile(filepath.Join(dir, "whole.jsonl"))
			if err != nil {
				t.Fatal(err)
			}
			putBack(map[string][]byte{"images/3-b.jpg": picture(1), "in/talk.jsonl": p})(t, dir)
		}, gained: 3, reused: 77},
}

// encodeInto runs encode on a repair's input.
func encodeInto(t *testing.T, out string, flags []string) {
	t.Helper()
	must(t, append([]string{"encode", "-q", "-m", tiny, "--max-failure-rate", "1", "-o", out}, flags...)...)
}

// TestRetryEqualsCleanRun breaks inputs, encodes, repairs them and retries: the corpus must be that of a clean run, its good units
// untouched where the plan is the same.
func TestRetryEqualsCleanRun(t *testing.T) {
	for _, r := range repairs {
		t.Run(r.name, func(t *testing.T) {
			dir := t.TempDir()
			flags := r.build(t, dir)
			r.break_(t, dir)
			out, clean := filepath.Join(dir, "out"), filepath.Join(dir, "clean")
			encodeInto(t, out, flags)
			before, was := hashes(t, out), readManifest(t, out)
			times := modified(t, out)
			r.mend(t, dir)
			encodeInto(t, clean, flags)
			want := readManifest(t, clean)
			dry := decodeJSON(t, must(t, append([]string{"retry", "-c", out, "--dry-run", "--json"}, r.flags...)...))
			same(t, "dry run", hashes(t, out), before)
			got := decodeJSON(t, must(t, append([]string{"retry", "-q", "-c", out, "--json"}, r.flags...)...))
			same(t, "retried", hashes(t, out), hashes(t, clean))
			m := readManifest(t, out)
			if !reflect.DeepEqual(m.Counts, want.Counts) || !reflect.DeepEqual(m.Files, want.Files) || m.Units != want.Units || len(m.Identity.Diff(want.Identity)) > 0 {
				t.Errorf("manifest %+v, want %+v", m.Counts, want.Counts)
			}
			if !reflect.DeepEqual(m.Settings, want.Settings) {
				t.Errorf("settings %+v, want %+v", m.Settings, want.Settings)
			}
			if n := m.Counts.Encoded - was.Counts.Encoded; n < 1 || r.gained >= 0 && n != r.gained {
				t.Errorf("%d images gained, want %d", n, r.gained)
			}
			if n := int64(got["reused"].(float64)); r.reused >= 0 && n != r.reused {
				t.Errorf("%d images reused, want %d", n, r.reused)
			}
			kept, units := 0, int(dry["units"].(float64))
			for name, at := range modified(t, out) {
				if strings.HasPrefix(name, "data/") && times[name] == at {
					kept++
				}
			}
			if r.kept && (kept != m.Units-units || kept == 0) {
				t.Errorf("%d of %d parts were left alone, %d were to be done again", kept, m.Units, units)
			}
			must(t, "validate", out)
			if len(r.flags) == 0 {
				before := hashes(t, out)
				text := must(t, "retry", "-c", out)
				if r.name != "one of two images" && !strings.Contains(text, "nothing to retry") && m.Counts.Rejected["no_image"] == 0 && m.Counts.Rejected["unsupported_format"] == 0 {
					t.Errorf("again: %s", text)
				}
				same(t, "again", hashes(t, out), before)
			}
			for name := range hashes(t, out) {
				if strings.HasPrefix(name, launch.RetryFolder) {
					t.Errorf("%s is left over", name)
				}
			}
		})
	}
}

// modified gives the times of a corpus's files.
func modified(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	for name := range hashes(t, dir) {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		out[name] = st.ModTime().UnixNano()
	}
	return out
}

// TestRetryReasons checks that rows which are not marked retryable are done again where --reason names them, and that verdicts
// of filters are refused.
func TestRetryReasons(t *testing.T) {
	dir := t.TempDir()
	flags := append(table(t, dir, 40), "--min-side", "18")
	out := filepath.Join(dir, "out")
	encodeInto(t, out, flags)
	before := hashes(t, out)
	for reason, code := range map[string]int{"too_small": exitUsage, "nonsense": exitUsage, "undecodable": exitOK} {
		stdout, stderr, got := sower(t, "retry", "-c", out, "--reason", reason)
		if got != code || code != exitOK && !strings.Contains(stderr, reason) || code == exitOK && !strings.Contains(stdout, "nothing to retry") {
			t.Errorf("%s: exit code %d\n%s%s", reason, got, stdout, stderr)
		}
	}
	same(t, "after refusals", hashes(t, out), before)
	var samples []shardtest.Sample
	for i := range 10 {
		samples = append(samples, shardtest.Captioned(fmt.Sprint(i), append([]byte("not an image"), byte(i)), "x"))
	}
	writeFile(t, dir, "tar/0.tar", shardtest.Tar(samples...))
	tar := filepath.Join(dir, "out-tar")
	encodeInto(t, tar, []string{"-i", filepath.Join(dir, "tar")})
	before = hashes(t, tar)
	if text := must(t, "retry", "-c", tar); !strings.Contains(text, "nothing to retry") || !strings.Contains(text, "unsupported_format 10") {
		t.Errorf("images in archives are retryable: %s", text)
	}
	if text := must(t, "retry", "-c", tar, "--reason", "unsupported_format,truncated"); !strings.Contains(text, "rejected rows to do again: 10 (unsupported_format 10)") {
		t.Errorf("%s", text)
	}
	same(t, "same input", hashes(t, tar), before)
}

// TestRetryRefuses checks what must not become of a corpus: rows lost, files gone or added, other weights.
func TestRetryRefuses(t *testing.T) {
	dir := t.TempDir()
	flags := table(t, dir, 40)
	remove("images/005.jpg")(t, dir)
	out := filepath.Join(dir, "out")
	encodeInto(t, out, flags)
	before := hashes(t, out)
	manifest, err := os.ReadFile(filepath.Join(out, schemas.ManifestName))
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, want string, args ...string) {
		t.Helper()
		_, stderr, code := sower(t, append([]string{"retry", "-q", "-c", out}, args...)...)
		if code == exitOK || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d, no %q in %s", what, code, want, stderr)
		}
		got := hashes(t, out)
		for name := range got {
			if strings.HasPrefix(name, launch.RetryFolder) {
				delete(got, name)
			}
		}
		same(t, what, got, before)
		if p, err := os.ReadFile(filepath.Join(out, schemas.ManifestName)); err != nil || !bytes.Equal(p, manifest) {
			t.Errorf("%s: the manifest is another (%v)", what, err)
		}
	}
	refused("other weights", "weights", "-m", "standin:tiny:1")
	overwrite(t, filepath.Join(dir, "images/005.jpg"), picture(5))
	remove("images/004.jpg")(t, dir)
	refused("an image that is gone", "row 4, which is now rejected")
	overwrite(t, filepath.Join(dir, "images/004.jpg"), picture(4))
	writeFile(t, dir, "in/more.jsonl", []byte("{}\n"))
	refused("a new file", "new: more.jsonl")
	if err := os.Rename(filepath.Join(dir, "in/rows.jsonl"), filepath.Join(dir, "rows.jsonl")); err != nil {
		t.Fatal(err)
	}
	refused("a file gone", "gone: rows.jsonl")
	if err := os.Rename(filepath.Join(dir, "rows.jsonl"), filepath.Join(dir, "in/rows.jsonl")); err != nil {
		t.Fatal(err)
	}
	remove("in/more.jsonl")(t, dir)
	remove("images/004.jpg")(t, dir)
	must(t, "retry", "-q", "-c", out, "--allow-loss")
	clean := filepath.Join(dir, "clean")
	encodeInto(t, clean, flags)
	same(t, "with --allow-loss", hashes(t, out), hashes(t, clean))
	// What is no corpus of encode, or not finished.
	if err := os.Remove(filepath.Join(out, schemas.ManifestName)); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := sower(t, "retry", "-c", out); code != exitFailed || !strings.Contains(stderr, "not finished") {
		t.Errorf("unfinished: exit code %d: %s", code, stderr)
	}
}

// TestRetryMovedInput checks that an input which was copied elsewhere, so that its files have other times, is read again without the
// model.
func TestRetryMovedInput(t *testing.T) {
	dir, moved := t.TempDir(), t.TempDir()
	flags := table(t, dir, 30)
	remove("images/005.jpg")(t, dir)
	out := filepath.Join(dir, "out")
	encodeInto(t, out, flags)
	overwrite(t, filepath.Join(dir, "images/005.jpg"), picture(5))
	if err := os.CopyFS(filepath.Join(moved, "x"), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "in")); err != nil {
		t.Fatal(err)
	}
	got := decodeJSON(t, must(t, "retry", "-q", "-c", out, "--json", "--input", filepath.Join(moved, "x/in"), "--image-root", filepath.Join(moved, "x/images")))
	if got["reused"].(float64) != 29 {
		t.Errorf("%v images reused, want 29", got["reused"])
	}
	clean := filepath.Join(dir, "clean")
	encodeInto(t, clean, []string{"-i", filepath.Join(moved, "x/in"), "--image-root", filepath.Join(moved, "x/images"), "--unit-bytes", "1KiB"})
	same(t, "moved", hashes(t, out), hashes(t, clean))
}

// TestRetryOldManifest checks that a corpus whose manifest does not say how its input was read asks for that, and takes it.
func TestRetryOldManifest(t *testing.T) {
	dir := t.TempDir()
	flags := table(t, dir, 30)
	remove("images/005.jpg")(t, dir)
	out, clean := filepath.Join(dir, "out"), filepath.Join(dir, "clean")
	encodeInto(t, out, flags)
	m := readManifest(t, out)
	m.Settings = nil
	p, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, filepath.Join(out, schemas.ManifestName), p)
	overwrite(t, filepath.Join(dir, "images/005.jpg"), picture(5))
	_, stderr, code := sower(t, "retry", "-c", out)
	if code != exitUsage || !strings.Contains(stderr, "give --image-root, --input, --model, --unit-bytes as they were then") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	must(t, append([]string{"retry", "-q", "-c", out, "-m", tiny}, flags...)...)
	encodeInto(t, clean, flags)
	same(t, "settings by flags", hashes(t, out), hashes(t, clean))
}

// TestRetryObjectStore repairs shards in a bucket, where a replaced object is told by its generation and parts are not renamed but
// copied.
func TestRetryObjectStore(t *testing.T) {
	gcstest.New(t, "bkt")
	dir := t.TempDir()
	for i := range 5 {
		writeFile(t, dir, fmt.Sprintf("%05d.tar", i), tarOf(i, 20))
	}
	p := tarOf(3, 20)
	copy(p[len(p)/2&^511:], bytes.Repeat([]byte("x"), 512)) // of the same size: only its generation will tell
	overwrite(t, filepath.Join(dir, "00003.tar"), p)
	overwrite(t, filepath.Join(dir, "00001.tar"), tarOf(1, 20)[:9000])
	upload(t, dir, "gs://bkt/in")
	flags := []string{"-i", "gs://bkt/in/*.tar", "--unit-bytes", "32KiB"}
	encodeInto(t, "gs://bkt/out", flags)
	for _, i := range []int{3, 1} {
		fixed := t.TempDir()
		writeFile(t, fixed, fmt.Sprintf("%05d.tar", i), tarOf(i, 20))
		upload(t, fixed, "gs://bkt/in")
		must(t, "retry", "-q", "-c", "gs://bkt/out")
		clean := fmt.Sprintf("gs://bkt/clean-%d", i)
		encodeInto(t, clean, flags)
		same(t, fmt.Sprintf("shard %d repaired", i), hashes(t, mirror(t, "gs://bkt/out")), hashes(t, mirror(t, clean)))
	}
	must(t, "validate", "gs://bkt/out")
}

// TestRetryFlink retries on a real Flink, in worker processes: the plan changes, so that every part is made anew there.
func TestRetryFlink(t *testing.T) {
	onFlink(t, 4*time.Minute, nil, func(t *testing.T, dir string) {
		flags := tars(t, dir, 6, 20)
		if err := os.Truncate(filepath.Join(dir, "in/00002.tar"), 12345); err != nil {
			t.Fatal(err)
		}
		encodeInto(t, filepath.Join(dir, "out"), flags)
		putBack(map[string][]byte{"in/00002.tar": tarOf(2, 20)})(t, dir)
		encodeInto(t, filepath.Join(dir, "clean"), flags)
	}, func(t *testing.T, dir string) {
		must(t, "retry", "-q", "-c", filepath.Join(dir, "out"), "--runner", "flink", "--environment", "process", "--parallelism", "2")
		same(t, "retried on Flink", hashes(t, filepath.Join(dir, "out")), hashes(t, filepath.Join(dir, "clean")))
		if m := readManifest(t, filepath.Join(dir, "out")); m.Runner != "flink" {
			t.Errorf("the manifest names runner %q", m.Runner)
		}
	})
}
