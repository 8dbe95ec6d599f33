package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sower/gpu/driver"
)

// countTask counts its pieces and the threads that are at work at once.
type countTask struct {
	pieces
	done, now, most *atomic.Int64
}

func (t *countTask) run(*worker) {
	n := t.now.Add(1)
	for m := t.most.Load(); n > m && !t.most.CompareAndSwap(m, n); m = t.most.Load() {
	}
	for _, ok := t.take(); ok; _, ok = t.take() {
		time.Sleep(10 * time.Microsecond)
		t.done.Add(1)
	}
	t.now.Add(-1)
}

// TestPool runs more callers than threads: every piece is done once, and never do more than the given threads compute.
func TestPool(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 8} {
		p := newPool(threads)
		var done, now, most atomic.Int64
		var callers sync.WaitGroup
		const count, jobs, each = 5, 100, 7
		for range count {
			callers.Go(func() {
				var w worker
				var j job
				task := countTask{done: &done, now: &now, most: &most}
				for i := range jobs {
					task.set(each)
					p.run(&w, &j, &task, i%3 > 0)
					if i%10 == 0 {
						time.Sleep(300 * time.Microsecond) // long enough for helpers to go to sleep
					}
				}
			})
		}
		callers.Wait()
		p.close()
		if got := done.Load(); got != count*jobs*each {
			t.Errorf("%d threads: %d pieces done, want %d", threads, got, count*jobs*each)
		}
		if got := int(most.Load()); got > threads {
			t.Errorf("%d threads: %d at work at once", threads, got)
		}
	}
}

// TestConcurrentStreams multiplies on many streams at once and wants the bits of one alone.
func TestConcurrentStreams(t *testing.T) {
	d := testDevice(t, 3)
	const m, n, k = 61, 200, 300
	r := rand.New(rand.NewPCG(3, 4))
	x, w := make([]float32, m*k), newMatrix(d.kernels, n, k)
	weights := make([]float32, n*k)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	for i := range weights {
		weights[i] = float32(r.NormFloat64())
	}
	if err := w.SetRows(0, weights); err != nil {
		t.Fatal(err)
	}
	run := func() []float32 {
		s, err := d.NewStream()
		if err != nil {
			t.Error(err)
		}
		defer s.Close()
		y := floatsOn(t, d, make([]float32, m*n))
		for range 20 {
			if err := s.MatMul(y, n, floatsOn(t, d, x), m, w); err != nil {
				t.Error(err)
			}
		}
		return floats(y)
	}
	want := run()
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for i, v := range run() {
				if math.Float32bits(v) != math.Float32bits(want[i]) {
					t.Errorf("element %d is %g, want the bits of %g", i, v, want[i])
					return
				}
			}
		})
	}
	callers.Wait()
}

// TestSteadyStateAllocatesNothing runs each operation twice; the second time everything must be there.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	d := testDevice(t, 2)
	const b, tokens, c, heads = 2, 33, 48, 3
	w := newMatrix(d.kernels, c, c)
	s, err := d.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	stream := s.(*stream)
	x, y := floatsOn(t, d, make([]float32, b*tokens*c)), floatsOn(t, d, make([]float32, b*tokens*c))
	row := floatsOn(t, d, make([]float32, c))
	by := func(v driver.View) driver.Strided {
		return driver.Strided{Buf: v.Buf, Batch: tokens * c, Head: c / heads, Row: c}
	}
	allocs := testing.AllocsPerRun(10, func() {
		_ = stream.Linear(y, x, b*tokens, w, row, driver.GELU, true, driver.View{})
		_ = stream.LayerNorm(y, x, row, row, c, 1e-5)
		_ = stream.Add(y, x, row)
		_ = stream.Attention(driver.AttentionArgs{Y: by(y), Q: by(x), K: by(x), V: by(x), Batch: b, Heads: heads,
			Tq: tokens, Tk: tokens, Width: c / heads, Scale: 1})
	})
	if allocs > 0 {
		t.Errorf("%v allocations a round", allocs)
	}
}

// BenchmarkGEMM multiplies at the shapes of the vision transformer (257 tokens) and of small models, weights packed, with
// every kind of kernels that this processor has.
func BenchmarkGEMM(b *testing.B) {
	for _, k := range append(available(false), available(true)...) {
		for _, threads := range []int{1, runtime.GOMAXPROCS(0)} {
			for _, size := range [][3]int{{257, 4224, 1408}, {257, 1408, 1408}, {257, 6144, 1408}, {257, 1408, 6144}, {1028, 6144, 1408},
				{32, 768, 768}, {32, 3072, 768}, {257, 192, 192}, {1, 1408, 1408}} {
				m, n, c := size[0], size[1], size[2]
				d := testDevice(b, threads)
				b.Run(fmt.Sprintf("%s/threads=%d/%dx%dx%d", k.name, d.pool.threads, m, n, c), func(b *testing.B) {
					w := newMatrix(k, n, c)
					s, _ := d.NewStream()
					x, y := floatsOn(b, d, make([]float32, m*c)), floatsOn(b, d, make([]float32, m*n))
					for b.Loop() {
						_ = s.MatMul(y, n, x, m, w)
					}
					b.ReportMetric(2*float64(m)*float64(n)*float64(c)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
				})
			}
		}
	}
}
