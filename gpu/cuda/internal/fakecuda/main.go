//go:build cuda && linux && cgo

package fakecuda

/*
#cgo CFLAGS: -O2
#include <stdlib.h>
static void fake_fail(void *f, const char *call, int after, int code) { ((void (*)(const char *, int, int))f)(call, after, code); }
static void fake_reset(void *f) { ((void (*)(void))f)(); }
static long fake_count(void *f, const char *what) { return ((long (*)(const char *))f)(what); }
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"sower/gpu/cuda/internal/libcuda"
)

const missing = "SOWER_FAKE_MISSING" // set for the second run when the stand-ins cannot be built

// Main is TestMain's work: it runs the tests against the stand-ins, or against the machine's driver with
// SOWER_TEST_REAL_GPU=1. It does not return.
func Main(m *testing.M) {
	if Real() || os.Getenv("SOWER_LIBCUDA") != "" || os.Getenv(missing) != "" {
		os.Exit(m.Run())
	}
	env := os.Environ()
	l, err := build()
	switch {
	case errors.Is(err, ErrNoCompiler):
		fmt.Fprintln(os.Stderr, "SKIPPED:", err)
		env = append(env, missing+"="+err.Error(), "SOWER_LIBCUDA=/nonexistent/libcuda.so.1")
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	default:
		env = append(env, l.Env()...)
	}
	self, err := os.Executable()
	if err == nil {
		err = syscall.Exec(self, os.Args, env)
	}
	fmt.Fprintln(os.Stderr, "run the tests again with the stand-ins:", err)
	os.Exit(1)
}

// Real reports whether the tests run on the machine's own driver.
func Real() bool { return os.Getenv("SOWER_TEST_REAL_GPU") == "1" }

// Need skips a test when there is no driver to test with, real or not.
func Need(t testing.TB) {
	t.Helper()
	if why := os.Getenv(missing); why != "" {
		t.Skip(why)
	}
	if err := libcuda.Available(); err != nil {
		if Real() {
			t.Fatal("SOWER_TEST_REAL_GPU=1, but: ", err)
		}
		t.Fatal("TestMain must call fakecuda.Main: ", err)
	}
}

// NeedFake skips a test that sets faults or counts when the driver is a real one. Faults are forgotten at the test's end.
func NeedFake(t testing.TB) {
	t.Helper()
	Need(t)
	if Real() {
		t.Skip("on a real GPU")
	}
	t.Cleanup(Reset)
}

func function(name string) unsafe.Pointer {
	f := libcuda.Symbol(name)
	if f == nil {
		panic("fakecuda: the driver in use is not the stand-in: " + libcuda.Path())
	}
	return f
}

// Fail makes one call of that driver function (its name without a _v2; "*" is any) fail with code after so many more that
// go through. The calls "kernel" and "copy" are the work itself: they fail when it runs, and the next wait for the stream
// says so. A code that means a lost device (719, 700, 999 …) makes every later call fail too, until Reset.
func Fail(call string, after, code int) {
	c := C.CString(call)
	defer C.free(unsafe.Pointer(c))
	C.fake_fail(function("fakecuda_fail"), c, C.int(after), C.int(code))
}

// Reset forgets faults and lost devices.
func Reset() { C.fake_reset(function("fakecuda_reset")) }

// Count returns how many of something there are: "memory" (allocations), "bytes" of them, "pinned", "streams", "events",
// "modules", "graphs" at this moment; "launches", "replays", "misuses" since the start.
func Count(what string) int {
	c := C.CString(what)
	defer C.free(unsafe.Pointer(c))
	n := C.fake_count(function("fakecuda_count"), c)
	if n < 0 {
		panic("fakecuda: no count of " + what)
	}
	return int(n)
}

// Child runs one test of this binary in a process of its own, with more environment (name=value; name= removes it), and
// returns what it printed. Settings of the stand-in that are read once need it.
func Child(t testing.TB, test string, env ...string) (output string, err error) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), "FAKECUDA_CHILD="+test)
	for _, e := range env {
		if name, value, _ := strings.Cut(e, "="); value == "" {
			cmd.Env = append(cmd.Env, name+"=")
		} else {
			cmd.Env = append(cmd.Env, e)
		}
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// InChild reports whether this process was started by Child for the test.
func InChild(t testing.TB) bool { return os.Getenv("FAKECUDA_CHILD") == t.Name() }
