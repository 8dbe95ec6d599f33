//go:build cuda && linux && cgo

package cuda

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"gorgonia.org/cu"

	"sower/gpu"
	"sower/gpu/driver"
)

// BenchmarkCeilings measures what the device can do at best, and the model's own operations beside it: copies, memory,
// launches, matrix products by each way to compute them, attention and norms.
func BenchmarkCeilings(b *testing.B) {
	b.Run("copies", benchCopies)
	b.Run("products", benchProducts)
	b.Run("operations", benchOperations)
}

// clock times work of a stream with events.
type clock struct {
	s          *stream
	begin, end cu.Event
}

func newClock(b *testing.B, d *device) *clock {
	b.Helper()
	s, err := d.newStream()
	if err != nil {
		b.Fatal(err)
	}
	c := &clock{s: s}
	if err := d.ctx.Do(func() (err error) {
		if c.begin, err = cu.MakeEvent(cu.DefaultEvent); err == nil {
			c.end, err = cu.MakeEvent(cu.DefaultEvent)
		}
		return err
	}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		err := d.ctx.Do(func() error { return errors.Join(cu.DestroyEvent(&c.begin), cu.DestroyEvent(&c.end)) })
		if err := errors.Join(err, s.Close()); err != nil {
			b.Error(err)
		}
	})
	return c
}

// seconds is the least time of one of several runs of work.
func (c *clock) seconds(work func() error) (float64, error) {
	ctx, best := c.s.dev.ctx, math.Inf(1)
	_, _, err := repeat(func() error {
		if err := errors.Join(ctx.Record(c.begin, c.s.s), work(), ctx.Record(c.end, c.s.s), c.s.Sync()); err != nil {
			return err
		}
		ms, err := ctx.Elapsed(c.begin, c.end)
		if err == nil && ms > 0 {
			best = min(best, float64(ms)/1e3)
		}
		return err
	})
	if err == nil && math.IsInf(best, 1) {
		err = errors.New("events measured no time")
	}
	return best, err
}

// rate makes a figure of an amount of work: so much a second, in units.
func (c *clock) rate(b *testing.B, f map[string]any, name string, amount, unit float64, work func() error) {
	b.Helper()
	s, err := c.seconds(work)
	if err != nil {
		failure(b, f, err)
		return
	}
	f["milliseconds"], f[name] = 1e3*s, amount/s/unit
	figure(f)
}

func benchCopies(b *testing.B) {
	d := opened(b, gpu.FP16)
	c := newClock(b, d)
	n := 512 << 20
	if benchTiny() {
		n = 1 << 20
	}
	host, err := d.ctx.HostAlloc(n)
	if err != nil {
		b.Fatal(err)
	}
	defer d.ctx.HostFree(host)
	p, err := d.take(2 * n)
	if err != nil {
		b.Fatal(err)
	}
	defer d.give(p, 2*n)
	at := unsafe.Pointer(&host[0])
	if err := errors.Join(d.ctx.MemsetD8Async(p, 1, 2*n, c.s.s), c.s.Sync()); err != nil {
		b.Fatal(err)
	}
	copies := func(what string, bytes int, work func() error) {
		c.rate(b, map[string]any{"figure": "copy", "what": what, "bytes": n}, "gigabytes_per_second", float64(bytes), 1e9, work)
	}
	copies("pinned host to device", n, func() error { return d.ctx.CopyHtoDAsync(p, at, n, c.s.s) })
	copies("device to pinned host", n, func() error { return d.ctx.CopyDtoHAsync(at, p, n, c.s.s) })
	copies("device memory, read and written", 2*n, func() error { return d.ctx.CopyDtoDAsync(p+uint64(n), p, n, c.s.s) })
	copies("device memory, set", n, func() error { return d.ctx.MemsetD8Async(p, 2, n, c.s.s) })

	const launches = 200
	small, err := d.Alloc(driver.F32, 256)
	if err != nil {
		b.Fatal(err)
	}
	defer small.Free()
	v := driver.View{Buf: small, N: 256}
	several := func() error {
		for range launches {
			if err := c.s.Add(v, v, v); err != nil {
				return err
			}
		}
		return nil
	}
	if err := errors.Join(c.s.WriteF32(v, make([]float32, 256)), several()); err != nil {
		b.Fatal(err)
	}
	c.rate(b, map[string]any{"figure": "launch", "what": "one by one"}, "launches_per_second", launches, 1, several)
	g, err := c.s.Capture(several)
	if err != nil {
		b.Fatal(err)
	}
	defer g.Free()
	c.rate(b, map[string]any{"figure": "launch", "what": "in a graph"}, "launches_per_second", launches, 1, g.Replay)
}

// shape is a product y [m n] = x [m k]·wᵀ.
type shape struct {
	what    string
	m, n, k int
}

// modelShapes are those of the published model at a batch of so many, and a large square that shows the device's best.
func modelShapes(images int) []shape {
	if benchTiny() {
		return []shape{{"square", 64, 64, 64}, {"small and odd", 17, 48, 33}}
	}
	rows := 257 * images
	return []shape{{"square", 8192, 8192, 8192}, {"queries, keys, values", rows, 4224, 1408}, {"attention output", rows, 1408, 1408},
		{"MLP in", rows, 6144, 1408}, {"MLP out", rows, 1408, 6144}, {"patches", rows - images, 1408, 588},
		{"Q-Former cross keys", rows, 768, 1408}, {"Q-Former MLP in", 32 * images, 3072, 768}}
}

