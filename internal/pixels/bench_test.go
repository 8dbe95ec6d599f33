package pixels

import (
	"os"
	"path/filepath"
	"testing"
)

// benchFiles are the 512x384 pictures of testdata; testdata/bench_pillow.py times Pillow on them.
func benchFiles(b *testing.B) []string {
	b.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "pictures", "bench_*"))
	if err != nil || len(files) == 0 {
		b.Fatalf("no bench files: %v", err)
	}
	return files
}

// BenchmarkPrepare decodes and resizes to 224x224 bicubic.
func BenchmarkPrepare(b *testing.B) {
	for _, path := range benchFiles(b) {
		data, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(filepath.Base(path), func(b *testing.B) {
			dst := make([]byte, 3*224*224)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := Prepare(dst, data, 224, Bicubic, Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkResize is the resize alone, 512x384 to 224x224.
func BenchmarkResize(b *testing.B) {
	src, dst := make([]byte, 3*512*384), make([]byte, 3*224*224)
	for i := range src {
		src[i] = byte(i * 7)
	}
	for _, f := range []Filter{Bicubic, Bilinear} {
		b.Run(string(f), func(b *testing.B) {
			var r resizer
			for b.Loop() {
				r.run(dst, src, 512, 384, 224, 224, f)
			}
		})
	}
}
