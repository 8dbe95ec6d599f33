package kernels

// The arguments of rows.cu. All of these kernels take one block a row, of RowThreads(Cols) threads.

// LayerNormArgs is Y = (X-mean)/sqrt(variance+Eps)·Weight + Bias for rows of Cols.
type LayerNormArgs struct {
	Y, X, Weight, Bias Ref
	Cols               int64
	Eps                float32
	_                  uint32
}

// RMSNormArgs is Y = X/sqrt(mean(X²)+Eps)·Weight for rows of Cols.
type RMSNormArgs struct {
	Y, X, Weight Ref
	Cols         int64
	Eps          float32
	_            uint32
}

// SoftmaxArgs is Y = exp(Scale·X)/sum for rows of Cols; with Causal > 0, rows come in groups of that many, and row i of a group
// sees its first Cols-Causal+i+1 elements.
type SoftmaxArgs struct {
	Y, X         Ref
	Cols, Causal int64
	Scale        float32
	_            uint32
}

// The kernels of rows.cu.
var (
	LayerNorm = declare[LayerNormArgs]("rows", "layer_norm")
	RMSNorm   = declare[RMSNormArgs]("rows", "rms_norm")
	Softmax   = declare[SoftmaxArgs]("rows", "softmax")
)

// RowThreads is how many threads share a row of cols elements: one for eight of them, in whole warps, at most 1024. The order of a
// row's sums follows from it, so nothing else may choose.
func RowThreads(cols int) uint32 { return rowThreads(cols, 1024) }

// GradThreads is RowThreads for NormGrad, whose threads need more registers.
func GradThreads(cols int) uint32 { return rowThreads(cols, 512) }

func rowThreads(cols, most int) uint32 {
	const each, warp = 8, 32
	return uint32(min(most, max(1, (cols+each*warp-1)/(each*warp))*warp))
}
