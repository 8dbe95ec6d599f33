// Package fakecuda runs the tests of the CUDA back end on machines without a GPU: against a stand-in for libcuda.so.1 whose
// kernels are the CPU build of package kernels, and one for libcublasLt. The tests build all three with clang (clang-19 by
// preference) and keep them in the user's cache folder, by the hash of their sources.
//
// Package cu calls the driver before main, so the stand-in has to be named before the process starts: Main, called from
// TestMain, builds the libraries and runs the test binary once more with SOWER_LIBCUDA set. With SOWER_TEST_REAL_GPU=1 the
// tests run on the machine's own driver. Where clang is missing, Need skips each test and says so.
//
// The stand-in is stricter than a driver. Work of a stream runs only when something waits for it, so that a missing wait
// shows (FAKECUDA_LATE=0 runs it at once); copies must stay within one allocation and use pinned memory; a launch must pass
// as many bytes as the kernel's PTX takes; a stream must belong to the current context; new memory holds NaNs; memory is
// fenced. What it objects to, it also says on standard error. src/fake.h and src/faults.cc list the rest.
//
// The environment sets it up: FAKECUDA_DEVICES (how many, 1), FAKECUDA_CAPABILITY (90), FAKECUDA_MEMORY (bytes of each
// device), FAKECUDA_SMS (4), FAKECUDA_DRIVER (12080), FAKECUDA_PTX (newest version of PTX, 87), FAKECUDA_LATE,
// FAKECUDA_CUBLASLT_VERSION, FAKECUDA_FAIL=call:after:code,… (see Fail). BuildWithout makes one that lacks functions.
package fakecuda
