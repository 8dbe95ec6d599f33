//go:build cuda && linux && cgo

package libcuda

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The header, the shim and the check against a toolkit are what gen.py writes from package cu.
func TestGenerated(t *testing.T) {
	if _, err := os.Stat("gen/gen.py"); err != nil {
		t.Skip("not in the source tree")
	}
	for _, tool := range []string{"python3", "cc", "go"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("gen.py needs ", tool)
		}
	}
	module, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "gorgonia.org/cu").Output()
	if err != nil {
		t.Skip("package cu is not in the module cache: ", err)
	}
	out := t.TempDir()
	for _, d := range []string{"include", "gen"} {
		if err := os.Mkdir(filepath.Join(out, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := exec.Command("python3", "gen/gen.py", string(module[:len(module)-1]), out).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, name := range []string{"include/cuda.h", "shim.c", "gen/check_toolkit.c"} {
		want, err1 := os.ReadFile(filepath.Join(out, name))
		got, err2 := os.ReadFile(name)
		if err1 != nil || err2 != nil || string(want) != string(got) {
			t.Errorf("%s is not what gen.py writes (%v, %v)", name, err1, err2)
		}
	}
	if text, err := exec.Command("cc", "-fsyntax-only", "-Iinclude", "gen/check_toolkit.c").CombinedOutput(); err != nil {
		t.Errorf("the header does not pass its own check: %v\n%s", err, text)
	}
}

// A build with the tag and without the header, or with another, says what to do.
func TestBareBuild(t *testing.T) {
	if _, err := os.Stat("shim.c"); err != nil {
		t.Skip("not in the source tree")
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "cuda.h"), []byte("typedef int CUresult;\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, flags := range map[string]string{"none": "-O2", "another": "-O2 -I" + other} {
		cmd := exec.Command("go", "build", "-tags", "cuda", ".")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=1", "CGO_CFLAGS="+flags)
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "build with 'make cuda'") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func TestAvailable(t *testing.T) {
	err := Available()
	t.Logf("%v, %q", err, Path())
	if err == nil && (Symbol("cuInit") == nil || Path() == "") {
		t.Error("a driver without cuInit or without a file")
	}
	if Symbol("cuNoSuchCall") != nil {
		t.Error("a function that no driver has")
	}
}
