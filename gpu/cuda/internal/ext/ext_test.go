//go:build cuda && linux && cgo

package ext_test

import (
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"gorgonia.org/cu"
	"sower/gpu/cuda/internal/ext"
	"sower/gpu/cuda/internal/fakecuda"
	"sower/gpu/cuda/kernels"
)

func TestMain(m *testing.M) { fakecuda.Main(m) }

// device is the first device's primary context with a stream, given back at the test's end.
func device(t testing.TB) (ext.Context, cu.Stream) {
	t.Helper()
	fakecuda.Need(t)
	d, err := cu.GetDevice(0)
	if err != nil {
		t.Fatal(err)
	}
	primary, err := d.RetainPrimaryCtx()
	if err != nil {
		t.Fatal(err)
	}
	c := ext.On(primary)
	var s cu.Stream
	if err := c.Do(func() (err error) { s, err = cu.MakeStream(cu.NonBlocking); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !fakecuda.Real() {
			fakecuda.Reset()
		}
		if err := c.Do(s.Destroy); err != nil {
			t.Error(err)
		}
		if err := d.ReleasePrimaryCtx(); err != nil {
			t.Error(err)
		}
	})
	return c, s
}

func function(t testing.TB, c ext.Context, k kernels.Kernel) cu.Function {
	t.Helper()
	text, err := kernels.PTX(k.Module)
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.LoadModule(text)
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.Function(m, k.Name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !fakecuda.Real() {
			fakecuda.Reset()
		}
		if err := c.Do(m.Unload); err != nil {
			t.Error(err)
		}
	})
	return f
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func try(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// floats is pinned memory of n values; memory is device memory for as many.
func floats(t testing.TB, c ext.Context, n int) []float32 {
	b := must(c.HostAlloc(4 * n))(t)
	t.Cleanup(func() {
		if err := c.HostFree(b); err != nil && !fakecuda.Real() {
			t.Error(err)
		}
	})
	return unsafe.Slice((*float32)(unsafe.Pointer(&b[0])), n)
}

func memory(t testing.TB, c ext.Context, n int) uint64 {
	p := must(c.MemAlloc(4 * n))(t)
	t.Cleanup(func() {
		if err := c.MemFree(p); err != nil && !ext.Sticky(err) {
			t.Error(err)
		}
	})
	return p
}

// add is y += x over n values, in the kernel's own argument struct.
func add(c ext.Context, f cu.Function, s cu.Stream, y, x uint64, n int) error {
	a := kernels.AddArgs{Y: kernels.Ref{Ptr: y}, A: kernels.Ref{Ptr: y}, B: kernels.Ref{Ptr: x}, N: int64(n), NB: int64(n)}
	return c.Launch(f, [3]uint32{1, 1, 1}, 128, 0, s, unsafe.Pointer(&a), unsafe.Sizeof(a))
}

// Handles of package cu must stay structs of one pointer: this package hands them to the driver as such.
func TestHandles(t *testing.T) {
	sizes := map[string]uintptr{"CUContext": unsafe.Sizeof(cu.CUContext{}), "Stream": unsafe.Sizeof(cu.Stream{}), "Event": unsafe.Sizeof(cu.Event{}),
		"Function": unsafe.Sizeof(cu.Function{}), "Module": unsafe.Sizeof(cu.Module{})}
	for name, n := range sizes {
		if n != unsafe.Sizeof(uintptr(0)) {
			t.Errorf("cu.%s has %d bytes, no longer those of a pointer", name, n)
		}
	}
	_, s := device(t)
	if *(*unsafe.Pointer)(unsafe.Pointer(&s)) != unsafe.Pointer(s.C()) {
		t.Error("cu.Stream is not its C handle")
	}
}

func TestCopiesAndLaunches(t *testing.T) {
	c, s := device(t)
	f := function(t, c, kernels.Add)
	const n = 1000
	x, y := memory(t, c, n), memory(t, c, n)
	host := floats(t, c, n)
	for i := range host {
		host[i] = float32(i)
	}
	try(t, c.CopyHtoDAsync(x, unsafe.Pointer(&host[0]), 4*n, s), c.CopyDtoDAsync(y, x, 4*n, s), add(c, f, s, y, x, n),
		c.MemsetD8Async(x, 0, 40, s), add(c, f, s, y, x, n), c.StreamSync(s))
	got := floats(t, c, n)
	try(t, c.CopyDtoHAsync(unsafe.Pointer(&got[0]), y, 4*n, s), c.StreamSync(s))
	for i, v := range got {
		want := float32(3 * i)
		if i < 10 {
			want = float32(2 * i)
		}
		if v != want {
			t.Fatalf("%d: %g, want %g", i, v, want)
		}
	}
	// The copies that wait take any memory of the host.
	plain := []float32{1, 2, 3}
	try(t, c.CopyHtoD(x, unsafe.Pointer(&plain[0]), 12))
	back := make([]float32, 3)
	try(t, c.CopyDtoH(unsafe.Pointer(&back[0]), x, 12))
	if back[2] != 3 {
		t.Error(back)
	}
	free, total, err := c.MemInfo()
	if err != nil || free <= 0 || free > total {
		t.Error(free, total, err)
	}
}

// Many goroutines, none tied to a thread, each with its own stream: the context is current in every call.
func TestGoroutines(t *testing.T) {
	c, _ := device(t)
	f := function(t, c, kernels.Add)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var s cu.Stream
			var e cu.Event
			if err := c.Do(func() (err error) {
				if s, err = cu.MakeStream(cu.NonBlocking); err == nil {
					e, err = cu.MakeEvent(cu.DefaultEvent)
				}
				return err
			}); err != nil {
				t.Error(err)
				return
			}
			x, err := c.MemAlloc(400)
			host, err2 := c.HostAlloc(400)
			if err := errors.Join(err, err2); err != nil {
				t.Error(err)
				return
			}
			v := unsafe.Slice((*float32)(unsafe.Pointer(&host[0])), 100)
			for i := range v {
				v[i] = 1
			}
			err = c.CopyHtoDAsync(x, unsafe.Pointer(&v[0]), 400, s)
			for range 10 {
				err = errors.Join(err, add(c, f, s, x, x, 100))
			}
			err = errors.Join(err, c.CopyDtoHAsync(unsafe.Pointer(&v[0]), x, 400, s), c.Record(e, s), c.EventSync(e), c.EventDone(e))
			if err != nil || v[99] != 1024 {
				t.Error(v[99], err)
			}
			err = errors.Join(c.MemFree(x), c.HostFree(host), c.Do(func() error { return cu.DestroyEvent(&e) }), c.Do(s.Destroy))
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestEvents(t *testing.T) {
	c, s := device(t)
	f := function(t, c, kernels.Add)
	var other cu.Stream
	var e, begin, end cu.Event
	try(t, c.Do(func() (err error) {
		if other, err = cu.MakeStream(cu.NonBlocking); err == nil {
			e, err = cu.MakeEvent(cu.DisableTiming)
		}
		if err == nil {
			begin, err = cu.MakeEvent(cu.DefaultEvent)
		}
		if err == nil {
			end, err = cu.MakeEvent(cu.DefaultEvent)
		}
		return err
	}))
	x := memory(t, c, 64)
	host := floats(t, c, 64)
	for i := range host {
		host[i] = 1
	}
	// The second stream's copy back waits for the first stream's work.
	try(t, c.Record(begin, s), c.CopyHtoDAsync(x, unsafe.Pointer(&host[0]), 256, s), add(c, f, s, x, x, 64), c.Record(e, s), c.Record(end, s))
	try(t, c.StreamWait(other, e), c.CopyDtoHAsync(unsafe.Pointer(&host[0]), x, 256, other))
	for n := 0; ; n++ {
		err := c.StreamDone(other)
		if err == nil {
			break
		}
		if !ext.NotReady(err) || n > 1<<20 && !fakecuda.Real() {
			t.Fatal(err)
		}
	}
	if host[63] != 2 {
		t.Error("the copy did not wait:", host[63])
	}
	try(t, c.EventSync(end))
	if ms, err := c.Elapsed(begin, end); err != nil || ms < 0 || math.IsNaN(float64(ms)) {
		t.Error(ms, err)
	}
	try(t, c.Do(other.Destroy))
	for _, e := range []*cu.Event{&e, &begin, &end} {
		try(t, c.Do(func() error { return cu.DestroyEvent(e) }))
	}
}

func TestErrors(t *testing.T) {
	c, _ := device(t)
	_, err := ext.Context{}.MemAlloc(16)
	if err == nil || !strings.Contains(err.Error(), "CUDA_ERROR_INVALID_CONTEXT (201)") {
		t.Error("no context:", err)
	}
	if _, err := c.MemAlloc(0); !errors.Is(err, ext.ErrInvalidValue) {
		t.Error(err)
	}
	err = c.Do(func() error { _, err := cu.GetDevice(1 << 20); return err })
	if !errors.Is(err, ext.Error(101)) || ext.Wrap(cu.OutOfMemory) != error(ext.ErrOutOfMemory) || !ext.OutOfMemory(ext.Wrap(cu.OutOfMemory)) {
		t.Error("errors of cu:", err)
	}
	if ext.Wrap(nil) != nil || ext.Sticky(ext.ErrOutOfMemory) || !ext.Sticky(ext.ErrIllegalAddress) || !ext.Sticky(ext.Error(999)) {
		t.Error("which errors lose a context")
	}
}
