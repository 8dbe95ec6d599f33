//go:build cuda && linux && cgo

package fakecuda

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Libraries are the files of the stand-ins.
type Libraries struct {
	CUDA     string // libcuda.so.1
	Kernels  string // the kernels for the CPU
	CublasLt string // the folder of libcublasLt.so.12
}

// Env are the variables that make a process use the stand-ins.
func (l Libraries) Env() []string {
	return []string{"SOWER_LIBCUDA=" + l.CUDA, "SOWER_FAKE_KERNELS=" + l.Kernels, "CUBLASLT_DIR=" + l.CublasLt}
}

// ErrNoCompiler says that the stand-ins cannot be built here.
var ErrNoCompiler = errors.New("neither clang++-19 nor clang++ is installed: the CUDA back end cannot be tested without a GPU (Debian: apt-get install clang-19)")

// Environ builds the stand-ins and returns the variables of a process that is to use them.
func Environ() ([]string, error) {
	l, err := build()
	if err != nil {
		return nil, err
	}
	return l.Env(), nil
}

// Build builds the stand-ins unless the cache has them. Without a compiler the test is skipped.
func Build(t testing.TB) Libraries {
	t.Helper()
	l, err := build()
	if errors.Is(err, ErrNoCompiler) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// BuildWithout builds a libcuda.so.1 that lacks the named functions, as an older driver does, in the test's folder.
func BuildWithout(t testing.TB, functions ...string) (path string) {
	t.Helper()
	cxx, err := compiler()
	if err != nil {
		t.Skip(err)
	}
	root, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	var hidden []string
	for _, f := range functions {
		hidden = append(hidden, "-D"+f+"=absent_"+f)
	}
	path = filepath.Join(t.TempDir(), "libcuda.so.1")
	if err := compileDriver(cxx, root, path, hidden...); err != nil {
		t.Fatal(err)
	}
	return path
}

func compiler() (string, error) {
	for _, name := range []string{os.Getenv("CLANGXX"), "clang++-19", "clang++"} {
		if name == "" {
			continue
		}
		if p, err := exec.LookPath(name); err == nil {
			return p, nil
		}
	}
	return "", ErrNoCompiler
}

// packages returns the folder gpu/cuda of the module whose tests run: go test starts them in their package's folder.
func packages() (string, error) {
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		if text, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil && bytes.HasPrefix(text, []byte("module sower\n")) {
			return filepath.Join(dir, "gpu", "cuda"), nil
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	return "", errors.New("the sources of the stand-ins are not here: run the tests in the source tree, or with SOWER_TEST_REAL_GPU=1 on a machine with a GPU")
}

func build() (Libraries, error) {
	cxx, err := compiler()
	if err != nil {
		return Libraries{}, err
	}
	root, err := packages()
	if err != nil {
		return Libraries{}, err
	}
	cache, err := cacheFolder()
	if err != nil {
		return Libraries{}, err
	}
	own, err := hashOf(os.DirFS(root), "internal/fakecuda/src", "internal/cublaslt/lt.h")
	if err != nil {
		return Libraries{}, err
	}
	kernels, err := hashOf(os.DirFS(root), "kernels")
	if err != nil {
		return Libraries{}, err
	}
	l := Libraries{CUDA: filepath.Join(cache, "driver-"+own, "libcuda.so.1"), CublasLt: filepath.Join(cache, "driver-"+own)}
	l.Kernels = filepath.Join(cache, "kernels-"+kernels, "libsowerkernels.so")
	// Tests of several packages start at once; one of them builds.
	unlock, err := lock(filepath.Join(cache, "lock"))
	if err != nil {
		return Libraries{}, err
	}
	defer unlock()
	forget(cache, l)
	for _, step := range []struct {
		file string
		make func(out string) error
	}{
		{l.CUDA, func(out string) error { return compileDriver(cxx, root, out) }},
		{filepath.Join(l.CublasLt, "libcublasLt.so.12"), func(out string) error {
			return compile(cxx, out, "libcublasLt.so.12", nil, filepath.Join(root, "internal/fakecuda/src/lt.cc"))
		}},
		{l.Kernels, func(out string) error {
			cmd := exec.Command("bash", filepath.Join(root, "kernels/cputest/build.sh"), out)
			cmd.Env = append(os.Environ(), "CLANGXX="+cxx)
			return run(cmd)
		}},
	} {
		if _, err := os.Stat(step.file); err == nil {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(step.file), 0o700); err != nil {
			return Libraries{}, err
		}
		if err := step.make(step.file + ".new"); err != nil {
			return Libraries{}, err
		}
		if err := os.Rename(step.file+".new", step.file); err != nil {
			return Libraries{}, err
		}
	}
	return l, nil
}

func compileDriver(cxx, root, out string, flags ...string) error {
	files, err := filepath.Glob(filepath.Join(root, "internal/fakecuda/src/*.cc"))
	if err != nil {
		return err
	}
	files = slices.DeleteFunc(files, func(f string) bool { return filepath.Base(f) == "lt.cc" })
	return compile(cxx, out, "libcuda.so.1", flags, files...)
}

func compile(cxx, out, soname string, flags []string, files ...string) error {
	args := append([]string{"-std=c++17", "-O2", "-g1", "-fPIC", "-shared", "-fvisibility=hidden", "-pthread", "-Wall", "-Wl,-soname," + soname, "-o", out}, flags...)
	return run(exec.Command(cxx, append(append(args, files...), "-ldl")...))
}

func run(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return nil
}

func cacheFolder() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = filepath.Join(os.TempDir(), fmt.Sprintf("sower-%d", os.Getuid()))
	}
	dir = filepath.Join(dir, "sower-fakecuda")
	return dir, os.MkdirAll(dir, 0o700)
}

// hashOf is over the names and texts of what a build reads in the folders or files.
func hashOf(root fs.FS, paths ...string) (string, error) {
	h := sha256.New()
	for _, p := range paths {
		err := fs.WalkDir(root, p, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			switch filepath.Ext(name) {
			case ".cc", ".cu", ".h", ".sh":
			default:
				return nil
			}
			text, err := fs.ReadFile(root, name)
			fmt.Fprintf(h, "%s %d\n%s", name, len(text), text)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:12]), nil
}

// forget removes builds that nothing used for a day, and marks those in use.
func forget(cache string, used Libraries) {
	now := time.Now()
	keep := []string{filepath.Dir(used.CUDA), filepath.Dir(used.Kernels)}
	for _, dir := range keep {
		os.Chtimes(dir, now, now)
	}
	entries, _ := os.ReadDir(cache)
	for _, e := range entries {
		info, err := e.Info()
		if path := filepath.Join(cache, e.Name()); err == nil && e.IsDir() && !slices.Contains(keep, path) && now.Sub(info.ModTime()) > 24*time.Hour {
			os.RemoveAll(path)
		}
	}
}

func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}
