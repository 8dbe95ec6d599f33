package seed_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"sower/gpu"
	"sower/gpu/models/seed"
)

// BenchmarkEncodeFull times one image a call at the published size, after TestFullFixture has checked that size.
func BenchmarkEncodeFull(b *testing.B) {
	needsFull(b)
	c := seed.Published()
	start := time.Now()
	dev := open(b, "cpu", gpu.Options{})
	m := load(b, dev, seed.StandIn(c, 0), c, seed.Encode)
	b.Logf("%v, loaded in %v", dev, time.Since(start).Round(time.Millisecond))
	rgb := noise(c, 1)
	codes, finite := make([]uint16, c.Queries), make([]bool, 1)
	for b.Loop() {
		if err := m.Encode(rgb, 1, codes, finite); err != nil {
			b.Fatal(err)
		}
	}
	const macs = 266.76e9 // multiply-adds of an image
	b.ReportMetric(2*macs*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/image")
}

// noise is n images of random pixels, the same ones every time.
func noise(c seed.Config, n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	rgb := make([]byte, n*c.ImageBytes())
	for i := range rgb {
		rgb[i] = byte(r.Uint32())
	}
	return rgb
}
