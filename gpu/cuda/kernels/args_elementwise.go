package kernels

// The arguments of elementwise.cu.

// AddArgs is Y = A + B over N elements, B repeated every NB.
type AddArgs struct {
	Y, A, B Ref
	N, NB   int64
}

// Add is launched with any grid; a thread takes 8 elements at a time.
var Add = declare[AddArgs]("elementwise", "add")
