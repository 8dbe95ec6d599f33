package kernels

// Element types of device memory, as dev.h numbers them.
const (
	F32 uint32 = iota
	F16
	BF16
	U8
	I32
	E4M3 // of the kernels of hopper_fp8.cu alone
)

// Size is the number of bytes of an element type.
func Size(t uint32) int {
	switch t {
	case F16, BF16:
		return 2
	case U8, E4M3:
		return 1
	}
	return 4
}

// Ref is an operand: the address of its first element and how its elements are stored. The zero Ref is an operand left out.
type Ref struct {
	Ptr     uint64
	Type, _ uint32
}

// Operations that can meet a number out of range, as the error record names them.
const (
	OpLookup uint32 = iota + 1
	OpLookupMatrix
	OpRotate
	OpScatterRows
	OpAddRows
	OpCrossEntropy
)

var operations = [...]string{OpLookup: "lookup", OpLookupMatrix: "lookup in a matrix", OpRotate: "rotate", OpScatterRows: "scatter rows",
	OpAddRows: "add rows", OpCrossEntropy: "cross entropy"}

// ErrorRecord is the first number out of range that a stream met, in device memory; all zero is none.
type ErrorRecord struct {
	Op, _    uint32
	Inverted uint64 // ^(position<<32 | id)
	Limit    int64
	_        uint64
}

// Found says which operation met which id at which position; ids are from 0 to Limit-1.
func (e *ErrorRecord) Found() (op string, position int, id int32, found bool) {
	if e.Op == 0 {
		return "", 0, 0, false
	}
	op = "an unknown operation"
	if int(e.Op) < len(operations) {
		op = operations[e.Op]
	}
	key := ^e.Inverted
	return op, int(key >> 32), int32(uint32(key)), true
}
