//go:build cuda && linux && cgo

package ext

// #include "ext.h"
import "C"

import (
	"errors"
	"fmt"
	"reflect"

	"gorgonia.org/cu"
)

// Error is a result code of the CUDA driver (CUresult), never zero.
type Error int

// Codes that callers tell apart; the driver's list is in NVIDIA's driver API reference, "CUresult".
const (
	ErrInvalidValue   Error = 1
	ErrOutOfMemory    Error = 2
	ErrDeinitialized  Error = 4
	ErrNoDevice       Error = 100
	ErrNoBinary       Error = 209
	ErrInvalidPTX     Error = 218
	ErrUnsupportedPTX Error = 222
	ErrNotFound       Error = 500
	ErrNotReady       Error = 600
	ErrIllegalAddress Error = 700
	ErrLaunchFailed   Error = 719
	ErrNotSupported   Error = 801
)

// Error gives the driver's own name and description of the code.
func (e Error) Error() string {
	name, text := C.GoString(C.ext_error_name(C.int(e))), C.GoString(C.ext_error_text(C.int(e)))
	if name == "" {
		return fmt.Sprintf("CUDA error %d", int(e))
	}
	return fmt.Sprintf("%s (%d): %s", name, int(e), text)
}

// OutOfMemory reports whether device or pinned memory ran out: fewer rows at a time may go through.
func (e Error) OutOfMemory() bool { return e == ErrOutOfMemory }

// Sticky reports whether the code means that the context is lost: every later call on it fails too, and only a fresh
// process can use the device again.
func (e Error) Sticky() bool {
	switch e {
	case ErrDeinitialized,
		46,            // device unavailable
		214, 220, 226, // uncorrectable memory and link errors
		ErrIllegalAddress, 702, // launch timeout
		709,                     // context destroyed
		710, 714, 715, 716, 717, // assertion, stack, instruction, alignment, address space
		718, ErrLaunchFailed, 721,
		805, 806, 807, 808, 809, // the server of a shared GPU failed
		911, 999: // external device, unknown: what a device that fell off the bus reports
		return true
	}
	return false
}

// Wrap turns an error of package cu, whose type is not exported, into an Error. Other errors and nil stay as they are.
func Wrap(err error) error {
	if err == nil || reflect.TypeOf(err) != reflect.TypeOf(cu.Success) {
		return err
	}
	return Error(reflect.ValueOf(err).Int())
}

// Sticky reports whether err holds a code that means the context is lost.
func Sticky(err error) bool {
	var e Error
	return errors.As(err, &e) && e.Sticky()
}

// OutOfMemory reports whether err holds the code for memory that ran out.
func OutOfMemory(err error) bool {
	var e Error
	return errors.As(err, &e) && e.OutOfMemory()
}

// NotReady reports whether err says only that work is still running.
func NotReady(err error) bool { return errors.Is(err, ErrNotReady) }

func check(r C.int) error {
	if r == 0 {
		return nil
	}
	return Error(r)
}
