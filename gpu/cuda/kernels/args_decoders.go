package kernels

// The arguments of decoders.cu.

// RotateArgs turns the pairs of N rows of Heads x Width by angles from tables [Limit Width/2], see driver.Decoders; Back 1 the other
// way. A thread has one pair; a grid of any size will do.
type RotateArgs struct {
	Y, X, Cos, Sin        Ref
	Positions, Err        uint64
	N, Limit              int64
	Heads, Width, Back, _ uint32
}

// Rotate is the kernel of decoders.cu.
var Rotate = declare[RotateArgs]("decoders", "rotate")
