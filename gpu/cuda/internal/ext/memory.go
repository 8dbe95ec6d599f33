//go:build cuda && linux && cgo

package ext

// #include "ext.h"
import "C"

import (
	"unsafe"

	"gorgonia.org/cu"
)

// HostAlloc returns n bytes of page-locked memory, n > 0, usable by the copies of every context. It is not Go memory:
// the collector leaves it alone, and HostFree gives it back.
func (c Context) HostAlloc(n int) ([]byte, error) {
	if n <= 0 {
		return nil, ErrInvalidValue
	}
	var p unsafe.Pointer
	if err := check(C.ext_host_alloc(c.c, &p, C.size_t(n))); err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(p), n), nil
}

// HostFree gives back what HostAlloc returned (the slice may have been shortened, not moved on).
func (c Context) HostFree(b []byte) error {
	return check(C.ext_host_free(c.c, unsafe.Pointer(unsafe.SliceData(b))))
}

// MemAlloc returns the address of n bytes of device memory, n > 0, aligned to at least 256. Its content is undefined.
func (c Context) MemAlloc(n int) (uint64, error) {
	if n <= 0 {
		return 0, ErrInvalidValue
	}
	var p C.CUdeviceptr
	err := check(C.ext_mem_alloc(c.c, &p, C.size_t(n)))
	return uint64(p), err
}

// MemFree gives back what MemAlloc returned. It waits for work that uses the memory.
func (c Context) MemFree(p uint64) error { return check(C.ext_mem_free(c.c, C.CUdeviceptr(p))) }

// MemInfo returns the free and the whole memory of the device, in bytes.
func (c Context) MemInfo() (free, total int, err error) {
	var f, t C.size_t
	err = check(C.ext_mem_info(c.c, &f, &t))
	return int(f), int(t), err
}

// CopyHtoDAsync enqueues a copy of n bytes from the host to the device. src must be pinned memory and stay unchanged
// until the copy is done; Go memory must not be used.
func (c Context) CopyHtoDAsync(dst uint64, src unsafe.Pointer, n int, s cu.Stream) error {
	return check(C.ext_copy(c.c, C.EXT_H2D, C.CUdeviceptr(dst), 0, src, C.size_t(n), stream(s)))
}

// CopyDtoHAsync enqueues a copy of n bytes from the device to pinned memory of the host.
func (c Context) CopyDtoHAsync(dst unsafe.Pointer, src uint64, n int, s cu.Stream) error {
	return check(C.ext_copy(c.c, C.EXT_D2H, C.CUdeviceptr(src), 0, dst, C.size_t(n), stream(s)))
}

// CopyDtoDAsync enqueues a copy of n bytes within the device. The ranges must not overlap.
func (c Context) CopyDtoDAsync(dst, src uint64, n int, s cu.Stream) error {
	return check(C.ext_copy(c.c, C.EXT_D2D, C.CUdeviceptr(dst), C.CUdeviceptr(src), nil, C.size_t(n), stream(s)))
}

// CopyHtoD copies n bytes from any memory of the host and returns when src may change again. It is ordered with the
// default stream only: work on other streams has to be waited for.
func (c Context) CopyHtoD(dst uint64, src unsafe.Pointer, n int) error {
	return check(C.ext_copy_wait(c.c, C.EXT_H2D, C.CUdeviceptr(dst), src, C.size_t(n)))
}

// CopyDtoH copies n bytes to any memory of the host and returns when they are there. It is ordered as CopyHtoD is.
func (c Context) CopyDtoH(dst unsafe.Pointer, src uint64, n int) error {
	return check(C.ext_copy_wait(c.c, C.EXT_D2H, C.CUdeviceptr(src), dst, C.size_t(n)))
}

// MemsetD8Async enqueues setting n bytes to v.
func (c Context) MemsetD8Async(p uint64, v byte, n int, s cu.Stream) error {
	return check(C.ext_set_bytes(c.c, C.CUdeviceptr(p), C.uchar(v), C.size_t(n), stream(s)))
}
