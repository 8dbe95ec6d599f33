package encode

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"runtime"
	"testing"

	"sower/gpu"
	_ "sower/gpu/cpu"
	"sower/gpu/models/seed"
	"sower/gpu/resident"
	"sower/internal/blob"
	"sower/internal/blob/memblob"
	"sower/internal/pixels"
	"sower/internal/progress"
	"sower/internal/shards/shardtest"
	"sower/internal/weights"
	"sower/schemas"
)

// sizes are those of a picture that img2dataset has shrunk, and of one as it comes from the web.
var sizes = [][2]int{{512, 384}, {1024, 768}}

func eachSize(b *testing.B, run func(b *testing.B, data []byte)) {
	for _, s := range sizes {
		data := photo(b, s[0], s[1])
		b.Run(fmt.Sprintf("%dx%d", s[0], s[1]), func(b *testing.B) { run(b, data) })
	}
}

// photo is a picture with some detail.
func photo(b *testing.B, width, height int) []byte {
	b.Helper()
	im := image.NewRGBA(image.Rect(0, 0, width, height))
	x := uint32(1)
	for i := range width * height {
		x = x*1664525 + 1013904223
		px, py := i%width, i/width
		im.SetRGBA(px, py, color.RGBA{uint8(px/2 + int(x>>28)), uint8(py/2 + int(x>>27&15)), uint8((px ^ py) / 2), 255})
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, im, &jpeg.Options{Quality: 80}); err != nil {
		b.Fatal(err)
	}
	return out.Bytes()
}

// BenchmarkPrepare is the decode pool's own rate: pictures decoded and resized on all cores, and nothing else.
func BenchmarkPrepare(b *testing.B) { eachSize(b, benchmarkPrepare) }

func benchmarkPrepare(b *testing.B, data []byte) {
	b.RunParallel(func(pb *testing.PB) {
		dst := make([]byte, 3*56*56)
		for pb.Next() {
			if _, _, err := pixels.Prepare(dst, data, 56, pixels.Bicubic, pixels.Limits{}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pictures/s")
}

// BenchmarkUnit is all of a unit's work with the tiny model: read, hash, decode, resize, encode, write. The goal is 90 % of
// BenchmarkPrepare.
func BenchmarkUnit(b *testing.B) { eachSize(b, benchmarkUnit) }

func benchmarkUnit(b *testing.B, data []byte) {
	const perTar = 500
	var samples []shardtest.Sample
	for i := range perTar {
		samples = append(samples, shardtest.Captioned(fmt.Sprintf("%09d", i), data, "a picture"))
	}
	store := memblob.New()
	in := blob.New("mem://in", store)
	if err := in.WriteAll(context.Background(), "a.tar", shardtest.Tar(samples...)); err != nil {
		b.Fatal(err)
	}
	w := tinyWorker(b, in)
	ranges, err := shardRanges(in)
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	// Two units at a time, as the local runner has on two cores.
	tokens := make(chan bool, runtime.GOMAXPROCS(0))
	failed := make(chan error, 1)
	units := (b.N + perTar - 1) / perTar
	for u := range units {
		tokens <- true
		go func() {
			defer func() { <-tokens }()
			out, err := unitOf(w.cfg, units).createOutput(context.Background(), w.output, u)
			if err == nil {
				if err = w.rows(context.Background(), ranges, nil, out); err == nil {
					_, err = out.Commit()
				}
			}
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		}()
	}
	for range cap(tokens) {
		tokens <- true
	}
	b.ReportMetric(float64(units*perTar)/b.Elapsed().Seconds(), "pictures/s")
	select {
	case err := <-failed:
		b.Fatal(err)
	default:
	}
}

func shardRanges(in *blob.Bucket) ([]schemas.PlanRow, error) {
	info, err := in.Stat(context.Background(), "a.tar")
	if err != nil {
		return nil, err
	}
	return []schemas.PlanRow{{Source: "a.tar", Format: "webdataset", Size: info.Size, End: info.Size, Bytes: info.Size, Rows: -1}}, nil
}

// tinyWorker is a worker with the tiny stand-in, reading from in.
func tinyWorker(b *testing.B, in *blob.Bucket) *Worker {
	b.Helper()
	m, err := weights.Open("standin:tiny:0")
	if err != nil {
		b.Fatal(err)
	}
	dev, err := gpu.Open("cpu", gpu.Options{})
	if err != nil {
		b.Fatal(err)
	}
	model, err := seed.Load(dev, m.Source, m.Config, seed.Encode)
	if err != nil {
		b.Fatal(err)
	}
	c := m.Config
	cfg := Config{Limits: DefaultLimits(), MaxFailureRate: 1, Identity: schemas.Identity{Tokenizer: "seed2", ImageSize: c.ImageSize, CodesPerImage: c.Queries, Codes: c.Codes, Resize: "bicubic"}}
	e, err := resident.Get(resident.Spec{Key: b.Name(), ImageBytes: c.ImageBytes(), CodesPerImage: c.Queries, Batch: 32,
		Open: func() (resident.Encoder, error) { return single(model, dev), nil }})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { resident.Release(b.Name()) })
	return &Worker{cfg: cfg, run: progress.Start(context.Background(), b.Name()), input: in, output: blob.New("mem://out", memblob.New()), engine: e, filter: pixels.Bicubic}
}

// single is an encoder of one model.
func single(model *seed.Model, dev *gpu.Device) resident.Encoder {
	all := &deviceModels{models: []*seed.Model{model}, devices: []*gpu.Device{dev}, free: make(chan *seed.Model, lanes)}
	all.release()
	return all
}

// unitOf is the configuration of a run of so many units.
func unitOf(c Config, units int) *Config {
	c.Units = units
	return &c
}
