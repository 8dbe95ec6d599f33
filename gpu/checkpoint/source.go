// Package checkpoint reads the weights of models: safetensors files and sharded folders, GGUF files, PyTorch's .pt and
// .pth files (without ever running the code in them), and stand-in weights made by rule. All look the same behind Source.
package checkpoint

import "fmt"

// DType is the element type in which a tensor is stored; Read always widens to float32.
type DType string

// The element types a Source may hold. Integer tensors are listed but cannot be read as weights.
const (
	F64  DType = "F64"
	F32  DType = "F32"
	F16  DType = "F16"
	BF16 DType = "BF16"
	I64  DType = "I64"
	I32  DType = "I32"
	I16  DType = "I16"
	I8   DType = "I8"
	U8   DType = "U8"
	Bool DType = "BOOL"
)

// Size is the number of bytes of one element, 0 for an unknown type.
func (d DType) Size() int {
	switch d {
	case F64, I64:
		return 8
	case F32, I32:
		return 4
	case F16, BF16, I16:
		return 2
	case I8, U8, Bool:
		return 1
	}
	return 0
}

// Float reports whether Read can widen the type to float32. The block types of GGUF files that are read count too; they
// have no Size.
func (d DType) Float() bool {
	return d == F64 || d == F32 || d == F16 || d == BF16 || quantized[d]
}

// Info describes one tensor of a Source.
type Info struct {
	Name  string
	DType DType
	Shape []int // row-major; empty for a scalar
}

// Len is the number of elements.
func (i Info) Len() int {
	n := 1
	for _, d := range i.Shape {
		n *= d
	}
	return n
}

func (i Info) String() string { return fmt.Sprintf("%s %s%v", i.Name, i.DType, i.Shape) }

// Source is a read-only set of named tensors. All methods may be called from several goroutines at once.
type Source interface {
	// Tensors lists what the source holds, sorted by name.
	Tensors() []Info
	// Find returns the tensor of that name.
	Find(name string) (Info, bool)
	// Read widens the elements [offset, offset+len(dst)) of a tensor, in row-major order, to float32. Reading a part is
	// cheap: callers pack weights panel by panel and never hold a whole model twice.
	Read(name string, offset int, dst []float32) error
	// Close releases mappings and files; the Source must not be used afterwards.
	Close() error
}
