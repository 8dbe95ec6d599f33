// Package libcuda stands in for the CUDA driver library at link time, so that one program starts on machines with and
// without a GPU.
//
// gorgonia.org/cu links with -lcuda, calls cuInit in its package initialiser and ends the process when that fails. This
// package defines every driver function that cu names (shim.c) and forwards it to libcuda.so.1, found by dlopen. cuInit
// always succeeds here; its true outcome is kept, and without a driver or a device every later call returns it, so that
// cu.NumDevices says "no device" in place of the process ending. Ask Available first and print what it says: cu alone
// cannot tell a missing driver from a machine without a GPU.
//
// include/cuda.h is this project's own minimal header. Package cu must be compiled against it: make cuda puts it on the
// include path through CGO_CFLAGS, which precedes the folders that cu names. A build with -tags cuda that lacks it stops
// with a message that names make cuda. ld/libcuda.so is a linker script that satisfies -lcuda without a driver installed.
//
// gen/gen.py writes include/cuda.h, shim.c and gen/check_toolkit.c, which compiles against NVIDIA's own cuda.h only if
// every constant and prototype agrees.
//
// The library is looked for as $SOWER_LIBCUDA (alone, when set), then libcuda.so.1 on the loader's path and in the
// folders where containers mount it. It has to be set before the process starts.
package libcuda
