package kernels

// The arguments of rows.cu. All of these kernels take one block a row.

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
	LayerNorm = declareRow[LayerNormArgs]("rows", "layer_norm", 1024)
	RMSNorm   = declareRow[RMSNormArgs]("rows", "rms_norm", 1024)
	Softmax   = declareRow[SoftmaxArgs]("rows", "softmax", 1024)
)

// RowKernel is a kernel with a block for each row, and its twin for short rows, which gives the same bits and takes fewer registers.
type RowKernel struct {
	long, short Kernel
	threads     int // the most that long may have
}

func declareRow[T any](module, name string, threads int) RowKernel {
	return RowKernel{declare[T](module, name), declare[T](module, name+"_short"), threads}
}

// For is the kernel for rows of cols elements and the threads of its blocks: one for eight elements, in whole warps. The order of a
// row's sums follows from them, so nothing else may choose.
func (k RowKernel) For(cols int) (Kernel, uint32) {
	const shortThreads = 256
	threads := rowThreads(cols, k.threads)
	if cols <= shortThreads*Eight {
		return k.short, threads
	}
	return k.long, threads
}

// RowThreads is how many threads share a row of cols elements where nothing limits them but the size of a block.
func RowThreads(cols int) uint32 { return rowThreads(cols, 1024) }

func rowThreads(cols, most int) uint32 {
	const warp = 32
	return uint32(min(most, max(1, (cols+Eight*warp-1)/(Eight*warp))*warp))
}