// random makes a buffer of values from -1 to 1: power and with it clocks depend on what is multiplied.
func random(b *testing.B, s *stream, t driver.DType, n int) driver.View {
	b.Helper()
	buf, err := s.dev.Alloc(t, n)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(buf.Free)
	values := make([]float32, min(n, 1<<20))
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range values {
		values[i] = 2*r.Float32() - 1
	}
	for at := 0; at < n; at += len(values) {
		some := min(len(values), n-at)
		if err := s.WriteF32(driver.View{Buf: buf, Off: at, N: some}, values[:some]); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Sync(); err != nil {
		b.Fatal(err)
	}
	return driver.View{Buf: buf, N: n}
}

func randomMatrix(b *testing.B, d *device, rows, cols int) driver.Matrix {
	b.Helper()
	w, err := d.NewMatrix(rows, cols, driver.Weight)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(w.Free)
	values := make([]float32, rows*cols)
	r := rand.New(rand.NewPCG(2, uint64(rows)))
	for i := range values {
		values[i] = (2*r.Float32() - 1) / float32(math.Sqrt(float64(cols)))
	}
	if err := w.SetRows(0, values); err != nil {
		b.Fatal(err)
	}
	return w
}

// benchProducts times each shape by each way: what the back end chooses, cublasLt, the kernels for Hopper (others take
// mma.sync in their place) and those for any GPU.
func benchProducts(b *testing.B) {
	for _, way := range []struct {
		gemm string
		gpu.Precision
	}{{"", gpu.FP16}, {gemmLt, gpu.FP16}, {gemmOwn, gpu.FP16}, {gemmMMA, gpu.FP16}, {"", gpu.BF16}, {"", gpu.FP32}} {
		b.Run(way.gemm+" "+way.Precision.String(), func(b *testing.B) {
			b.Setenv("SOWER_CUDA_GEMM", way.gemm)
			d, err := open(gpu.Options{Precision: way.Precision})
			if err != nil {
				failure(b, map[string]any{"figure": "product", "by": way.gemm, "precision": way.Precision.String()}, err)
				return
			}
			b.Cleanup(func() { _ = d.Close() })
			for _, p := range modelShapes(128) {
				b.Run(p.what, func(b *testing.B) { // memory is given back after each
					c := newClock(b, d)
					x, y, w := random(b, c.s, driver.Activation, p.m*p.k), random(b, c.s, driver.Activation, p.m*p.n), randomMatrix(b, d, p.n, p.k)
					f := map[string]any{"figure": "product", "what": p.what, "m": p.m, "n": p.n, "k": p.k, "by": way.gemm, "precision": way.Precision.String()}
					c.rate(b, f, "teraflops", 2*float64(p.m)*float64(p.n)*float64(p.k), 1e12, func() error { return c.s.MatMul(y, p.n, x, p.m, w) })
				})
			}
		})
	}
}

// benchOperations times the model's other operations at 128 images, in float16.
func benchOperations(b *testing.B) {
	images, tokens, heads, width, mlp := 128, 257, 16, 88, 6144
	if benchTiny() {
		images, tokens, heads, mlp = 2, 17, 2, 64
	}
	d := opened(b, gpu.FP16)
	c, cols, rows := newClock(b, d), heads*width, images*tokens
	x, y, z := random(b, c.s, driver.Activation, rows*cols), random(b, c.s, driver.Activation, rows*cols), random(b, c.s, driver.Activation, rows*cols)
	weight, bias := random(b, c.s, driver.F32, cols), random(b, c.s, driver.F32, mlp)
	bytes := float64(2 * rows * cols)
	op := func(what string) map[string]any { return map[string]any{"figure": "operation", "what": what} }
	c.rate(b, op("LayerNorm"), "gigabytes_per_second", 2*bytes, 1e9, func() error {
		return c.s.LayerNorm(y, x, weight, driver.View{Buf: bias.Buf, N: cols}, cols, 1e-6)
	})
	c.rate(b, op("Add"), "gigabytes_per_second", 3*bytes, 1e9, func() error { return c.s.Add(y, x, z) })
	c.rate(b, op("GELU"), "gigabytes_per_second", 2*bytes, 1e9, func() error { return c.s.Apply(driver.GELU, y, x) })
	part := func(v driver.View) driver.Strided {
		return driver.Strided{Buf: v.Buf, Off: v.Off, Batch: tokens * cols, Head: width, Row: cols}
	}
	a := driver.AttentionArgs{Q: part(x), K: part(z), V: part(x), Y: part(y), Batch: images, Heads: heads, Tq: tokens, Tk: tokens, Width: width,
		Scale: float32(1 / math.Sqrt(float64(width)))}
	c.rate(b, op("attention"), "teraflops", 4*float64(images*heads*tokens)*float64(tokens*width), 1e12, func() error { return c.s.Attention(a) })
	up, down, hidden := randomMatrix(b, d, mlp, cols), randomMatrix(b, d, cols, mlp), random(b, c.s, driver.Activation, rows*mlp)
	flops := 2 * float64(rows) * float64(cols) * float64(mlp)
	c.rate(b, op("MLP in, bias, GELU"), "teraflops", flops, 1e12, func() error { return c.s.Linear(hidden, x, rows, up, bias, driver.GELU, true, driver.View{}) })
	c.rate(b, op("MLP out, bias, residual"), "teraflops", flops, 1e12, func() error {
		return c.s.Linear(y, hidden, rows, down, driver.View{Buf: bias.Buf, N: cols}, 0, false, z)
	})
}
