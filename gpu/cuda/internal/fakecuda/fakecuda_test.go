//go:build cuda && linux && cgo

package fakecuda_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"unsafe"

	"gorgonia.org/cu"
	"sower/gpu/cuda/internal/ext"
	"sower/gpu/cuda/internal/fakecuda"
)

func TestMain(m *testing.M) { fakecuda.Main(m) }

func device(t *testing.T) (ext.Context, cu.Stream) {
	t.Helper()
	fakecuda.NeedFake(t)
	primary, err := cu.Device(0).RetainPrimaryCtx()
	if err != nil {
		t.Fatal(err)
	}
	c := ext.On(primary)
	var s cu.Stream
	if err := c.Do(func() (err error) { s, err = cu.MakeStream(cu.NonBlocking); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		fakecuda.Reset()
		if err := errors.Join(c.Do(s.Destroy), cu.Device(0).ReleasePrimaryCtx()); err != nil {
			t.Error(err)
		}
	})
	return c, s
}

// Work is done when something waits for it, not before: who reads too early sees it.
func TestLate(t *testing.T) {
	c, s := device(t)
	p, err := c.MemAlloc(16)
	host, err2 := c.HostAlloc(16)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	host[0] = 7
	if err := errors.Join(c.CopyHtoDAsync(p, unsafe.Pointer(&host[0]), 16, s), c.MemsetD8Async(p+1, 9, 1, s), c.CopyDtoHAsync(unsafe.Pointer(&host[0]), p, 16, s)); err != nil {
		t.Fatal(err)
	}
	if host[1] == 9 {
		t.Error("the work ran before anything waited for it")
	}
	// Another stream's wait brings nothing on; a copy that waits is not ordered with a non-blocking stream.
	var b [16]byte
	if err := c.CopyDtoH(unsafe.Pointer(&b[0]), p, 16); err != nil || b[0] != 0xff {
		t.Error("fresh memory is not poisoned, or the copy waited:", b, err)
	}
	if err := c.StreamSync(s); err != nil || host[1] != 9 || host[0] != 7 {
		t.Error(host, err)
	}
	if err := errors.Join(c.MemFree(p), c.HostFree(host)); err != nil {
		t.Error(err)
	}
}

func TestCounts(t *testing.T) {
	c, _ := device(t)
	memory, bytes, pinned, streams := fakecuda.Count("memory"), fakecuda.Count("bytes"), fakecuda.Count("pinned"), fakecuda.Count("streams")
	p, err := c.MemAlloc(100)
	h, err2 := c.HostAlloc(100)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	if fakecuda.Count("memory") != memory+1 || fakecuda.Count("bytes") != bytes+100 || fakecuda.Count("pinned") != pinned+1 || streams != 1 {
		t.Error("counts while in use")
	}
	if err := errors.Join(c.MemFree(p), c.HostFree(h)); err != nil {
		t.Fatal(err)
	}
	if fakecuda.Count("memory") != memory || fakecuda.Count("bytes") != bytes || fakecuda.Count("pinned") != pinned {
		t.Error("counts after")
	}
	if err := c.MemFree(p); !errors.Is(err, ext.ErrInvalidValue) {
		t.Error("freed twice:", err)
	}
}

// What wrote past an allocation's end is found when the allocation is given back.
func TestFence(t *testing.T) {
	c, _ := device(t)
	p, err := c.MemAlloc(100)
	if err != nil {
		t.Fatal(err)
	}
	*(*byte)(*(*unsafe.Pointer)(unsafe.Pointer(addressAfter(&p, 100)))) = 0
	if err := c.MemFree(p); !ext.Sticky(err) {
		t.Error(err)
	}
	fakecuda.Reset()
}

// addressAfter is where an address lies in memory that is n further: device memory here is the host's.
func addressAfter(p *uint64, n uint64) *uint64 {
	q := *p + n
	return &q
}

func TestMissingCompiler(t *testing.T) {
	fakecuda.NeedFake(t)
	if fakecuda.InChild(t) {
		return // skipped by NeedFake; the parent looks for it
	}
	out, err := fakecuda.Child(t, t.Name(), "CLANGXX=", "PATH=/nonexistent", "SOWER_LIBCUDA=")
	if err != nil || !strings.Contains(out, "--- SKIP") || !strings.Contains(out, "SKIPPED: neither clang++-19 nor clang++ is installed") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestRunsOnTheFake(t *testing.T) {
	fakecuda.NeedFake(t)
	if os.Getenv("SOWER_FAKE_KERNELS") == "" || os.Getenv("CUBLASLT_DIR") == "" {
		t.Error("Main did not set the stand-ins")
	}
	if l := fakecuda.Build(t); l.CUDA != os.Getenv("SOWER_LIBCUDA") && os.Getenv("SOWER_LIBCUDA") != "" {
		t.Log("sources changed since the start:", l.CUDA)
	}
}
