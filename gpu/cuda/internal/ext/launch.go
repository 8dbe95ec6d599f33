//go:build cuda && linux && cgo

package ext

/*
#include <stdlib.h>
#include "ext.h"
*/
import "C"

import (
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"gorgonia.org/cu"
)

// LoadModule has the driver compile PTX for the device. An error carries what the driver's compiler says.
func (c Context) LoadModule(ptx []byte) (cu.Module, error) {
	image := C.CBytes(append(ptx[:len(ptx):len(ptx)], 0))
	defer C.free(image)
	const size = 8192
	log := (*C.char)(C.malloc(size))
	defer C.free(unsafe.Pointer(log))
	var m C.CUmodule
	err := check(C.ext_module(c.c, &m, image, log, size))
	if text := strings.TrimSpace(C.GoString(log)); err != nil && text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return *(*cu.Module)(unsafe.Pointer(&m)), err
}

// Function returns an entry point of a module.
func (c Context) Function(m cu.Module, name string) (f cu.Function, err error) {
	err = c.Do(func() (err error) { f, err = m.Function(name); return err })
	return f, err
}

// MaxDynamicShared lets launches of f take that many bytes of dynamic shared memory, past the 48 KiB they may without.
func (c Context) MaxDynamicShared(f cu.Function, bytes int) error {
	const maxDynamicSharedSize = 8 // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
	return check(C.ext_func_attribute(c.c, fn(f), maxDynamicSharedSize, C.int(bytes)))
}

// Launch enqueues f over grid blocks of block threads (one-dimensional), each with shared bytes of dynamic shared memory.
// args are the n bytes of the kernel's parameters as it lays them out: any sizes, structs and tensor maps included, no Go
// pointers. They are copied before Launch returns.
func (c Context) Launch(f cu.Function, grid [3]uint32, block, shared uint32, s cu.Stream, args unsafe.Pointer, n uintptr) error {
	return check(C.ext_launch(c.c, fn(f), C.uint(grid[0]), C.uint(grid[1]), C.uint(grid[2]), C.uint(block), C.uint(shared),
		stream(s), args, C.size_t(n)))
}

// Graph is recorded work that one call enqueues again.
type Graph struct {
	c C.CUcontext
	e C.CUgraphExec
}

// Capture records what work enqueues on s in place of running it. work runs on the calling goroutine, enqueues from there
// alone, and must neither allocate device memory nor wait for a stream. Have it run once before: kernels and libraries load
// their code at the first use. The addresses that it names are part of the graph. s is ready for ordinary work again when Capture returns, also after an error or a panic.
func (c Context) Capture(s cu.Stream, work func() error) (Graph, error) {
	// The driver wants the capture ended by the thread that began it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := check(C.ext_capture_begin(c.c, stream(s))); err != nil {
		return Graph{}, err
	}
	var g C.CUgraph
	ended := false
	end := func() error {
		ended = true
		return check(C.ext_capture_end(c.c, stream(s), &g))
	}
	defer func() {
		if !ended { // work panicked
			if end() == nil && g != nil {
				C.ext_graph_drop(c.c, g)
			}
		}
	}()
	worked := work()
	err := end()
	if worked != nil { // the cause; what the driver says of the capture follows from it
		if err == nil && g != nil {
			C.ext_graph_drop(c.c, g)
		}
		return Graph{}, worked
	}
	if err != nil {
		return Graph{}, err
	}
	out := Graph{c: c.c}
	if err := check(C.ext_graph_build(c.c, &out.e, g)); err != nil {
		return Graph{}, err
	}
	return out, nil
}

// Replay enqueues the recorded work on s.
func (g Graph) Replay(s cu.Stream) error { return check(C.ext_graph_replay(g.c, g.e, stream(s))) }

// Destroy gives the graph back; running replays finish. The zero Graph needs none.
func (g Graph) Destroy() error {
	if g.e == nil {
		return nil
	}
	return check(C.ext_graph_destroy(g.c, g.e))
}

// Element types and swizzles of tensor maps, as the driver numbers them (CUtensorMapDataType, CUtensorMapSwizzle).
const (
	TensorU8   = 0
	TensorF16  = 6
	TensorF32  = 7
	TensorBF16 = 9

	SwizzleNone = 0
	Swizzle32   = 1
	Swizzle64   = 2
	Swizzle128  = 3
)

// TensorMap describes a matrix in device memory to the bulk copies of compute capability 9.0 and later. As a kernel
// parameter it stands at an offset that is a multiple of 64 bytes.
type TensorMap [128]byte

// TensorMap2D describes the row-major matrix of rows by cols elements at ptr (a multiple of 16), ldBytes from row to row
// (a multiple of 16), copied in boxes of boxRows by boxCols. Elements outside the matrix read as zero. With a swizzle a
// row of the box takes at most its 32, 64 or 128 bytes.
func (c Context) TensorMap2D(ptr uint64, elementType, rows, cols, ldBytes, boxRows, boxCols, swizzle int) (TensorMap, error) {
	var m TensorMap
	err := check(C.ext_tensor_map(c.c, unsafe.Pointer(&m), C.int(elementType), C.uint64_t(ptr), C.uint64_t(rows),
		C.uint64_t(cols), C.uint64_t(ldBytes), C.uint32_t(boxRows), C.uint32_t(boxCols), C.int(swizzle)))
	return m, err
}
