package kernels

// The arguments of gemm_f32.cu, gemm.cu, hopper.cu and hopper_fp8.cu.

// ProductArgs is C [M N] = A [M K]·B [K N] for each of Batch x Heads, and what follows it: + Bias, a function, + Residual, each
// rounded to the type of C, as separate operations would.
type ProductArgs struct {
	C, A, B, Bias, Residual                     Ref
	CRow, ARow, BRow, ResidualRow               int64 // elements from one row in memory to the next
	CBatch, CHead, ABatch, AHead, BBatch, BHead int64
	M, N, K, Heads, Batch                       int32
	F                                           uint32 // 0, or 1 + a driver.Func
	Accumulate                                  uint32 // 1: add to C
	Narrow                                      uint32 // round operands to this type first; 0: leave them
}

// Product is a matrix product with the tile that a block computes. Tiles differ in nothing but speed: sums are taken in one order.
type Product struct {
	Kernel
	TileM, TileN    int
	Threads, Shared uint32
}

// Blocks is how many blocks the product of m x n takes.
func (p *Product) Blocks(m, n int) int {
	return (m + p.TileM - 1) / p.TileM * ((n + p.TileN - 1) / p.TileN)
}

// Form says how operands lie in memory: NT is A [m k] and B [n k], NN A [m k] and B [k n], TN A [k m] and B [k n].
type Form int

// The forms of a product.
const (
	NT Form = iota
	NN
	TN
)

// Products of float32 arithmetic: operands of any float type at any address.
var (
	SmallF32 = [...]Product{NT: small("gemm_f32_nt_64"), NN: small("gemm_f32_nn_64"), TN: small("gemm_f32_tn_64")}
	LargeF32 = [...]Product{NT: large("gemm_f32_nt_128"), NN: large("gemm_f32_nn_128"), TN: large("gemm_f32_tn_128")}
)

// Products of 16-bit operands on tensor cores: A and B are of the type, rows begin at multiples of 16 bytes, and their last eight elements are
// readable, zero beyond K. Small ones are for up to 32 rows.
var (
	SmallF16  = [...]Product{NT: few("gemm_f16_nt_32"), NN: few("gemm_f16_nn_32")}
	LargeF16  = [...]Product{NT: many("gemm_f16_nt_128"), NN: many("gemm_f16_nn_128")}
	SmallBF16 = [...]Product{NT: few("gemm_bf16_nt_32"), NN: few("gemm_bf16_nn_32")}
	LargeBF16 = [...]Product{NT: many("gemm_bf16_nt_128"), NN: many("gemm_bf16_nn_128")}
)

// dynamic are the kernels that take more than a little dynamic shared memory.
var dynamic = map[Kernel]int{}

// DynamicShared is how many bytes of dynamic shared memory a block of a kernel takes at most, as far as that is more than none.
func DynamicShared(k Kernel) int { return dynamic[k] }

func product(k Kernel, m, n int, threads, shared uint32) Product {
	dynamic[k] = int(shared)
	return Product{k, m, n, threads, shared}
}

func small(name string) Product {
	return product(declare[ProductArgs]("gemm_f32", name), 64, 64, 256, 0)
}

func large(name string) Product {
	return product(declare[ProductArgs]("gemm_f32", name), 128, 128, 256, 0)
}

func few(name string) Product {
	return product(declare[ProductArgs]("gemm", name), 32, 64, 128, 24<<10)
}

func many(name string) Product {
	return product(declare[ProductArgs]("gemm", name), 128, 128, 256, 64<<10)
}

// FinishRowsArgs are ProductArgs of which A holds the sums, in the type of C and perhaps in its place.
type FinishRowsArgs struct{ ProductArgs }

// FinishRows does what follows a product; launched with any grid, a thread takes 8 elements of a row at a time.
var FinishRows = declare[FinishRowsArgs]("gemm", "finish_rows")

// HopperArgs are tensor maps of A in boxes of HopperRows x HopperDepth elements and of B in boxes of TileN x HopperDepth, both with the 128-byte
// swizzle, and the product, whose A and B are not used. Of e4m3, two elements are one of the maps', whose type has 16 bits, and A and B are the
// scales of their rows, [M] and [N] of F32.
type HopperArgs struct {
	AMap, BMap [128]byte
	ProductArgs
}

// HopperRows and HopperDepth are sizes of boxes.
const (
	HopperRows  = 128
	HopperDepth = 64
)

// Products on Hopper by the width of their tiles, for compute capability 9.0. As many blocks as multiprocessors are launched, or tiles if these are
// fewer.
var (
	HopperF16  = [...]Product{hopper("hopper_f16_192", 192), hopper("hopper_f16_128", 128)}
	HopperBF16 = [...]Product{hopper("hopper_bf16_192", 192), hopper("hopper_bf16_128", 128)}
)

// HopperE4M3 multiplies operands of e4m3.
var HopperE4M3 = hopperOf("hopper_fp8", "hopper_e4m3_128", 128)

func hopper(name string, n int) Product { return hopperOf("hopper", name, n) }

func hopperOf(module, name string, n int) Product {
	const ring, warps = 4, 8
	shared := ring*(HopperRows+n)*HopperDepth*2 + warps*16*(n/2+8)*4 + ring*16 + 16 + 1024 // as layout of hopper_tiles.h
	return product(declare[HopperArgs](module, name), HopperRows, n, 384, uint32(shared))
}

// QuantiseRowsArgs is Y [Rows YRow] = X [Rows Cols] / Scale [Rows] in e4m3, and zero beyond Cols; Scale, of float32, is each row's largest absolute
// value / 448, or 1 if that is 0. Rows of X lie XRow apart; YRow is a multiple of 16, Y of 8.
type QuantiseRowsArgs struct {
	Y, Scale               uint64
	X                      Ref
	Rows, Cols, XRow, YRow int64
}

// QuantiseRows takes a row a warp.
var QuantiseRows = declare[QuantiseRowsArgs]("hopper_fp8", "quantise_rows")

// PadRowsArgs is Y [Rows YRow] = X [Rows Cols] in the type of Y and zero beyond Cols; rows of X lie XRow apart, YRow is a multiple of 8.
type PadRowsArgs struct {
	Y, X                   Ref
	Rows, Cols, XRow, YRow int64
}

// PadRows is launched with any grid; a thread takes 8 elements at a time.
var PadRows = declare[PadRowsArgs]("gemm", "pad_rows")
