//go:build cuda && linux && cgo

// Command env builds the stand-ins for the driver and cublasLt and prints the variables that make a program use them, for
// "export" of a shell: tests outside gpu/cuda, and the program itself, then run without a GPU.
package main

import (
	"fmt"
	"os"

	"sower/gpu/cuda/internal/fakecuda"
)

func main() {
	list, err := fakecuda.Environ()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, v := range list {
		fmt.Println("export", v)
	}
}
