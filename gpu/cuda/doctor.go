//go:build cuda && linux && cgo

package cuda

import (
	"fmt"
	"math"
	"strings"
	"time"

	"gorgonia.org/cu"

	"sower/gpu"
	"sower/gpu/cuda/internal/cublaslt"
	"sower/gpu/cuda/internal/libcuda"
	"sower/gpu/driver"
)

// examine goes from the driver's file to a product that is compared with the host's.
func examine() []driver.Check {
	checks := []driver.Check{{Name: "build", State: driver.Fine, Detail: "with CUDA, unmodified gorgonia.org/cu, no toolkit needed at run time"}}
	add := func(name string, state driver.State, detail, cure string) {
		checks = append(checks, driver.Check{Name: name, State: state, Detail: detail, Cure: cure})
	}
	if err := libcuda.Available(); err != nil {
		add("driver", driver.Broken, err.Error(), "install NVIDIA's driver; in a container, start it with --gpus all (or the device plugin of your cluster), so that "+
			"libcuda.so.1 is mounted; SOWER_LIBCUDA=/path/libcuda.so.1 names it directly")
		return checks
	}
	v := cu.Version()
	add("driver", driver.Fine, fmt.Sprintf("%s, for CUDA %d.%d", libcuda.Path(), v/1000, v%1000/10), "")
	if missing := libcuda.Missing(); len(missing) > 0 {
		const few = 6
		names := strings.Join(missing[:min(few, len(missing))], ", ")
		if len(missing) > few {
			names += fmt.Sprintf(" and %d more", len(missing)-few)
		}
		add("driver functions", driver.Lacking, names, "a newer driver has them; what Sower itself calls is checked below")
	}
	found, err := probe()
	switch {
	case err != nil:
		add("devices", driver.Broken, err.Error(), "nvidia-smi should list a GPU")
		return checks
	case len(found) == 0:
		add("devices", driver.Broken, "the driver shows none to this process", "look at CUDA_VISIBLE_DEVICES, and whether the container was given a GPU")
		return checks
	}
	if err := cublaslt.Available(); err != nil {
		add("cublasLt", driver.Lacking, err.Error(), "Sower's own kernels multiply instead; to use the library, install libcublas of CUDA 12 or 13 or set CUBLASLT_DIR to its folder")
	} else {
		add("cublasLt", driver.Fine, fmt.Sprintf("%s, version %d", cublaslt.Path(), cublaslt.Version()), "")
	}
	for i, f := range found {
		checks = append(checks, tryDevice(i, f))
	}
	return checks
}

// tryDevice opens a device for each precision and multiplies on it.
func tryDevice(index int, f driver.Found) driver.Check {
	c := driver.Check{Name: f.Name, State: driver.Fine, Detail: f.Detail}
	precisions := []gpu.Precision{gpu.FP32, gpu.FP16, gpu.BF16}
	d := &device{}
	if err := d.describe(index); err == nil && d.capability == hopperCapability {
		precisions = append(precisions, gpu.FP8)
	}
	for _, p := range precisions {
		began := time.Now()
		worst, err := selfTest(index, p)
		if err == nil && worst > selfTestBar[p] {
			err = fmt.Errorf("products are off by %.2g of the largest, at most %.2g is rounding", worst, selfTestBar[p])
		}
		if err != nil {
			c.State, c.Detail = driver.Broken, fmt.Sprintf("%s; in %s: %v", f.Detail, p, err)
			c.Cure = "a driver of version 525 or newer compiles the kernels; nvidia-smi -q shows errors of the device; another process may hold its memory"
			return c
		}
		c.Detail += fmt.Sprintf("; %s works (%.1f s)", p, time.Since(began).Seconds())
	}
	return c
}

// selfTestBar is the rounding of operands, and of results in 16 bits, of the largest element.
var selfTestBar = map[gpu.Precision]float64{gpu.FP32: 1e-6, gpu.FP16: 2e-3, gpu.BF16: 1.6e-2, gpu.FP8: 5e-2}

// selfTest multiplies two matrices of known values on a fresh device, and returns the largest difference from float64 over
// the largest element.
func selfTest(index int, p gpu.Precision) (worst float64, err error) {
	d, err := open(gpu.Options{Index: index, Precision: p})
	if err != nil {
		return 0, err
	}
	defer d.Close()
	const m, n, k = 130, 72, 96
	x, w := make([]float32, m*k), make([]float32, n*k)
	for i := range x {
		x[i] = float32(math.Sin(float64(i)))
	}
	for i := range w {
		w[i] = float32(math.Cos(float64(i)))
	}
	weight, err := d.NewMatrix(n, k, driver.Narrow)
	if err != nil {
		return 0, err
	}
	defer weight.Free()
	if err := weight.SetRows(0, w); err != nil {
		return 0, err
	}
	s, err := d.newStream()
	if err != nil {
		return 0, err
	}
	defer s.Close()
	in, err := d.Alloc(driver.Activation, m*k)
	if err != nil {
		return 0, err
	}
	defer in.Free()
	out, err := d.Alloc(driver.Activation, m*n)
	if err != nil {
		return 0, err
	}
	defer out.Free()
	got := make([]float32, m*n)
	xv, yv := driver.View{Buf: in, N: m * k}, driver.View{Buf: out, N: m * n}
	for _, step := range []func() error{
		func() error { return s.WriteF32(xv, x) },
		func() error { return s.MatMul(yv, n, xv, m, weight) },
		func() error { return s.ReadF32(got, yv) },
		s.Sync,
	} {
		if err := step(); err != nil {
			return 0, err
		}
	}
	largest := 0.0
	for i := range m {
		for j := range n {
			sum := 0.0
			for q := range k {
				sum += float64(x[i*k+q]) * float64(w[j*k+q])
			}
			largest = max(largest, math.Abs(sum))
			worst = max(worst, math.Abs(sum-float64(got[i*n+j])))
		}
	}
	if math.IsNaN(worst) {
		return math.Inf(1), nil
	}
	return worst / largest, nil
}
