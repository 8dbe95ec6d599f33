//go:build cuda && linux && cgo

package cuda

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"

	"gorgonia.org/cu"

	"sower/gpu"
	"sower/gpu/cuda/internal/cublaslt"
	"sower/gpu/cuda/internal/ext"
	"sower/gpu/cuda/internal/libcuda"
	"sower/gpu/cuda/kernels"
	"sower/gpu/driver"
)

func init() {
	gpu.Register("cuda", func(o gpu.Options) (driver.Device, error) { return open(o) })
	gpu.RegisterProbe("cuda", probe)
	gpu.RegisterDoctor("cuda", examine)
}

// minCapability is 8.0, times ten: bf16 on tensor cores and asynchronous copies to shared memory begin there.
const minCapability = 80

// hopperCapability is that of the modules whose name begins with hopper.
const hopperCapability = 90

// bestBatch is the number of images at which a large GPU's products fill whole tiles: 257 rows an image in tiles of 128 rows.
const bestBatch = 128

// device is one GPU's primary context with what all its streams share.
type device struct {
	dev        cu.Device
	ctx        ext.Context
	name       string
	capability int // 80, 90, …
	sms        int // multiprocessors
	memory     int // bytes
	precision  uint32
	fp8        bool              // narrow weights are e4m3
	gemm       string            // "own", "lt" or "mma"; "" lets products.go choose
	lt         *cublaslt.Library // nil where the library is missing
	plans      plans             // of lt

	mu        sync.Mutex
	modules   map[string]cu.Module
	functions map[kernels.Kernel]cu.Function

	upload uploader
	lost   atomic.Pointer[error] // the first error that broke the context
	used   atomic.Int64          // bytes of device memory held
}

// probe lists the devices that the driver sees.
func probe() ([]driver.Found, error) {
	if err := libcuda.Available(); err != nil {
		return nil, fmt.Errorf("no usable CUDA driver: %w", err)
	}
	n, err := cu.NumDevices()
	if err != nil {
		return nil, fmt.Errorf("count CUDA devices: %w", ext.Wrap(err))
	}
	var found []driver.Found
	for i := range n {
		d := &device{}
		if err := d.describe(i); err != nil {
			return found, fmt.Errorf("CUDA device %d: %w", i, err)
		}
		f := driver.Found{Name: fmt.Sprintf("cuda:%d", i), Detail: d.label()}
		if d.capability < minCapability {
			f.Fault = "too old: compute capability 8.0 (A100, RTX 30) or newer is needed"
		}
		found = append(found, f)
	}
	return found, nil
}

func (d *device) label() string {
	return fmt.Sprintf("%s, %.0f GiB, compute capability %d.%d, %d multiprocessors", d.name, float64(d.memory)/(1<<30), d.capability/10, d.capability%10, d.sms)
}

// describe fills in what can be known without a context.
func (d *device) describe(index int) error {
	var err error
	if d.dev, err = cu.GetDevice(index); err != nil {
		return ext.Wrap(err)
	}
	if d.name, err = d.dev.Name(); err != nil {
		return ext.Wrap(err)
	}
	memory, err := d.dev.TotalMem()
	if err != nil {
		return ext.Wrap(err)
	}
	d.memory = int(memory)
	for _, a := range []struct {
		to   *int
		name cu.DeviceAttribute
		unit int
	}{{&d.capability, cu.ComputeCapabilityMajor, 10}, {&d.capability, cu.ComputeCapabilityMinor, 1}, {&d.sms, cu.MultiprocessorCount, 1}} {
		v, err := d.dev.Attribute(a.name)
		if err != nil {
			return ext.Wrap(err)
		}
		*a.to += v * a.unit
	}
	return nil
}

func open(o gpu.Options) (*device, error) {
	found, err := probe()
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, errors.New("the CUDA driver works, but shows no device to this process (CUDA_VISIBLE_DEVICES, or no GPU given to the container?)")
	case o.Index >= len(found):
		return nil, fmt.Errorf("there is no device %d: the CUDA driver shows %d, from 0 on", o.Index, len(found))
	}
	d := &device{modules: map[string]cu.Module{}, functions: map[kernels.Kernel]cu.Function{}, gemm: gemmChoice()}
	d.precision = map[gpu.Precision]uint32{gpu.FP32: kernels.F32, gpu.FP16: kernels.F16, gpu.FP8: kernels.F16, gpu.BF16: kernels.BF16}[o.Precision]
	if err := d.describe(o.Index); err != nil {
		return nil, err
	}
	if d.capability < minCapability {
		return nil, fmt.Errorf("%s: %s", d.label(), found[o.Index].Fault)
	}
	if d.fp8 = o.Precision == gpu.FP8; d.fp8 && d.capability != hopperCapability {
		return nil, fmt.Errorf("%s: precision fp8 needs compute capability 9.0 (H100, H200, GH200), for which alone its kernels are made; use float16", d.label())
	}
	// Waiting threads sleep; a context that another library of this process has made keeps its own flags.
	_ = d.dev.SetPrimaryCtxFlags(cu.SchedBlockingSync)
	primary, err := d.dev.RetainPrimaryCtx()
	if err != nil {
		return nil, fmt.Errorf("%s: primary context: %w", d.name, ext.Wrap(err))
	}
	d.ctx = ext.On(primary)
	if err := d.upload.open(d); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", d.name, err), d.Close())
	}
	if d.gemm != gemmOwn && d.precision != kernels.F32 {
		d.lt, err = cublaslt.Open(d.ctx, d.name)
		if err != nil && d.gemm == gemmLt {
			return nil, errors.Join(fmt.Errorf("%s: %w", d.name, err), d.Close())
		}
	}
	return d, nil
}

