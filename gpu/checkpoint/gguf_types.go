package checkpoint

import (
	"sort"
	"strings"
)

// ggmlType is how the elements of a GGUF tensor are stored: blocks of values along the last dimension.
type ggmlType struct {
	name   DType
	values int // elements of a block
	bytes  int // of a block
	// decode widens one block: len(dst) == values, len(block) == bytes. It is nil for plain elements, which widen reads,
	// and for types that are not read.
	decode func(dst []float32, block []byte)
}

// ggmlTypes are the types by their number in the file (GGMLQuantizationType and GGML_QUANT_SIZES of the Python package
// gguf 0.19). All sizes are needed to tell whether a file is whole. Q8_1 and Q8_K have no decoder there either: ggml
// makes them while it multiplies and writes none to files. Numbers that are missing were withdrawn.
var ggmlTypes = map[uint32]ggmlType{
	0:  {F32, 1, 4, nil},
	1:  {F16, 1, 2, nil},
	2:  {"Q4_0", 32, 18, decodeQ4_0},
	3:  {"Q4_1", 32, 20, decodeQ4_1},
	6:  {"Q5_0", 32, 22, decodeQ5_0},
	7:  {"Q5_1", 32, 24, decodeQ5_1},
	8:  {"Q8_0", 32, 34, decodeQ8_0},
	9:  {"Q8_1", 32, 40, nil},
	10: {"Q2_K", 256, 84, decodeQ2_K},
	11: {"Q3_K", 256, 110, decodeQ3_K},
	12: {"Q4_K", 256, 144, decodeQ4_K},
	13: {"Q5_K", 256, 176, decodeQ5_K},
	14: {"Q6_K", 256, 210, decodeQ6_K},
	15: {"Q8_K", 256, 292, nil},
	16: {"IQ2_XXS", 256, 66, nil},
	17: {"IQ2_XS", 256, 74, nil},
	18: {"IQ3_XXS", 256, 98, nil},
	19: {"IQ1_S", 256, 50, nil},
	20: {"IQ4_NL", 32, 18, nil},
	21: {"IQ3_S", 256, 110, nil},
	22: {"IQ2_S", 256, 82, nil},
	23: {"IQ4_XS", 256, 136, nil},
	24: {I8, 1, 1, nil},
	25: {I16, 1, 2, nil},
	26: {I32, 1, 4, nil},
	27: {I64, 1, 8, nil},
	28: {F64, 1, 8, nil},
	29: {"IQ1_M", 256, 56, nil},
	30: {BF16, 1, 2, nil},
	34: {"TQ1_0", 256, 54, nil},
	35: {"TQ2_0", 256, 66, nil},
	39: {"MXFP4", 32, 17, nil},
	40: {"NVFP4", 64, 36, nil},
	41: {"Q1_0", 128, 18, nil},
}

// quantized holds the names of the block types that Read decodes.
var quantized = func() map[DType]bool {
	m := map[DType]bool{}
	for _, t := range ggmlTypes {
		if t.decode != nil {
			m[t.name] = true
		}
	}
	return m
}()

// readableTypes lists the types that Read takes, for messages.
func readableTypes() string {
	var names []string
	for _, t := range ggmlTypes {
		if t.decode != nil || t.name.Float() {
			names = append(names, string(t.name))
		}
	}
	sort.Strings(names)
	return strings.Join(names, ", ")
}
