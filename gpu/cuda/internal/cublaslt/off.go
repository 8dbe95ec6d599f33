//go:build !(cuda && linux && cgo)

package cublaslt

import "errors"

// Available says that this program was built without CUDA.
func Available() error { return errors.New("built without -tags cuda (make cuda builds with it)") }
