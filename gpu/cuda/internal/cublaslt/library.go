//go:build cuda && linux && cgo

package cublaslt

/*
#cgo CFLAGS: -O2 -Wall
#cgo LDFLAGS: -ldl
#include "lt.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"sower/gpu/cuda/internal/ext"
)

// Available returns nil when the library was found with every function this package needs; else what was tried.
func Available() error {
	if C.lt_load() == 0 {
		return nil
	}
	return errors.New("no cublasLt: " + C.GoString(C.lt_why()))
}

// Path returns the library's file, "" without one.
func Path() string { return C.GoString(C.lt_path()) }

// Version returns the library's version (12.9.3 is 120903), 0 without one.
func Version() int { return int(C.lt_version()) }

// Error is a result code of the library (cublasStatus_t).
type Error int

// Error names the code.
func (e Error) Error() string {
	names := map[Error]string{1: "not initialised", 3: "allocation failed", 7: "invalid value", 8: "architecture mismatch",
		11: "mapping error", 13: "execution failed", 14: "internal error", 15: "not supported", 16: "licence error"}
	if name, ok := names[e]; ok {
		return fmt.Sprintf("cublasLt: %s (%d)", name, int(e))
	}
	return fmt.Sprintf("cublasLt: error %d", int(e))
}

// Unsupported reports whether err says that the library has no way to do a product; an own kernel may.
func Unsupported(err error) bool {
	return errors.Is(err, Error(15)) || errors.Is(err, Error(8)) || errors.Is(err, ErrNoAlgorithm)
}

// check turns a result of lt.c into an error; codes below zero are the driver's.
func check(r C.int) error {
	switch {
	case r == 0:
		return nil
	case r < 0:
		return ext.Error(-r)
	}
	return Error(r)
}

// Library is the library with a handle on one device. Its methods may be called from any goroutine.
type Library struct {
	context ext.Context
	handle  unsafe.Pointer
	gpu     string

	mu   sync.Mutex
	pins map[Kind]Algorithm
}

// Open makes a handle for the device of c. gpu is the device's name, which Export writes and Import compares.
func Open(c ext.Context, gpu string) (*Library, error) {
	if err := Available(); err != nil {
		return nil, err
	}
	l := &Library{context: c, gpu: gpu, pins: map[Kind]Algorithm{}}
	if err := check(C.lt_create(l.ctx(), &l.handle)); err != nil {
		return nil, fmt.Errorf("open %s: %w", Path(), err)
	}
	return l, nil
}

// Close gives the handle back. Plans of the library must not run any more.
func (l *Library) Close() error {
	h := l.handle
	l.handle = nil
	if h == nil {
		return nil
	}
	return check(C.lt_destroy(l.ctx(), h))
}

func (l *Library) ctx() unsafe.Pointer {
	c := l.context.Cu()
	return *(*unsafe.Pointer)(unsafe.Pointer(&c))
}
