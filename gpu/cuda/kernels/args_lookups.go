package kernels

// The arguments of lookups.cu. IDs, To and From are addresses of int32, Err that of an ErrorRecord or 0.

// LookupArgs copies row IDs[i] of Table [Limit Cols], whose rows lie Stride elements apart, to row i of Y, for N ids. A thread has
// eight elements; a grid of any size will do.
type LookupArgs struct {
	Y, Table               Ref
	IDs, Err               uint64
	N, Cols, Stride, Limit int64
	Op, _                  uint32
}

// ScatterRowsArgs copies row From[i] of X [FromLimit Cols] to row To[i] of Y [ToLimit Cols], for N pairs, as LookupArgs.
type ScatterRowsArgs struct {
	Y, X                        Ref
	To, From, Err               uint64
	N, Cols, ToLimit, FromLimit int64
}

// PatchesArgs cuts images of Size x Size RGB bytes at Pixels into squares of Patch, values through Table, float32 [3 256]. A thread
// has eight elements of one image; grid y are images, from First on.
type PatchesArgs struct {
	Y                     Ref
	Pixels, Table         uint64
	Size, Patch, First, _ uint32
}

// NearestArgs finds, for N rows of X [N Cols], the nearest of Rows rows of Table, which lie Stride elements apart. Half 1 rounds every
// step to float16 as the published float16 tokenizer does. A block has NearestThreads threads, NearestRows rows of X and NearestShared
// bytes of shared memory.
type NearestArgs struct {
	X, Table, Norms       Ref
	IDs                   uint64
	N, Rows, Cols, Stride int64
	Half, _               uint32
}

// What a launch of Nearest needs.
const (
	NearestThreads = 256
	NearestRows    = 8
)

// NearestShared is the bytes of shared memory for vectors of cols elements.
func NearestShared(cols int) int { return NearestRows * cols * 4 }

// The kernels of lookups.cu.
var (
	Lookup      = declare[LookupArgs]("lookups", "lookup")
	ScatterRows = declare[ScatterRowsArgs]("lookups", "scatter_rows")
	Patches     = declare[PatchesArgs]("lookups", "patches")
	Nearest     = declare[NearestArgs]("lookups", "nearest")
)
