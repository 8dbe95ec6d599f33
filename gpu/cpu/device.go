package cpu

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"

	"sower/gpu"
	"sower/gpu/driver"
)

func init() {
	gpu.Register("cpu", func(o gpu.Options) (driver.Device, error) { return open(o) })
	gpu.Register("plain", func(o gpu.Options) (driver.Device, error) {
		if err := check(o); err != nil {
			return nil, err
		}
		return plainDevice{o.Precision == gpu.BF16}, nil
	})
}

// check refuses what no processor has.
func check(o gpu.Options) error {
	switch {
	case o.Index != 0:
		return fmt.Errorf("there is one processor, number 0, not %d", o.Index)
	case o.Precision == gpu.FP8:
		return errors.New("precision fp8 is for GPUs of compute capability 9.0 (--device cuda); use fp32, or bf16 where the processor has it")
	case o.Precision == gpu.FP16:
		return errors.New("precision fp16 is for GPUs (--device cuda); use fp32, or bf16 where the processor has it")
	}
	return nil
}

// device is the fast back end.
type device struct {
	pool    *pool
	exact   *kernels // for float32
	kernels *kernels // for the products of the chosen precision
}

func open(o gpu.Options) (*device, error) {
	if err := check(o); err != nil {
		return nil, err
	}
	d := &device{exact: available(false)[0]}
	d.kernels = d.exact
	if o.Precision == gpu.BF16 {
		list := available(true)
		if len(list) == 0 {
			return nil, errors.New("precision bf16 needs a processor with AVX512_BF16 (AMD from Zen 4, Intel from Cooper Lake on), which " +
				"this is not; use fp32")
		}
		d.kernels = list[0]
	}
	d.pool = newPool(cmp.Or(o.Threads, runtime.GOMAXPROCS(0)))
	return d, nil
}

func (d *device) Describe() string {
	return fmt.Sprintf("%d threads, %s", d.pool.threads, d.kernels.name)
}

func (d *device) Alloc(t driver.DType, n int) (driver.Buffer, error) { return alloc(t, n) }

func (d *device) NewMatrix(rows, cols int, kind driver.Kind) (driver.Matrix, error) {
	if kind == driver.Exact {
		return newMatrix(d.exact, rows, cols), nil
	}
	return newMatrix(d.kernels, rows, cols), nil
}

func (d *device) NewStream() (driver.Stream, error) {
	return &stream{pool: d.pool, kernels: d.kernels, exact: d.exact}, nil
}

func (d *device) Close() error {
	d.pool.close()
	return nil
}

// stream runs every operation at once, on the caller's goroutine and those of the pool.
type stream struct {
	memory
	pool    *pool
	kernels *kernels // for products of activations
	exact   *kernels // for those of gradients
	self    worker   // the caller's scratch memory
	job     job
	// The operation in progress. They are fields, so that starting one allocates nothing.
	pack     packTask
	multiply multiplyTask
	batch    batchTask
	attend   attentionTask
	rows     rowsTask
	copies   copyTask
	nearest  nearestTask
	ranges   rangeTask
	grads    attentionGradTask
	input    inputTask
	packed   []float32 // rows of x, packed for multiply
	panels   panelsTask
	panelled []float32 // the second factor of a wide product, packed
	once     matrix    // of it
	partial  []float32 // gradients of heads that share keys
}

// run gives a task of n pieces to the threads, or only to the caller if it is too small to share.
func (s *stream) run(t task, pieces int, share bool) {
	s.pool.run(&s.self, &s.job, t, share && pieces > 1)
}

func (s *stream) Close() error { return nil }
