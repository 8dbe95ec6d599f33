package kernels

// The arguments of elementwise.cu. Threads of these kernels take Eight elements at a time; a grid of any size will do.

// Eight is how many elements a thread takes at a time.
const Eight = 8

// AddArgs is Y = A + B over N elements, B repeated every NB.
type AddArgs struct {
	Y, A, B Ref
	N, NB   int64
}

// ApplyArgs is Y = f(X) over N elements, F numbered as in package driver.
type ApplyArgs struct {
	Y, X Ref
	N    int64
	F, _ uint32
}

// ConvertArgs is Y = X over N elements, from one storage type to another, to the nearest, ties to even.
type ConvertArgs struct {
	Y, X Ref
	N    int64
}

// CopyRowsArgs copies Rows rows of Cols elements that begin YStride and XStride elements apart.
type CopyRowsArgs struct {
	Y, X                         Ref
	YStride, XStride, Rows, Cols int64
}

// AxpyArgs is Y = Y + S·X over N elements.
type AxpyArgs struct {
	Y, X Ref
	N    int64
	S    float32
	_    uint32
}

// GateArgs is Y = SiLU(G)·U over N elements.
type GateArgs struct {
	Y, G, U Ref
	N       int64
}

// DropoutArgs is Y = Scale·X where driver.Keeps(Seed, i, Threshold), and 0 elsewhere.
type DropoutArgs struct {
	Y, X            Ref
	N               int64
	Seed, Threshold uint64
	Scale           float32
	_               uint32
}

// The kernels of elementwise.cu.
var (
	Add      = declare[AddArgs]("elementwise", "add")
	Apply    = declare[ApplyArgs]("elementwise", "apply_function")
	Convert  = declare[ConvertArgs]("elementwise", "convert")
	CopyRows = declare[CopyRowsArgs]("elementwise", "copy_rows")
	Axpy     = declare[AxpyArgs]("elementwise", "axpy")
	Gate     = declare[GateArgs]("elementwise", "gate")
	Dropout  = declare[DropoutArgs]("elementwise", "dropout")
)
