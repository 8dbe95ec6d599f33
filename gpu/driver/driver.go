// Package driver is what a back end implements to serve as a gpu.Device. Package gpu checks shapes, allocates results and
// keeps the error; a driver only writes into the views it is given. The suite in driver/drivertest is the definition of
// correct, and the gpu.Pass method of the same name says in terms of shapes what each operation means.
//
// Rules that hold for every operation:
//   - Views are dense and in range, counts agree (the front has checked), and results do not overlap operands unless
//     the operation says they may.
//   - Nothing is allocated on the device; scratch memory of a stream grows to what the largest operation needs and stays.
//   - One row of a result depends on the rows of the operands that it is made of and on the sizes of one row, never on the
//     number of rows, on neighbouring rows, or on the number of threads: not in one bit. SEED codes depend on it.
package driver

// DType is the type of the elements of a buffer.
type DType uint8

// The element types. U8 holds pixels and I32 ids. Sums and functions are computed in F32. Activation is F32 to the host and
// whatever the back end keeps results of operations in: 16 bits on a GPU that was opened for a 16-bit precision.
const (
	F32 DType = iota
	U8
	I32
	Activation
)

func (t DType) String() string {
	if int(t) < len(dtypes) {
		return dtypes[t]
	}
	return "unknown type"
}

var dtypes = [...]string{F32: "F32", U8: "U8", I32: "I32", Activation: "Activation"}

// Kind says what a packed matrix is for.
type Kind uint8

// The kinds of matrices.
const (
	Weight Kind = iota // in the precision that the device was opened with
	Exact              // in float32 whatever that is: tables, parameters
	Narrow             // a weight that a device opened for FP8 keeps in 8 bits; everywhere else as Weight
)

// Device is one opened back end. All methods may be called from several goroutines at once.
type Device interface {
	// Describe says what computes, for logs and manifests: "2 threads, AVX2+FMA".
	Describe() string
	// Alloc makes a buffer of n elements with undefined contents.
	Alloc(t DType, n int) (Buffer, error)
	// NewMatrix makes a packed matrix of rows x cols for Stream.MatMul.
	NewMatrix(rows, cols int, kind Kind) (Matrix, error)
	// NewStream makes an independent sequence of operations.
	NewStream() (Stream, error)
	// Close ends the device's threads. No stream may be in use.
	Close() error
}

// Buffer is memory of a device.
type Buffer interface {
	Free()
}

// Matrix is a weight in the layout that the back end multiplies by fastest; rows are outputs, as in PyTorch's Linear.
type Matrix interface {
	// SetRows packs len(data)/cols whole rows, starting at row. Several goroutines may fill different rows at once if
	// each starts at a multiple of 64.
	SetRows(row int, data []float32) error
	Free()
}

// View is n elements of a buffer, from off on.
type View struct {
	Buf    Buffer
	Off, N int
}

// Strided is a part of a buffer seen as [Batch][Heads][rows][columns], columns adjacent, the others the given numbers of
// elements apart.
type Strided struct {
	Buf              Buffer
	Off              int
	Batch, Head, Row int
}

// At is the offset of the first element of one batch and head.
func (s Strided) At(batch, head int) int { return s.Off + batch*s.Batch + head*s.Head }

// Stream runs operations in order; one goroutine uses it at a time. A back end may run them later: Sync waits for them.
type Stream interface {
	Transfers
	Products
	Elementwise
	Rows
	Lookups
	Decoders
	Gradients
	// Sync returns when everything so far is done, with the first error of what ran later than its call.
	Sync() error
	Close() error
}

// Transfers move elements between the host, which may change its slice as soon as a call returns, and the device. Reads
// are done when they return.
type Transfers interface {
	WriteF32(dst View, src []float32) error
	WriteU8(dst View, src []byte) error
	WriteI32(dst View, src []int32) error
	ReadF32(dst []float32, src View) error
	ReadU8(dst []byte, src View) error
	ReadI32(dst []int32, src View) error
	// Copy copies rows of cols F32 elements; row i starts at i times the stride on either side. A source stride of 0
	// repeats one row.
	Copy(dst View, dstStride int, src View, srcStride int, rows, cols int) error
}

