package cpu

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// adviseHuge asks for huge pages under a large array. Weights are gigabytes read front to back for every image: with
// pages of 4 KiB, loading them spends more time in page faults than in packing. It is advice; failure changes nothing.
func adviseHuge(s []float32) {
	const page = 2 << 20
	start := uintptr(unsafe.Pointer(unsafe.SliceData(s)))
	skip := int(-start % page)
	if n := (4*len(s) - skip) &^ (page - 1); n > 0 {
		whole := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), 4*len(s))
		_ = unix.Madvise(whole[skip:skip+n], unix.MADV_HUGEPAGE)
	}
}
