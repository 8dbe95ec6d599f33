//go:build cuda && linux && cgo

package ext

/*
#cgo CFLAGS: -O2 -Wall
#include "ext.h"
*/
import "C"

import (
	"runtime"
	"unsafe"

	"gorgonia.org/cu"
	"sower/gpu/cuda/internal/libcuda"
)

// Missing returns the functions of this package that the driver library in use lacks; all of them without a driver.
func Missing() (names []string) {
	for _, name := range []string{"cuMemHostAlloc", "cuFuncSetAttribute", "cuStreamBeginCapture_v2", "cuStreamEndCapture", "cuGraphInstantiateWithFlags",
		"cuGraphLaunch", "cuTensorMapEncodeTiled", "cuGetErrorName", "cuGetErrorString"} {
		if libcuda.Symbol(name) == nil {
			names = append(names, name)
		}
	}
	return names
}

// Context is a device's context as this package uses it. Methods may be called from any goroutine; work on one stream is
// ordered as it was enqueued. The zero Context fails every call with CUDA_ERROR_INVALID_CONTEXT.
type Context struct{ c C.CUcontext }

// On returns cu's context as a Context. The caller keeps owning it.
func On(c cu.CUContext) Context { return Context{*(*C.CUcontext)(unsafe.Pointer(&c))} }

// Cu returns the context as package cu names it.
func (c Context) Cu() cu.CUContext { return *(*cu.CUContext)(unsafe.Pointer(&c.c)) }

// Do runs work with the context current on its thread, for calls of package cu. Errors of cu come back as Error.
func (c Context) Do(work func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := Wrap(cu.SetCurrentContext(c.Cu())); err != nil {
		return err
	}
	return Wrap(work())
}

// cu's handles are structs of one pointer (TestHandles pins it).
func fn(f cu.Function) C.CUfunction { return *(*C.CUfunction)(unsafe.Pointer(&f)) }
func stream(s cu.Stream) C.CUstream { return *(*C.CUstream)(unsafe.Pointer(&s)) }
func event(e cu.Event) C.CUevent    { return *(*C.CUevent)(unsafe.Pointer(&e)) }

// StreamSync waits until all work of s is done. It returns the first error of that work.
func (c Context) StreamSync(s cu.Stream) error { return check(C.ext_stream_wait(c.c, stream(s))) }

// StreamDone returns nil when all work of s is done, an error of which NotReady holds while it is not.
func (c Context) StreamDone(s cu.Stream) error { return check(C.ext_stream_query(c.c, stream(s))) }

// StreamWait lets later work of s wait for e.
func (c Context) StreamWait(s cu.Stream, e cu.Event) error {
	return check(C.ext_stream_after(c.c, stream(s), event(e)))
}

// Record lets e happen when the work enqueued on s so far is done.
func (c Context) Record(e cu.Event, s cu.Stream) error {
	return check(C.ext_event_record(c.c, event(e), stream(s)))
}

// EventSync waits until e happened.
func (c Context) EventSync(e cu.Event) error { return check(C.ext_event_wait(c.c, event(e))) }

// EventDone returns nil when e happened, an error of which NotReady holds while it has not.
func (c Context) EventDone(e cu.Event) error { return check(C.ext_event_query(c.c, event(e))) }

// Elapsed returns the milliseconds between two events that have happened; both were made with timing.
func (c Context) Elapsed(from, to cu.Event) (float32, error) {
	var ms C.float
	err := check(C.ext_event_elapsed(c.c, &ms, event(from), event(to)))
	return float32(ms), err
}
