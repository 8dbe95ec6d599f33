// Package kernels carries the device code of the CUDA back end: CUDA-language sources, the PTX that build.sh made of them with
// Debian's clang (no CUDA toolkit), and the arguments of each kernel as Go structs. Nothing here needs a GPU or cgo. The same
// sources run on the CPU for tests, see cputest.
package kernels

import (
	"embed"
	"fmt"
	"unsafe"
)

//go:embed *.ptx
var texts embed.FS

// Kernel names an entry point.
type Kernel struct {
	Module string // the name of the source without its ending; modules whose name begins with hopper are for capability 9.0 alone
	Name   string
}

// PTX is the text of a module, for the driver's compiler.
func PTX(module string) ([]byte, error) {
	text, err := texts.ReadFile(module + ".ptx")
	if err != nil {
		return nil, fmt.Errorf("kernels: no module %q", module)
	}
	return text, nil
}

// Declared are all kernels with the size of their argument structs in bytes.
func Declared() map[Kernel]uintptr { return declared }

var declared = map[Kernel]uintptr{}

// declare names a kernel whose single argument is a T.
func declare[T any](module, name string) Kernel {
	k, size := Kernel{module, name}, unsafe.Sizeof(*new(T))
	if _, twice := declared[k]; twice {
		panic("kernels: " + module + "." + name + " is declared twice")
	}
	declared[k] = size
	return k
}
