//go:build cuda && linux && cgo

package libcuda

/*
#cgo CFLAGS: -O2 -Wall
#cgo LDFLAGS: -L${SRCDIR}/ld -ldl
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"errors"
	"unsafe"
)

// Available returns nil when a driver library was found and cuInit succeeded. Its error says which libraries were tried
// and what each said, or what cuInit returned.
func Available() error {
	if C.sower_cuda_state() == 0 {
		return nil
	}
	return errors.New(C.GoString(C.sower_cuda_why()))
}

// Path returns the file of the driver library in use, "" without one.
func Path() string { return C.GoString(C.sower_cuda_path()) }

// Symbol returns an entry point of the driver library by its exported name, nil when the library or the name is missing.
// Versioned names are given in full (cuStreamBeginCapture_v2).
func Symbol(name string) unsafe.Pointer {
	c := C.CString(name)
	defer C.free(unsafe.Pointer(c))
	return C.sower_cuda_symbol(c)
}

// Missing returns the functions that package cu names and the driver library in use lacks. Calling one returns
// CUDA_ERROR_NOT_SUPPORTED.
func Missing() (names []string) {
	for i := C.size_t(0); ; i++ {
		name := C.sower_cuda_missing(i)
		if name == nil {
			return names
		}
		names = append(names, C.GoString(name))
	}
}
