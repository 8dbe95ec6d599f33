package bench

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"sower/gpu"
	"sower/internal/pixels"
)

// GEMMResult is what GEMM measured.
type GEMMResult struct {
	Machine
	Rows []Product `json:"products"`
}

// Product is a matrix product y [M N] = x [M K]·wᵀ, w packed beforehand.
type Product struct {
	What  string  `json:"what"`
	M     int     `json:"m"`
	N     int     `json:"n"`
	K     int     `json:"k"`
	Rate  float64 `json:"flops_per_second"` // the best of many
	Share float64 `json:"share_of_peak,omitempty"`
}

// products are the shapes of the published model, one image a call, and of smaller ones.
var products = []Product{
	{What: "patch embedding", M: 256, N: 1408, K: 588},
	{What: "queries, keys, values", M: 257, N: 4224, K: 1408},
	{What: "attention output", M: 257, N: 1408, K: 1408},
	{What: "MLP in", M: 257, N: 6144, K: 1408},
	{What: "MLP out", M: 257, N: 1408, K: 6144},
	{What: "MLP in, 8 images", M: 2056, N: 6144, K: 1408},
	{What: "Q-Former cross keys", M: 257, N: 768, K: 1408},
	{What: "Q-Former MLP in", M: 32, N: 3072, K: 768},
	{What: "Q-Former attention", M: 32, N: 768, K: 768},
	{What: "small model", M: 257, N: 192, K: 192},
	{What: "one row", M: 1, N: 1408, K: 1408},
}

// GEMM times products for so long each, in turn, and keeps the best of each.
func GEMM(ctx context.Context, o Options, each time.Duration) (*GEMMResult, error) {
	dev, err := gpu.Open(o.Device, gpu.Options{Threads: o.Threads, Precision: o.Precision})
	if err != nil {
		return nil, err
	}
	defer dev.Close()
	r := &GEMMResult{Machine: o.machine(dev)}
	random := rand.New(rand.NewPCG(1, 2))
	for _, p := range products {
		r.measure(o)
		if err := p.time(ctx, dev, random, each); err != nil {
			return nil, err
		}
		r.Rows = append(r.Rows, p)
	}
	r.measure(o)
	for i := range r.Rows {
		if r.Peak > 0 {
			r.Rows[i].Share = r.Rows[i].Rate / r.Peak
		}
	}
	return r, nil
}

func (p *Product) time(ctx context.Context, dev *gpu.Device, random *rand.Rand, each time.Duration) error {
	values := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = random.Float32() - 0.5
		}
		return v
	}
	w, err := dev.NewWeight(p.N, p.K)
	if err != nil {
		return err
	}
	defer w.Free()
	if err := w.SetRows(0, values(p.N*p.K)); err != nil {
		return err
	}
	x, err := dev.FromSlice(values(p.M*p.K), p.M, p.K)
	if err != nil {
		return err
	}
	defer x.Free()
	run := func() (time.Duration, error) {
		start := time.Now()
		pass := dev.NewPass(gpu.Inference)
		pass.MatMul(x, w, gpu.TransposeB)
		err := pass.Close()
		return time.Since(start), err
	}
	for end := time.Now().Add(each); time.Now().Before(end) && ctx.Err() == nil; {
		d, err := run()
		if err != nil {
			return err
		}
		p.Rate = max(p.Rate, 2*float64(p.M)*float64(p.N)*float64(p.K)/d.Seconds())
	}
	return ctx.Err()
}

// DecodeResult is what Decode measured.
type DecodeResult struct {
	Processor string    `json:"processor"`
	Threads   int       `json:"threads"`
	Size      int       `json:"size"` // that pictures are resized to
	Rows      []Decoded `json:"pictures"`
}

// Decoded is one kind of picture, decoded and resized.
type Decoded struct {
	What  string  `json:"what"`
	Bytes int     `json:"bytes"`
	Best  float64 `json:"best_seconds"`        // of one, on one core
	Rate  float64 `json:"pictures_per_second"` // on all threads
}

// Decode times decoding and resizing of made-up photographs to size x size, for so long each.
func Decode(ctx context.Context, threads, size int, each time.Duration) (*DecodeResult, error) {
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	r := &DecodeResult{Processor: processor(), Threads: threads, Size: size}
	small, large := Photo(512, 384, 1), Photo(1024, 768, 1)
	im, err := jpeg.Decode(bytes.NewReader(small))
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	var lossless bytes.Buffer
	if err := png.Encode(&lossless, opaque(im)); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	for _, p := range []struct {
		what string
		data []byte
	}{{"JPEG 512x384, quality 80", small}, {"JPEG 1024x768, quality 80", large}, {"PNG 512x384", lossless.Bytes()}} {
		d := Decoded{What: p.what, Bytes: len(p.data)}
		done := make([]int, threads)
		best := make([]time.Duration, threads)
		errs := make([]error, threads)
		start := time.Now()
		var wait sync.WaitGroup
		for t := range threads {
			wait.Go(func() {
				best[t] = time.Hour
				dst := make([]byte, 3*size*size)
				for time.Since(start) < each && ctx.Err() == nil && errs[t] == nil {
					one := time.Now()
					_, _, errs[t] = pixels.Prepare(dst, p.data, size, pixels.Bicubic, pixels.Limits{})
					best[t] = min(best[t], time.Since(one))
					done[t]++
				}
			})
		}
		wait.Wait()
		elapsed, all := time.Since(start).Seconds(), 0
		d.Best = time.Hour.Seconds()
		for t := range threads {
			if errs[t] != nil {
				return nil, errs[t]
			}
			all += done[t]
			d.Best = min(d.Best, best[t].Seconds())
		}
		d.Rate = float64(all) / elapsed
		r.Rows = append(r.Rows, d)
	}
	return r, ctx.Err()
}

// opaque copies an image to RGBA, which PNG stores as RGB when it is opaque.
func opaque(im image.Image) image.Image {
	b := im.Bounds()
	out := image.NewRGBA(b)
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			out.Set(x, y, im.At(x, y))
		}
	}
	return out
}
