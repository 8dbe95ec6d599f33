package text

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// BenchmarkEncode encodes the lines of SOWER_TEXT_BENCH (a file) by every tokenizer.json of SOWER_TEXT_BENCH_VOCABULARIES
// (a list of paths), which testdata/bench.py sets. "first" is the rate of the first pass, with an empty word cache.
func BenchmarkEncode(b *testing.B) {
	text, err := os.ReadFile(os.Getenv("SOWER_TEXT_BENCH"))
	if err != nil {
		b.Skip("run testdata/bench.py: ", err)
	}
	lines := strings.Split(string(text), "\n")
	for _, path := range filepath.SplitList(os.Getenv("SOWER_TEXT_BENCH_VOCABULARIES")) {
		b.Run(filepath.Base(filepath.Dir(path))+"/"+filepath.Base(path), func(b *testing.B) {
			l := open(b, path, "hf")
			var ids []int32
			n := 0
			pass := func() {
				n = 0
				for _, line := range lines {
					ids = l.Encode(ids[:0], line)
					n += len(ids)
				}
			}
			start := time.Now()
			pass()
			first := time.Since(start)
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				pass()
			}
			b.ReportMetric(float64(len(text))/1e6/first.Seconds(), "first-MB/s")
			b.ReportMetric(float64(n), "ids")
		})
	}
}
