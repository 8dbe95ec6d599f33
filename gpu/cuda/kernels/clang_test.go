package kernels

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// builtWith is the clang whose PTX is committed; another may write other text for the same source.
const builtWith = "19.1.7"

// needs is the path of a program of clang 19; without it the test is skipped.
func needs(t *testing.T, program string) string {
	t.Helper()
	found, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("!! SKIPPED: %s is missing (Debian: clang-19)", program)
	}
	return found
}

// TestRebuild compares the PTX with what the sources give.
func TestRebuild(t *testing.T) {
	clang := needs(t, "clang-19")
	version, err := exec.Command(clang, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(version), builtWith) {
		t.Skipf("!! SKIPPED: the PTX is of clang %s, this is %s", builtWith, bytes.SplitN(version, []byte("\n"), 2)[0])
	}
	out := t.TempDir()
	files, _ := filepath.Glob("*.cu")
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command("bash", "./build.sh", file)
			cmd.Env = append(os.Environ(), "OUT="+out, "CLANG="+clang)
			if text, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("build.sh: %v\n%s", err, text)
			}
			name := strings.TrimSuffix(file, ".cu") + ".ptx"
			want, err := os.ReadFile(filepath.Join(out, name))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s is not what clang makes of %s: run gpu/cuda/kernels/build.sh (%v)", name, file, err)
			}
		})
	}
}

// TestOnCPU runs the kernels on the CPU and compares them with float64.
func TestOnCPU(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a library for a quarter of a minute")
	}
	if arch := runtime.GOARCH; arch != "amd64" && arch != "arm64" {
		t.Skipf("!! SKIPPED: the emulator has no switch of stacks for %s", arch)
	}
	clang := needs(t, "clang++-19")
	// The go command must not take an earlier result for that of other sources: it notes what the test itself looks at.
	sources, _ := filepath.Glob("cputest/*")
	for _, file := range sources {
		if _, err := os.Stat(file); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("bash", "cputest/test.sh")
	cmd.Env = append(os.Environ(), "CLANGXX="+clang)
	text, err := cmd.CombinedOutput()
	t.Logf("%s", text)
	if err != nil {
		t.Fatalf("cputest/test.sh: %v", err)
	}
}

// TestAssembles lets NVIDIA's assembler count registers where $PTXAS names it.
func TestAssembles(t *testing.T) {
	ptxas := os.Getenv("PTXAS")
	if ptxas == "" {
		t.Skip("!! SKIPPED: set PTXAS to the ptxas of a toolkit or of the wheel nvidia-cuda-nvcc-cu12")
	}
	text, err := exec.Command("bash", "./ptxas.sh", ptxas).CombinedOutput()
	t.Logf("%s", text)
	if err != nil {
		t.Fatalf("ptxas.sh: %v", err)
	}
}
