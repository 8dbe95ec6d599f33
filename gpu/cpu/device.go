package cpu

import (
	"cmp"
	"fmt"
	"runtime"

	"sower/gpu"
	"sower/gpu/driver"
)

func init() {
	gpu.Register("cpu", func(o gpu.Options) (driver.Device, error) { return open(o), nil })
	gpu.Register("plain", func(gpu.Options) (driver.Device, error) { return plainDevice{}, nil })
}

// device is the fast back end.
type device struct {
	pool *pool
}

func open(o gpu.Options) *device {
	return &device{pool: newPool(cmp.Or(o.Threads, runtime.GOMAXPROCS(0)))}
}

func (d *device) Describe() string {
	kernels := "portable"
	if avx2 {
		kernels = "AVX2+FMA"
	}
	return fmt.Sprintf("%d threads, %s", d.pool.threads, kernels)
}

func (d *device) Alloc(t driver.DType, n int) (driver.Buffer, error) { return alloc(t, n) }

func (d *device) NewMatrix(rows, cols int) (driver.Matrix, error) { return newMatrix(rows, cols), nil }

func (d *device) NewStream() (driver.Stream, error) { return &stream{pool: d.pool}, nil }

func (d *device) Close() error {
	d.pool.close()
	return nil
}

// stream runs every operation at once, on the caller's goroutine and those of the pool.
type stream struct {
	memory
	pool *pool
	self worker // the caller's scratch memory
	job  job
	// The operation in progress. They are fields, so that starting one allocates nothing.
	pack     packTask
	multiply multiplyTask
	batch    batchTask
	attend   attentionTask
	rows     rowsTask
	nearest  nearestTask
	packed   []float32 // rows of x, packed for multiply
}

// run gives a task of n pieces to the threads, or only to the caller if it is too small to share.
func (s *stream) run(t task, pieces int, share bool) {
	s.pool.run(&s.self, &s.job, t, share && pieces > 1)
}

func (s *stream) Close() error { return nil }
