//go:build cuda && linux && cgo

package cuda

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sower/gpu"
	"sower/gpu/cuda/internal/fakecuda"
	"sower/gpu/models/seed"
)

// The benchmarks of this package measure for gpu/cuda/firstrun, which runs them with -test.benchtime 1x: each does all of its
// work in one iteration and prints a line of JSON a figure, behind the word FIRSTRUN. The environment chooses:
//
//	SOWER_BENCH_TINY=1           small sizes, for a run against the stand-in driver
//	SOWER_BENCH_PRECISION        fp16,bf16,fp32 or some of these
//	SOWER_BENCH_SECONDS          for each figure, at most (0.5)
//	SOWER_BENCH_CODES            a folder for the codes of the pictures, one file a precision

func benchTiny() bool { return os.Getenv("SOWER_BENCH_TINY") == "1" }

func figure(values map[string]any) {
	text, err := json.Marshal(values)
	if err != nil {
		panic(err) // numbers and words
	}
	fmt.Printf("FIRSTRUN %s\n", text)
}

// failure is a figure that could not be had; the others go on.
func failure(b *testing.B, values map[string]any, err error) {
	values["error"] = err.Error()
	figure(values)
	b.Errorf("%v", values)
}

func benchPrecisions(b *testing.B, all string) (list []gpu.Precision) {
	names := os.Getenv("SOWER_BENCH_PRECISION")
	if names == "" {
		names = all
	}
	for name := range strings.SplitSeq(names, ",") {
		p, err := gpu.ParsePrecision(name)
		if err != nil {
			b.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

// repeat times work until the time for a figure is over, 3 to 20 times, after two runs that count for nothing. Seconds.
func repeat(work func() error) (median, least float64, err error) {
	limit := 0.5
	if s, err := strconv.ParseFloat(os.Getenv("SOWER_BENCH_SECONDS"), 64); err == nil {
		limit = s
	}
	var times []float64
	for begin := time.Now(); len(times) < 5 || len(times) < 22 && time.Since(begin).Seconds() < limit; {
		start := time.Now()
		if err := work(); err != nil {
			return 0, 0, err
		}
		times = append(times, time.Since(start).Seconds())
	}
	times = times[2:]
	slices.Sort(times)
	return times[len(times)/2], times[0], nil
}

// madeUp are the pictures that the peers of docs/benchmarks encode: byte j of picture i is the upper byte of
// mix(mix(i·g + g) + j·g), with splitmix64's g and mix.
func madeUp(n, size int) []byte {
	const golden = 0x9e3779b97f4a7c15
	mix := func(x uint64) uint64 {
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		return x ^ x>>31
	}
	rgb := make([]byte, n*size*size*3)
	for i := range n {
		start := mix(uint64(i)*golden + golden)
		for j := range size * size * 3 {
			rgb[i*size*size*3+j] = byte(mix(start+uint64(j)*golden) >> 56)
		}
	}
	return rgb
}

// benchModel is the tokenizer with its stand-in weights, of the published size unless sizes are small.
func benchModel(b *testing.B, p gpu.Precision) (*gpu.Device, *seed.Model) {
	b.Helper()
	fakecuda.Need(b)
	c := seed.Published()
	if benchTiny() {
		c = seed.Tiny()
	}
	start := time.Now()
	dev, err := gpu.Open("cuda", gpu.Options{Precision: p})
	if err != nil {
		b.Fatal(err)
	}
	opened := time.Since(start).Seconds()
	m, err := seed.Load(dev, seed.StandIn(c, 0), c, seed.Encode)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := m.Close(); err != nil {
			b.Error(err)
		}
		if err := dev.Close(); err != nil {
			b.Error(err)
		}
	})
	figure(map[string]any{"figure": "load", "precision": p.String(), "device": dev.String(), "open_seconds": opened, "seconds": time.Since(start).Seconds()})
	return dev, m
}

// benchEncode returns the codes of pictures in calls of so many, and the number of pictures with numbers that are not finite.
func benchEncode(m *seed.Model, rgb []byte, batch int) (codes []uint16, bad int, err error) {
	c := m.Config()
	n := len(rgb) / c.ImageBytes()
	codes, finite := make([]uint16, n*c.Queries), make([]bool, n)
	for i := 0; i < n; i += batch {
		end := min(i+batch, n)
		if err := m.Encode(rgb[i*c.ImageBytes():end*c.ImageBytes()], end-i, codes[i*c.Queries:end*c.Queries], finite[i:end]); err != nil {
			return nil, 0, err
		}
	}
	for _, f := range finite {
		if !f {
			bad++
		}
	}
	return codes, bad, nil
}

// BenchmarkEncode is the encoder by batch size and precision: of pictures that are on the device, from and to host memory, and
// so with two batches in work at a time.
func BenchmarkEncode(b *testing.B) {
	for _, p := range benchPrecisions(b, "fp16,bf16,fp32") {
		b.Run(p.String(), func(b *testing.B) { encodeRates(b, p) })
	}
}

func encodeRates(b *testing.B, p gpu.Precision) {
	dev, m := benchModel(b, p)
	buckets, size, images := []int{128, 1, 2, 4, 8, 16, 32, 64, 256}, m.Config().ImageSize, 128
	if p == gpu.FP32 {
		buckets = []int{128, 1, 8, 32}
	}
	if benchTiny() {
		buckets, images = []int{4, 1}, 4
	}
	rgb := madeUp(slices.Max(buckets), size)
	start := time.Now()
	if _, _, err := benchEncode(m, rgb[:m.Config().ImageBytes()], 1); err != nil {
		b.Fatal(err)
	}
	figure(map[string]any{"figure": "first", "precision": p.String(), "seconds": time.Since(start).Seconds()})
	codes, bad, err := benchEncode(m, rgb[:images*m.Config().ImageBytes()], images)
	if err != nil {
		b.Fatal(err)
	}
	if bad > 0 {
		b.Errorf("%d of %d pictures have numbers that are not finite", bad, images)
	}
	if dir := os.Getenv("SOWER_BENCH_CODES"); dir != "" {
		text, err := json.Marshal(map[string]any{"images": images, "queries": m.Config().Queries, "codes": codes})
		if err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "codes-"+p.String()+".json"), text, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	for _, n := range buckets {
		f := map[string]any{"figure": "encode", "precision": p.String(), "images": n}
		median, least, err := onDevice(dev, m, rgb, n)
		if err != nil {
			failure(b, f, err)
			continue
		}
		f["milliseconds"], f["least_milliseconds"], f["images_per_second"] = 1e3*median, 1e3*least, float64(n)/median
		part := rgb[:n*m.Config().ImageBytes()]
		if median, _, err = repeat(func() error { _, _, err := benchEncode(m, part, n); return err }); err != nil {
			failure(b, f, err)
			continue
		}
		f["host_milliseconds"], f["host_images_per_second"] = 1e3*median, float64(n)/median
		figure(f)
	}
	lanes(b, m, rgb[:images*m.Config().ImageBytes()], p)
}

// onDevice times the recorded encoder of n pictures, which are on the device already, as their codes stay there.
func onDevice(dev *gpu.Device, m *seed.Model, rgb []byte, n int) (median, least float64, err error) {
	c := m.Config()
	pass := dev.NewPass(gpu.Inference)
	defer pass.Discard()
	on := pass.Bytes(rgb[:n*c.ImageBytes()], n, c.ImageSize, c.ImageSize, 3)
	recording := pass.Record(func() { m.Quantize(pass, m.Embed(pass, on)) })
	if err := pass.Err(); err != nil {
		return 0, 0, err
	}
	defer recording.Free()
	return repeat(func() error {
		recording.Replay()
		return pass.Wait()
	})
}

// lanes is the rate with two goroutines that encode at once, as a run of sower encode does.
func lanes(b *testing.B, m *seed.Model, rgb []byte, p gpu.Precision) {
	const lanes, calls = 2, 4
	images := len(rgb) / m.Config().ImageBytes()
	f := map[string]any{"figure": "lanes", "precision": p.String(), "images": images, "lanes": lanes}
	errs := make([]error, lanes)
	run := func() error {
		var wait sync.WaitGroup
		for i := range lanes {
			wait.Go(func() {
				for range calls {
					if _, _, err := benchEncode(m, rgb, images); err != nil {
						errs[i] = err
					}
				}
			})
		}
		wait.Wait()
		return errs[0]
	}
	median, _, err := repeat(run)
	if err != nil {
		failure(b, f, err)
		return
	}
	f["images_per_second"] = float64(lanes*calls*images) / median
	figure(f)
}

// BenchmarkInvariance wants the same codes of pictures alone, in calls of 7 and in calls of 128.
func BenchmarkInvariance(b *testing.B) {
	for _, p := range benchPrecisions(b, "fp16,bf16,fp32") {
		b.Run(p.String(), func(b *testing.B) {
			_, m := benchModel(b, p)
			batches, images := []int{128, 7, 1}, 128
			if benchTiny() {
				batches, images = []int{9, 7, 1}, 9
			}
			rgb := madeUp(images, m.Config().ImageSize)
			var want []uint16
			for _, batch := range batches {
				got, bad, err := benchEncode(m, rgb, batch)
				if err != nil {
					b.Fatal(err)
				}
				if want == nil {
					want = got
				}
				equal := 0
				for i := range got {
					if got[i] == want[i] {
						equal++
					}
				}
				figure(map[string]any{"figure": "invariance", "precision": p.String(), "batch": batch, "codes": len(got), "equal": equal, "not_finite": bad})
				if equal < len(got) {
					b.Errorf("%s: %d of %d codes in batches of %d are those of batches of %d", p, equal, len(got), batch, batches[0])
				}
			}
		})
	}
}
