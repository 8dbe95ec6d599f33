package schemas

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkManifest writes and reads manifests of very many units, whose sizes docs/scale.md has:
//
//	go test ./schemas -run - -bench Manifest -benchtime 1x
func BenchmarkManifest(b *testing.B) {
	for _, units := range []int{37_038, 250_000, 1_000_000} {
		b.Run(fmt.Sprint(units), func(b *testing.B) {
			m := &Manifest{Version: ManifestVersion, Units: units}
			for u := range units {
				for _, table := range []string{"data", "rejects"} {
					m.Files = append(m.Files, File{Path: fmt.Sprintf("%s/part-%06d-of-%06d.parquet", table, u, units), Rows: 135_000, Bytes: 12_345_678, SHA256: strings.Repeat("a5", 32)})
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				p, err := m.Marshal()
				if err != nil {
					b.Fatal(err)
				}
				back, err := ParseManifest(p)
				if err != nil || len(back.Files) != 2*units {
					b.Fatal(err)
				}
				b.ReportMetric(float64(len(p))/(1<<20), "MiB")
			}
		})
	}
}
