package kernels

// The arguments of attention.cu, attention_mma.cu and attention_grad.cu.

// AttentionArgs are Y, Q, K and V for each of Batch x Heads, by the numbers of elements from a batch, a head and a row to the next. Group heads
// share a head of K and V. Starts is I32 [Batch TQ], or left out.
type AttentionArgs struct {
	Y, Q, K, V, Starts  Ref
	YBatch, YHead, YRow int64
	QBatch, QHead, QRow int64
	KBatch, KHead, KRow int64
	VBatch, VHead, VRow int64
	Batch, Heads, Group int32
	TQ, TK, Width       int32
	Scale               float32
	Causal              uint32
	Narrow              uint32 // round operands to this type first; 0: leave them
	_                   uint32
}

// AttentionTile is how many queries a block of Attention has, and how many keys one of AttentionGradKeys; AttentionColumns how many columns
// of a head either has.
const (
	AttentionTile    = 64
	AttentionColumns = 128
	AttentionThreads = 256
)

// Attention takes a block for each head, tile of queries and group of columns, columns being what runs fastest.
var Attention = declare[AttentionArgs]("attention", "attention")

// AttentionMMAArgs adds how many blocks a head has, and how many tiles of 16 queries a block.
type AttentionMMAArgs struct {
	AttentionArgs
	Splits, Tiles int32
}

// AttentionMMA is attention on tensor cores for one width of heads. Up to Keys keys are held at a time; with Whole there may be no more, else
// blocks have four tiles.
type AttentionMMA struct {
	Kernel
	Keys  int
	Whole bool
}

// AttentionMMAThreads is how many threads a block of AttentionMMA has.
const AttentionMMAThreads = 128

// Shared is how many bytes of shared memory a block takes.
func (a *AttentionMMA) Shared(width, tk int) int {
	return 2 * min(a.Keys, (tk+15)/16*16) * (width/8 | 1) * 16
}

// AttentionByWidth lists, by the type of the operands and the width of a head, what there is for a few and for many keys.
var AttentionByWidth = map[uint32]map[int][]AttentionMMA{
	F16: {
		64:  {running("attention_f16_64_64"), whole("attention_f16_64_272")},
		88:  {whole("attention_f16_88_272")},
		128: {running("attention_f16_128_64")},
	},
	BF16: {
		64:  {running("attention_bf16_64_64"), whole("attention_bf16_64_272")},
		88:  {whole("attention_bf16_88_272")},
		128: {running("attention_bf16_128_64")},
	},
}

func running(name string) AttentionMMA {
	return attention(name, 64, false)
}

func whole(name string) AttentionMMA {
	return attention(name, 272, true)
}

func attention(name string, keys int, whole bool) AttentionMMA {
	const widest = 128 // a whole row of 272 keys comes only with narrower heads
	a := AttentionMMA{declare[AttentionMMAArgs]("attention_mma", name), keys, whole}
	width := widest
	if whole {
		width = 88
	}
	dynamic[a.Kernel] = a.Shared(width, keys)
	return a
}

// AttentionGradArgs are those of the gradient; Y is not used. Stats is room for 4 float32 a query and head, aligned to 16 bytes.
type AttentionGradArgs struct {
	AttentionArgs
	DY, DQ, DK, DV         Ref
	DYBatch, DYHead, DYRow int64
	DQBatch, DQHead, DQRow int64
	DKBatch, DKHead, DKRow int64
	DVBatch, DVHead, DVRow int64
	Stats                  uint64
}

// AttentionGradQueries fills Stats and the gradient of queries, then AttentionGradKeys the others. Blocks are as those of Attention, tiles of
// the latter being of keys.
var (
	AttentionGradQueries = declare[AttentionGradArgs]("attention_grad", "attention_grad_queries")
	AttentionGradKeys    = declare[AttentionGradArgs]("attention_grad", "attention_grad_keys")
)