// Products are the matrix multiplications.
type Products interface {
	// MatMul writes y [m rows] = x [m cols]·wᵀ. Rows of y lie stride elements apart, which is rows or more.
	MatMul(y View, stride int, x View, m int, w Matrix) error
	// BatchMatMul multiplies many small matrices.
	BatchMatMul(BatchMatMul) error
}

// BatchMatMul is C [M N] = A [M K]·B [K N] for each of Batch x Heads; A is [K M] if TransposeA, B [N K] if TransposeB, not
// both. With Accumulate the product is added to C. TransposeA and Accumulate are always of float32.
type BatchMatMul struct {
	C, A, B                            Strided
	Batch, Heads                       int
	M, N, K                            int
	TransposeA, TransposeB, Accumulate bool
}

// Func is an elementwise function.
type Func uint8

// The elementwise functions.
const (
	GELU Func = iota // x·Φ(x), the exact (erf) form
	Tanh
	ReLU // max(x, 0)
	SiLU // x/(1+exp(-x))
)

func (f Func) String() string { return [...]string{"GELU", "Tanh", "ReLU", "SiLU"}[f] }

// Elementwise operations; results may be operands.
type Elementwise interface {
	// Add writes y = a + b, b repeated until it is as long as a.
	Add(y, a, b View) error
	Apply(f Func, y, x View) error
}

// Rows are operations along the last axis, cols long; results may be operands.
type Rows interface {
	// LayerNorm writes (x-mean)/sqrt(variance+eps)·weight + bias, the variance being that of the row (divisor cols).
	LayerNorm(y, x, weight, bias View, cols int, eps float32) error
	// Softmax writes exp(scale·x)/sum over each row. With causal > 0, rows come in groups of that many, and row i of a
	// group sees only its first cols-causal+i+1 elements; the others become 0.
	Softmax(y, x View, cols int, scale float32, causal int) error
}

// Lookups find rows by number and numbers by row.
type Lookups interface {
	// Lookup copies row ids[i] of the table [· cols] to row i of y. An id outside the table is an error.
	Lookup(y, table, ids View, cols int) error
	// Nearest writes, for each row z of x [n cols], the number of the table row E with the least (|z|²+|E|²) - 2·z·E, the
	// lowest on ties. table holds the rows packed, norms their |E|².
	Nearest(ids, x View, table Matrix, norms View) error
	// Patches cuts images [n size size 3] of bytes into squares and writes y [n (size/patch)² 3·patch·patch], each square
	// as channel, row, column; values go through table [3 256].
	Patches(y, images, table View, n, size, patch int) error
}

// Linear is an optional ability of a Stream: MatMul with what follows it in one go. It must give the same bits as MatMul,
// Add, Apply and Add.
type Linear interface {
	// Linear writes y = f(x·wᵀ + bias) + residual, or without f if apply is false. A View without a buffer is left out.
	Linear(y, x View, m int, w Matrix, bias View, f Func, apply bool, residual View) error
}

// AttentionArgs is Y [Tq D] = softmax(Scale·Q [Tq D]·Kᵀ [D Tk])·V [Tk D] for each of Batch x Heads. Causal: query i sees
// keys 0 to Tk-Tq+i, and with Starts, I32 [Batch Tq], only those from Starts[i] on; a query that sees none gets zeros.
// Heads share keys and values in groups of Heads/KVHeads.
type AttentionArgs struct {
	Y, Q, K, V    Strided
	Batch, Heads  int
	KVHeads       int // 0: Heads
	Tq, Tk, Width int // Width: elements of one head
	Scale         float32
	Causal        bool
	Starts        View // no buffer: all 0
}

// KeyHead is the head of K and V that head h reads.
func (a *AttentionArgs) KeyHead(h int) int {
	if a.KVHeads == 0 {
		return h
	}
	return h / (a.Heads / a.KVHeads)
}
