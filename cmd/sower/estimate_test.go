package main

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"sower/internal/blob/gcstest"
	"sower/internal/shards/shardtest"
)

// TestEstimateAgainstRun holds the estimate of a small sample to what a run of all rows then does, but for time, which a busy
// machine does not keep.
func TestEstimateAgainstRun(t *testing.T) {
	in := pictures(t, 8, 120)
	out := filepath.Join(t.TempDir(), "out")
	must(t, "encode", "-q", "-i", in, "-o", out, "-m", tiny, "--unit-bytes", "64KiB")
	m := readManifest(t, out)
	v := decodeJSON(t, must(t, "estimate", "-i", in, "-m", tiny, "--unit-bytes", "64KiB", "--sample", "96", "--workers", "4", "--json"))
	if n := v["units"].(float64); int(n) != m.Units {
		t.Errorf("%v units, the run had %d", n, m.Units)
	}
	e := v["estimate"].(map[string]any)
	rows := e["rows"].(map[string]any)
	if got := rows["value"].(float64); got < 0.9*float64(m.Counts.In) || got > 1.1*float64(m.Counts.In) {
		t.Errorf("%v rows, the run had %d", rows, m.Counts.In)
	}
	if v["sample"].(map[string]any)["rows"].(float64) != 96 || e["worker_hours"].(map[string]any)["value"].(float64) <= 0 {
		t.Errorf("%v", v)
	}
	text := must(t, "estimate", "-i", in, "--rate", "400", "--workers", "10", "--price-hour", "2.5", "--price-gb-month", "0.02", "--price-requests", "0.4:5", "--unit-bytes", "64KiB")
	for _, want := range []string{"10, 400 images/s each, at the given rate", "GPU-hours", "price of workers", "price of requests", "price of the run", "price of storage"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for what, args := range map[string][]string{"model": {"-i", in}, "workers": {"-i", in, "--rate", "1", "--workers", "0"}, "price-requests": {"-i", in, "--rate", "1", "--price-requests", "x"}, "input": {"--rate", "1"}} {
		if _, stderr, code := sower(t, append([]string{"estimate"}, args...)...); code != exitUsage || !strings.Contains(stderr, what) {
			t.Errorf("%s: exit code %d: %s", what, code, stderr)
		}
	}
}

// TestEstimateRequests holds the estimated requests to those that a stand-in for an object store counts.
func TestEstimateRequests(t *testing.T) {
	s := gcstest.New(t, "bkt")
	r := rand.New(rand.NewChaCha8([32]byte{1}))
	dir := t.TempDir()
	for i := range 6 {
		var samples []shardtest.Sample
		for j := range 60 {
			image := make([]byte, 150_000+r.IntN(100_000))
			for k := 0; k < len(image); k++ {
				image[k] = byte(r.Uint32())
			}
			samples = append(samples, shardtest.Captioned(fmt.Sprintf("%05d%04d", i, j), image, "x"))
		}
		writeFile(t, dir, fmt.Sprintf("%05d.tar", i), shardtest.Tar(samples...))
	}
	upload(t, dir, "gs://bkt/in")
	for _, unit := range []string{"16MiB", "64MiB", "3MiB"} {
		v := decodeJSON(t, must(t, "estimate", "-i", "gs://bkt/in/*.tar", "--rate", "100", "--unit-bytes", unit, "--json"))
		e := v["estimate"].(map[string]any)["requests"].(map[string]any)
		s.Reset()
		must(t, "encode", "-q", "-i", "gs://bkt/in/*.tar", "-o", "gs://bkt/out-"+unit, "-m", "null", "--unit-bytes", unit)
		c := s.Counts()
		reads, writes := e["reads"].(float64), e["writes"].(float64)+e["list"].(float64)
		t.Logf("units of %s: %.0f reads estimated, %d counted; %.0f writes and lists estimated, %d counted", unit, reads, c.B, writes, c.A)
		if float64(c.B) < 0.6*reads || float64(c.B) > 1.5*reads || float64(c.A) < 0.6*writes || float64(c.A) > 1.5*writes {
			t.Errorf("units of %s: %v, the store counted %+v", unit, e, c)
		}
	}
}
