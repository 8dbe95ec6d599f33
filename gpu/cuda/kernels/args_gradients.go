package kernels

// The arguments of gradients.cu.

// ApplyGradArgs is DX = DY·f'(X) over N elements, F numbered as in package driver. A grid of any size will do.
type ApplyGradArgs struct {
	DX, DY, X Ref
	N         int64
	F, _      uint32
}

// GateGradArgs is the gradient of Gate over N elements. A grid of any size will do.
type GateGradArgs struct {
	DG, DU, DY, G, U Ref
	N                int64
}

// SoftmaxGradArgs is DX = Scale·Y·(DY - ΣY·DY) for rows of Cols, one block each.
type SoftmaxGradArgs struct {
	DX, DY, Y Ref
	Cols      int64
	Scale     float32
	_         uint32
}

// NormGradArgs is the gradient of a norm to its input, Centered 1 for LayerNorm and 0 for RMSNorm; where Stats, the address of float32
// [rows 2], is given, only mean and 1/deviation of each row are written there. One block a row.
type NormGradArgs struct {
	DX, DY, X, Weight Ref
	Stats             uint64
	Cols              int64
	Eps               float32
	Centered          uint32
}

// PartRows is how many rows make a part of a sum over rows.
const PartRows = 64

// Parts is the number of parts of a sum over rows.
func Parts(rows int) int { return (rows + PartRows - 1) / PartRows }

// ColumnPartsArgs writes parts of sums over rows of DY [Rows Cols]: Biases, float32 [Parts Cols], are those of DY itself, Weights those
// of DY·(X-mean)·factor with Stats of NormGrad. What is 0 is left out. A thread has a column, grid y are the parts.
type ColumnPartsArgs struct {
	DY, X           Ref
	Stats           uint64
	Weights, Biases uint64
	Rows, Cols      int64
}

// AddPartsArgs adds to Y [Cols] the parts at Values, float32 [Parts Cols], in order. A thread has a column.
type AddPartsArgs struct {
	Y           Ref
	Values      uint64
	Parts, Cols int64
}

// AddRowsArgs adds row From[i] of X [FromLimit Cols] to row To[i] of Y [ToLimit Cols], for N pairs in order. A block of
// AddRowsThreads for each pair.
type AddRowsArgs struct {
	Y, X                        Ref
	To, From, Err               uint64
	N, Cols, ToLimit, FromLimit int64
}

// AddRowsThreads is the threads of a block of AddRows.
const AddRowsThreads = 256

// CrossEntropyArgs is driver.CrossEntropyArgs; Labels are int32. One block of RowThreads(Cols) a row.
type CrossEntropyArgs struct {
	Loss, Logits Ref
	Labels, Err  uint64
	Cols         int64
	Scale        float32
	_            uint32
}

// Squares is how many elements a block of SumSquares has.
const Squares = 4096

// SumThreads is the threads of a block of SumSquares and SumParts.
const SumThreads = 256

// SumSquaresArgs writes the sum of squares of each Squares of N elements to Parts, float64 [blocks].
type SumSquaresArgs struct {
	X     Ref
	Parts uint64
	N     int64
}

// SumPartsArgs writes the sum of N float64 at Parts to Sum; one block.
type SumPartsArgs struct {
	Parts, Sum uint64
	N          int64
}

// AdamWArgs is one update of N parameters, see driver.AdamWArgs: Keep is 1-Rate·Decay, Rate is divided by 1-β1^t, Root is
// 1/√(1-β2^t), Rest1 and Rest2 are 1-β. A grid of any size will do.
type AdamWArgs struct {
	P, G, M, V                                               Ref
	N                                                        int64
	Keep, Rate, Root, Eps, Beta1, Rest1, Beta2, Rest2, Scale float32
	_                                                        uint32
}

// The kernels of gradients.cu.
var (
	ApplyGrad    = declare[ApplyGradArgs]("gradients", "apply_grad")
	GateGrad     = declare[GateGradArgs]("gradients", "gate_grad")
	SoftmaxGrad  = declareRow[SoftmaxGradArgs]("gradients", "softmax_grad", 1024)
	NormGrad     = declareRow[NormGradArgs]("gradients", "norm_grad", 512)
	ColumnParts  = declare[ColumnPartsArgs]("gradients", "column_parts")
	AddParts     = declare[AddPartsArgs]("gradients", "add_parts")
	AddRows      = declare[AddRowsArgs]("gradients", "add_rows")
	CrossEntropy = declare[CrossEntropyArgs]("gradients", "cross_entropy")
	SumSquares   = declare[SumSquaresArgs]("gradients", "sum_squares")
	SumParts     = declare[SumPartsArgs]("gradients", "sum_parts")
	AdamW        = declare[AdamWArgs]("gradients", "adamw")
)
