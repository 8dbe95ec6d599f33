//go:build cuda && linux && cgo

package ext_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"gorgonia.org/cu"
	"sower/gpu/cuda/internal/ext"
	"sower/gpu/cuda/internal/fakecuda"
	"sower/gpu/cuda/internal/libcuda"
	"sower/gpu/cuda/kernels"
)

func TestFaults(t *testing.T) {
	fakecuda.NeedFake(t)
	c, s := device(t)
	f := function(t, c, kernels.Add)
	x := memory(t, c, 16)
	host := floats(t, c, 16)
	before := fakecuda.Count("memory")

	fakecuda.Fail("cuMemAlloc", 1, int(ext.ErrOutOfMemory))
	p := must(c.MemAlloc(64))(t)
	if _, err := c.MemAlloc(64); !ext.OutOfMemory(err) || ext.Sticky(err) {
		t.Error("the second allocation:", err)
	}
	q := must(c.MemAlloc(64))(t)
	try(t, c.MemFree(p), c.MemFree(q))
	if n := fakecuda.Count("memory"); n != before {
		t.Errorf("%d allocations, %d before", n, before)
	}

	fakecuda.Fail("copy", 0, int(ext.ErrInvalidValue))
	try(t, c.CopyHtoDAsync(x, unsafe.Pointer(&host[0]), 64, s))
	if err := c.StreamSync(s); !errors.Is(err, ext.ErrInvalidValue) {
		t.Error("a copy that fails when it runs:", err)
	}
	try(t, c.StreamSync(s))

	fakecuda.Fail("cuLaunchKernel", 0, 701)
	if err := add(c, f, s, x, x, 16); !errors.Is(err, ext.Error(701)) {
		t.Error("a launch that fails:", err)
	}
	try(t, add(c, f, s, x, x, 16))

	// A kernel that fails when it runs takes the context with it.
	try(t, c.StreamSync(s))
	fakecuda.Fail("kernel", 0, int(ext.ErrLaunchFailed))
	try(t, add(c, f, s, x, x, 16))
	if err := c.StreamSync(s); !ext.Sticky(err) {
		t.Error("a kernel that fails:", err)
	}
	_, err := c.MemAlloc(64)
	if !errors.Is(err, ext.ErrLaunchFailed) || !strings.Contains(err.Error(), "CUDA_ERROR_LAUNCH_FAILED (719)") {
		t.Error("the device is lost:", err)
	}
	fakecuda.Reset()
	try(t, add(c, f, s, x, x, 16), c.StreamSync(s))
}

