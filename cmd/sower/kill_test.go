package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sower/internal/launch"
	"sower/internal/shards/shardtest"
)

// TestKill kills runs at random moments with SIGKILL and resumes them: at the end the files must be those of an undisturbed
// run, and nothing else may lie about. SOWER_KILLS and SOWER_KILL_PICTURES make it longer (docs/benchmarks.md has the
// figures of 30 kills over 20,000 pictures).
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	kills, count := setting(t, "SOWER_KILLS", 5), setting(t, "SOWER_KILL_PICTURES", 1500)
	dir := t.TempDir()
	in := filepath.Join(dir, "in")
	const perTar = 500
	for i := 0; i*perTar < count; i++ {
		var samples []shardtest.Sample
		for j := range min(perTar, count-i*perTar) {
			n := i*perTar + j
			samples = append(samples, shardtest.Captioned(fmt.Sprintf("%09d", n), shardtest.JPEG(24+n%9, 24+n%5, uint32(n)), fmt.Sprintf("picture %d", n)))
		}
		writeFile(t, in, fmt.Sprintf("%05d.tar", i), shardtest.Tar(samples...))
	}
	killAndResume(t, kills, func(out string) []string {
		return []string{"encode", "-q", "-i", in, "-o", out, "-m", tiny, "--unit-bytes", "96KiB"}
	})
}

// TestKillInterleave does the same to interleave.
func TestKillInterleave(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	codes, lines := encoded(t, 600), textLines(t, 4000)
	killAndResume(t, setting(t, "SOWER_KILLS", 3), func(out string) []string {
		return []string{"interleave", "-q", "--codes", codes + ":20", "--text", lines, "-o", out, "--pack", "--file-tokens", "20000"}
	})
}

// TestKillRetry does the same to retry: at every kill the corpus is the old one and whole, or has no manifest.
func TestKillRetry(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	dir := t.TempDir()
	flags := tars(t, dir, 12, 40)
	for _, n := range []string{"in/00001.tar", "in/00007.tar"} {
		if err := os.Truncate(filepath.Join(dir, n), 9999); err != nil {
			t.Fatal(err)
		}
	}
	broken, clean, killed := filepath.Join(dir, "broken"), filepath.Join(dir, "clean"), filepath.Join(dir, "killed")
	encodeInto(t, broken, flags)
	putBack(map[string][]byte{"in/00001.tar": tarOf(1, 40), "in/00007.tar": tarOf(7, 40)})(t, dir)
	encodeInto(t, clean, flags)
	before, want := hashes(t, broken), hashes(t, clean)
	fresh := func() {
		if err := errors.Join(os.RemoveAll(killed), os.CopyFS(killed, os.DirFS(broken))); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"retry", "-q", "-c", killed}
	fresh()
	began := time.Now()
	if out, err := process(args...).CombinedOutput(); err != nil {
		t.Fatalf("undisturbed: %v\n%s", err, out)
	}
	span := time.Since(began)
	same(t, "undisturbed", hashes(t, killed), want)
	fresh()
	seed := uint64(time.Now().UnixNano())
	t.Logf("an undisturbed retry takes %v; seed %d", span.Round(time.Millisecond), seed)
	r := rand.New(rand.NewPCG(seed, 0))
	died, staged, switching := 0, 0, 0
	for died < setting(t, "SOWER_KILLS", 5) {
		cmd := process(args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(r.Int64N(int64(span))), func() { cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		if err == nil {
			same(t, "finished between kills", hashes(t, killed), want)
			fresh()
			continue
		}
		died++
		now := hashes(t, killed)
		for name := range now {
			if strings.HasPrefix(name, launch.RetryFolder+"/data/") && !strings.Contains(filepath.Base(name), "tmp") {
				staged++
				break
			}
		}
		if _, err := os.Stat(filepath.Join(killed, "_manifest.json")); err != nil {
			switching++
			continue
		}
		for name := range now { // the manifest is there: what it vouches for is whole, be it the old or the new
			if strings.HasPrefix(name, launch.RetryFolder) {
				delete(now, name)
			}
		}
		if m := readManifest(t, killed); m.Identity.Plan == readManifest(t, clean).Identity.Plan {
			same(t, "in place", now, want)
		} else {
			same(t, "as it was", now, before)
		}
	}
	if out, err := process(args...).CombinedOutput(); err != nil {
		t.Fatalf("after %d kills: %v\n%s", died, err, out)
	}
	same(t, fmt.Sprintf("after %d kills", died), hashes(t, killed), want)
	for name := range leftovers(t, killed) {
		t.Errorf("%s is left over", name)
	}
	t.Logf("%d kills: %d with units staged, %d while the parts were put in place", died, staged, switching)
}

// killAndResume runs a command undisturbed and, into another folder, with kills at random moments.
func killAndResume(t *testing.T, kills int, args func(out string) []string) {
	t.Helper()
	dir := t.TempDir()
	whole, killed := filepath.Join(dir, "whole"), filepath.Join(dir, "killed")
	began := time.Now()
	if out, err := process(args(whole)...).CombinedOutput(); err != nil {
		t.Fatalf("undisturbed run: %v\n%s", err, out)
	}
	span := time.Since(began)
	seed := uint64(time.Now().UnixNano())
	t.Logf("an undisturbed run takes %v; seed %d", span.Round(time.Millisecond), seed)
	r := rand.New(rand.NewPCG(seed, 0))
	died, torn := 0, 0
	for died < kills {
		cmd := process(args(killed)...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Shorter than a run at first, so that every run has something left; later runs start with most of it done.
		timer := time.AfterFunc(time.Duration(r.Int64N(int64(span)/int64(2+died/3)+1)), func() { cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		if err == nil { // finished before the kill: begin a new corpus and go on
			same(t, "finished between kills", hashes(t, killed), hashes(t, whole))
			if err := os.RemoveAll(killed); err != nil {
				t.Fatal(err)
			}
			continue
		}
		died++
		torn += len(leftovers(t, killed))
	}
	if out, err := process(args(killed)...).CombinedOutput(); err != nil {
		t.Fatalf("after %d kills: %v\n%s", died, err, out)
	}
	same(t, fmt.Sprintf("after %d kills", died), hashes(t, killed), hashes(t, whole))
	for name := range leftovers(t, killed) {
		t.Errorf("%s is left over", name)
	}
	t.Logf("%d kills, %d temporary files on the way", died, torn)
}

func setting(t *testing.T, name string, fallback int) int {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return fallback
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatalf("%s=%q", name, v)
	}
	return n
}

// leftovers are the temporary files below dir.
func leftovers(t *testing.T, dir string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	if _, err := os.Stat(dir); err != nil {
		return out
	}
	for name := range hashes(t, dir) {
		if strings.HasPrefix(filepath.Base(name), ".") || strings.Contains(name, "tmp") {
			out[name] = true
		}
	}
	return out
}