func (d *device) Describe() string {
	products := "own kernels"
	switch {
	case d.lt != nil:
		products = fmt.Sprintf("cublasLt %d", cublaslt.Version())
	case d.precision == kernels.F32:
		products = "float32 without TF32"
	}
	if d.fp8 {
		products += ", of narrow weights in e4m3 by own kernels"
	}
	return fmt.Sprintf("%s, products by %s", d.label(), products)
}

// Batch implements driver.Batcher.
func (d *device) Batch() int { return bestBatch }

// freeShared is how many bytes of dynamic shared memory a block may have without asking.
const freeShared = 48 << 10

// function returns a kernel, loading its module first; the driver compiles PTX then, once a process.
func (d *device) function(k kernels.Kernel) (cu.Function, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f, ok := d.functions[k]; ok {
		return f, nil
	}
	var f cu.Function
	m, ok := d.modules[k.Module]
	if !ok {
		text, err := kernels.PTX(k.Module)
		if err != nil {
			return f, err
		}
		err = d.ctx.Do(func() (err error) { m, err = cu.LoadData(string(text) + "\x00"); return err })
		if err != nil {
			return f, d.failed(fmt.Errorf("compile kernels %q for compute capability %d.%d: %w", k.Module, d.capability/10, d.capability%10, err))
		}
		d.modules[k.Module] = m
	}
	if err := d.ctx.Do(func() (err error) { f, err = m.Function(k.Name); return err }); err != nil {
		return f, d.failed(fmt.Errorf("kernel %s of %q: %w", k.Name, k.Module, err))
	}
	if n := kernels.DynamicShared(k); n > freeShared {
		if err := d.ctx.MaxDynamicShared(f, n); err != nil {
			return f, d.failed(fmt.Errorf("%d bytes of shared memory for kernel %s: %w", n, k.Name, err))
		}
	}
	d.functions[k] = f
	return f, nil
}

// failed gives an error of the driver the meaning that callers act on, and remembers one that broke the context.
func (d *device) failed(err error) error {
	switch {
	case err == nil:
		return nil
	case ext.Sticky(err):
		err = fmt.Errorf("%w (%s): %w; the process has to be started again", driver.ErrDeviceLost, d.name, err)
		d.lost.CompareAndSwap(nil, &err)
		return *d.lost.Load()
	case ext.OutOfMemory(err):
		return fmt.Errorf("%w (%s, %.1f of %.1f GiB held by this process): %w", driver.ErrOutOfMemory, d.name, float64(d.used.Load())/(1<<30), float64(d.memory)/(1<<30), err)
	}
	return fmt.Errorf("cuda: %w", err)
}

// alive returns the error that broke the context, if one did.
func (d *device) alive() error {
	if err := d.lost.Load(); err != nil {
		return *err
	}
	return nil
}

// take allocates device memory of at least one byte.
func (d *device) take(bytes int) (uint64, error) {
	if err := d.alive(); err != nil {
		return 0, err
	}
	p, err := d.ctx.MemAlloc(max(bytes, 1))
	if err != nil {
		return 0, d.failed(fmt.Errorf("allocate %.1f MiB: %w", float64(bytes)/(1<<20), err))
	}
	d.used.Add(int64(bytes))
	return p, nil
}

func (d *device) give(p uint64, bytes int) {
	if p == 0 {
		return
	}
	d.used.Add(-int64(bytes))
	_ = d.ctx.MemFree(p) // of a lost device this fails; the process ends anyway
}

// Close unloads the kernels and gives the context back.
func (d *device) Close() error {
	var errs []error
	d.plans.close()
	if d.lt != nil {
		errs = append(errs, d.lt.Close())
	}
	errs = append(errs, d.upload.close(d))
	for _, m := range d.modules {
		errs = append(errs, d.ctx.Do(m.Unload))
	}
	clear(d.modules)
	clear(d.functions)
	errs = append(errs, ext.Wrap(d.dev.ReleasePrimaryCtx()))
	if d.lost.Load() != nil {
		return nil // everything fails now; the cause was reported
	}
	return errors.Join(errs...)
}

// run launches a kernel with its argument struct.
func run[T any](s *stream, k kernels.Kernel, grid [3]uint32, block, shared uint32, args *T) error {
	return s.launch(k, grid, block, shared, unsafe.Pointer(args), unsafe.Sizeof(*args))
}