func TestMisuse(t *testing.T) {
	fakecuda.NeedFake(t)
	c, s := device(t)
	f := function(t, c, kernels.Add)
	x := memory(t, c, 16)
	host := floats(t, c, 16)
	plain := make([]float32, 16)
	a := kernels.AddArgs{}
	for name, err := range map[string]error{
		"a copy past the end":    c.CopyHtoDAsync(x, unsafe.Pointer(&host[0]), 68, s),
		"memory that is not":     c.MemsetD8Async(x+64, 0, 1, s),
		"memory not pinned":      c.CopyDtoHAsync(unsafe.Pointer(&plain[0]), x, 64, s),
		"overlap":                c.CopyDtoDAsync(x, x+4, 32, s),
		"freed in the middle":    c.MemFree(x + 16),
		"too few argument bytes": c.Launch(f, [3]uint32{1, 1, 1}, 32, 0, s, unsafe.Pointer(&a), unsafe.Sizeof(a)-8),
		"no blocks":              c.Launch(f, [3]uint32{0, 1, 1}, 32, 0, s, unsafe.Pointer(&a), unsafe.Sizeof(a)),
		"too many threads":       c.Launch(f, [3]uint32{1, 1, 1}, 1025, 0, s, unsafe.Pointer(&a), unsafe.Sizeof(a)),
	} {
		if !errors.Is(err, ext.ErrInvalidValue) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var m cu.Module
	if err := c.Do(func() (err error) { m, err = cu.LoadData(".version 7.8\n.target sm_90a\n.entry f()\n"); return err }); err != nil {
		t.Error(err)
	}
	if err := c.Do(func() (err error) { _, err = m.Function("g"); return err }); !errors.Is(err, ext.ErrNotFound) {
		t.Error("an entry that the PTX lacks:", err)
	}
	try(t, c.Do(m.Unload))
	for text, want := range map[string]ext.Error{".version 9.9\n.target sm_80\n": ext.ErrUnsupportedPTX, ".version 7.8\n.target sm_100\n": ext.ErrNoBinary, "text": ext.ErrInvalidPTX} {
		if _, err := c.LoadModule([]byte(text)); !errors.Is(err, want) || !strings.Contains(err.Error(), "fake compiler: ") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// child runs the test in a process of its own with more environment; in that process it returns true.
func child(t *testing.T, env ...string) bool {
	t.Helper()
	fakecuda.NeedFake(t)
	if fakecuda.InChild(t) {
		return true
	}
	out, err := fakecuda.Child(t, t.Name(), env...)
	if err != nil || strings.Contains(out, "SKIP") {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

func TestNoDevice(t *testing.T) {
	fakecuda.NeedFake(t)
	out, err := fakecuda.Child(t, "TestStartsAnywhere", "FAKECUDA_DEVICES=0")
	if err != nil || !strings.Contains(out, "returned 100 (no CUDA-capable device is detected)") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = fakecuda.Child(t, "TestStartsAnywhere", "SOWER_LIBCUDA=/nonexistent/libcuda.so.1")
	if err != nil || !strings.Contains(out, "no CUDA driver: /nonexistent/libcuda.so.1: cannot open shared object file") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestStartsAnywhere runs with and without a driver; the tests that start it look at what it says.
func TestStartsAnywhere(t *testing.T) {
	err := libcuda.Available()
	n, counted := cu.NumDevices()
	t.Logf("available: %v; %d devices, %v; version %d; %q", err, n, counted, cu.Version(), libcuda.Path())
	if (err == nil) != (counted == nil && n > 0) {
		t.Error("Available and NumDevices disagree")
	}
	if err != nil && !errors.Is(ext.Wrap(counted), ext.ErrNoDevice) {
		t.Error("every call must say that there is no device:", counted)
	}
	if err != nil && libcuda.Symbol("cuInit") != nil && os.Getenv("FAKECUDA_DEVICES") != "0" {
		t.Error("a symbol without a library")
	}
}

func TestMemoryLimit(t *testing.T) {
	if !child(t, "FAKECUDA_MEMORY=1000") {
		return
	}
	c, _ := device(t)
	p := must(c.MemAlloc(600))(t)
	if _, err := c.MemAlloc(401); !ext.OutOfMemory(err) {
		t.Error(err)
	}
	if free, total, err := c.MemInfo(); free != 400 || total != 1000 || err != nil {
		t.Error(free, total, err)
	}
	try(t, c.MemFree(p))
}

func TestSeveralDevices(t *testing.T) {
	if !child(t, "FAKECUDA_DEVICES=3", "FAKECUDA_CAPABILITY=80", "FAKECUDA_FAIL=cuMemAlloc:1:2") {
		return
	}
	if n, err := cu.NumDevices(); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	c, s := device(t)
	d2, err := cu.Device(2).RetainPrimaryCtx()
	try(t, err)
	other := ext.On(d2)
	if err := other.StreamSync(s); !errors.Is(err, ext.Error(400)) {
		t.Error("a stream of another device:", err)
	}
	p := must(other.MemAlloc(16))(t)
	if _, err := c.MemAlloc(16); !ext.OutOfMemory(err) {
		t.Error("the fault of the environment:", err)
	}
	fakecuda.Fail("cuMemFree", 0, 719)
	if err := other.MemFree(p); !ext.Sticky(err) {
		t.Error(err)
	}
	try(t, c.StreamSync(s)) // one device lost is not all
	fakecuda.Reset()
	try(t, other.MemFree(p))
	if major, minor, err := cu.Device(2).ComputeCapability(); major != 8 || minor != 0 || err != nil {
		t.Error(major, minor, err)
	}
	if err := c.Do(func() error { _, err := cu.LoadData(".version 8.0\n.target sm_90a\n"); return err }); !errors.Is(err, ext.ErrNoBinary) {
		t.Error("sm_90a on 8.0:", err)
	}
	if _, err := c.TensorMap2D(0, ext.TensorF16, 8, 8, 16, 8, 8, 0); !errors.Is(err, ext.ErrNotSupported) {
		t.Error("tensor maps on 8.0:", err)
	}
	try(t, cu.Device(2).ReleasePrimaryCtx())
}

// An old driver lacks functions: those that this package looks up and those that the stand-in for -lcuda forwards.
func TestMissingFunctions(t *testing.T) {
	fakecuda.NeedFake(t)
	if !fakecuda.InChild(t) {
		old := fakecuda.BuildWithout(t, "cuMemHostAlloc", "cuGraphLaunch", "cuStreamBeginCapture_v2", "cuTensorMapEncodeTiled", "cuMemsetD8Async", "cuGetErrorName")
		out, err := fakecuda.Child(t, t.Name(), "SOWER_LIBCUDA="+old)
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if got := fmt.Sprint(ext.Missing()); got != "[cuMemHostAlloc cuStreamBeginCapture_v2 cuGraphLaunch cuTensorMapEncodeTiled cuGetErrorName]" {
		t.Error(got)
	}
	if !slices.Contains(libcuda.Missing(), "cuMemsetD8Async") || slices.Contains(libcuda.Missing(), "cuMemAlloc_v2") {
		t.Error(libcuda.Missing())
	}
	c, s := device(t)
	x := memory(t, c, 16)
	_, hostErr := c.HostAlloc(16)
	_, captureErr := c.Capture(s, func() error { t.Error("captured"); return nil })
	_, mapErr := c.TensorMap2D(x, ext.TensorF16, 8, 8, 16, 8, 8, 0)
	for _, err := range []error{hostErr, captureErr, mapErr, c.MemsetD8Async(x, 0, 4, s)} {
		if !errors.Is(err, ext.ErrNotSupported) {
			t.Error(err)
		}
	}
	if got := fmt.Sprint(ext.ErrOutOfMemory); got != "CUDA error 2" {
		t.Error("without names:", got)
	}
}
