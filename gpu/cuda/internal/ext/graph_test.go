//go:build cuda && linux && cgo

package ext_test

import (
	"errors"
	"testing"
	"unsafe"

	"gorgonia.org/cu"
	"sower/gpu/cuda/internal/ext"
	"sower/gpu/cuda/internal/fakecuda"
	"sower/gpu/cuda/kernels"
)

func TestGraphReplay(t *testing.T) {
	c, s := device(t)
	f := function(t, c, kernels.Add)
	x := memory(t, c, 32)
	in, out := floats(t, c, 32), floats(t, c, 32)
	in[31] = 5
	try(t, c.MemsetD8Async(x, 0, 128, s), c.StreamSync(s))
	g, err := c.Capture(s, func() error {
		return errors.Join(c.CopyHtoDAsync(x, unsafe.Pointer(&in[0]), 128, s), add(c, f, s, x, x, 32), add(c, f, s, x, x, 32),
			c.CopyDtoHAsync(unsafe.Pointer(&out[0]), x, 128, s))
	})
	try(t, err)
	out[31] = -1
	try(t, c.StreamSync(s))
	if out[31] != -1 {
		t.Fatal("capturing ran the work")
	}
	for i := range 3 {
		in[31] = float32(i)
		try(t, g.Replay(s), c.StreamSync(s))
		if out[31] != float32(4*i) {
			t.Errorf("replay %d: %g", i, out[31])
		}
	}
	try(t, g.Destroy(), ext.Graph{}.Destroy())
}

// A second stream may take part when events lead to it and back.
func TestCaptureForks(t *testing.T) {
	c, s := device(t)
	f := function(t, c, kernels.Add)
	var other cu.Stream
	var fork, join cu.Event
	try(t, c.Do(func() (err error) {
		if other, err = cu.MakeStream(cu.NonBlocking); err == nil {
			fork, err = cu.MakeEvent(cu.DisableTiming)
		}
		if err == nil {
			join, err = cu.MakeEvent(cu.DisableTiming)
		}
		return err
	}))
	x, y := memory(t, c, 8), memory(t, c, 8)
	host := floats(t, c, 8)
	host[0] = 3
	try(t, c.CopyHtoDAsync(x, unsafe.Pointer(&host[0]), 32, s), c.CopyHtoDAsync(y, unsafe.Pointer(&host[0]), 32, s), c.StreamSync(s))
	g, err := c.Capture(s, func() error {
		return errors.Join(c.Record(fork, s), c.StreamWait(other, fork), add(c, f, other, y, y, 8), add(c, f, s, x, x, 8), c.Record(join, other),
			c.StreamWait(s, join), add(c, f, s, x, y, 8))
	})
	try(t, err, g.Replay(s), c.CopyDtoHAsync(unsafe.Pointer(&host[0]), x, 32, s), c.StreamSync(s))
	if host[0] != 12 {
		t.Error(host[0])
	}
	try(t, g.Destroy())
	if _, err := c.Capture(s, func() error {
		return errors.Join(c.Record(fork, s), c.StreamWait(other, fork), add(c, f, other, y, y, 8))
	}); err == nil {
		t.Error("a capture ended without its second stream")
	}
	try(t, add(c, f, s, x, y, 8), c.StreamSync(s), c.Do(other.Destroy))
	for _, e := range []*cu.Event{&fork, &join} {
		try(t, c.Do(func() error { return cu.DestroyEvent(e) }))
	}
}

// After a failure, a forbidden call or a panic the stream does ordinary work again and no graph is left.
func TestCaptureEnds(t *testing.T) {
	c, s := device(t)
	f := function(t, c, kernels.Add)
	x := memory(t, c, 8)
	mine := errors.New("mine")
	if _, err := c.Capture(s, func() error { return errors.Join(add(c, f, s, x, x, 8), mine) }); !errors.Is(err, mine) {
		t.Error(err)
	}
	var forbidden error
	if _, err := c.Capture(s, func() error {
		_, forbidden = c.MemAlloc(16)
		return nil
	}); err == nil || forbidden == nil {
		t.Error("memory was allocated during a capture:", forbidden, err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was lost")
			}
		}()
		c.Capture(s, func() error { panic("in capture") })
	}()
	try(t, add(c, f, s, x, x, 8), c.StreamSync(s))
	if !fakecuda.Real() && fakecuda.Count("graphs") != 0 {
		t.Error(fakecuda.Count("graphs"), "graphs are left")
	}
}

func TestSharedMemory(t *testing.T) {
	c, s := device(t)
	f := function(t, c, kernels.Add)
	a := kernels.AddArgs{}
	launch := func(shared uint32) error {
		return c.Launch(f, [3]uint32{1, 1, 1}, 32, shared, s, unsafe.Pointer(&a), unsafe.Sizeof(a))
	}
	a.NB = 1
	if err := launch(100 << 10); !errors.Is(err, ext.ErrInvalidValue) {
		t.Error("100 KiB without asking:", err)
	}
	try(t, c.MaxDynamicShared(f, 100<<10), launch(100<<10), c.StreamSync(s))
	if err := c.MaxDynamicShared(f, 1<<20); err == nil {
		t.Error("a mebibyte of shared memory")
	}
}

func TestTensorMap(t *testing.T) {
	c, _ := device(t)
	x := memory(t, c, 64*64)
	m, err := c.TensorMap2D(x, ext.TensorF16, 60, 100, 256, 32, 64, ext.Swizzle128)
	if err != nil {
		if fakecuda.Real() && errors.Is(err, ext.ErrNotSupported) {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	if !fakecuda.Real() {
		type fake struct {
			ptr                                        uint64
			typ, rows, cols, boxRows, boxCols, swizzle uint32
			ld                                         uint64
		}
		if got, want := *(*fake)(unsafe.Pointer(&m)), (fake{x, 6, 60, 100, 32, 64, 3, 256}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	if _, err := c.TensorMap2D(x+2, ext.TensorF16, 60, 100, 256, 32, 64, ext.Swizzle128); !errors.Is(err, ext.ErrInvalidValue) {
		t.Error("an address that is no multiple of 16:", err)
	}
	if _, err := c.TensorMap2D(x, ext.TensorF16, 60, 100, 256, 32, 128, ext.Swizzle128); !errors.Is(err, ext.ErrInvalidValue) {
		t.Error("a box wider than its swizzle:", err)
	}
}

func BenchmarkLaunch(b *testing.B) {
	c, s := device(b)
	f := function(b, c, kernels.Add)
	a := kernels.AddArgs{NB: 1}
	for b.Loop() {
		if err := c.Launch(f, [3]uint32{1, 1, 1}, 32, 0, s, unsafe.Pointer(&a), unsafe.Sizeof(a)); err != nil {
			b.Fatal(err)
		}
	}
	c.StreamSync(s)
}
