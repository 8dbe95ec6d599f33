package driver

// Decoders are operations that language models need beyond those of the image tokenizer; results may be operands.
type Decoders interface {
	// RMSNorm writes x/sqrt(mean(x²)+eps)·weight for each row of cols.
	RMSNorm(y, x, weight View, cols int, eps float32) error
	// Attention is BatchMatMul, Softmax, BatchMatMul without the scores in memory.
	Attention(AttentionArgs) error
	// Rotate turns, in each row [heads width] of x, element i of a head with element i + width/2 by the angle whose cosine
	// and sine stand in row positions[row] of the tables [· width/2]: (a, b) becomes (a·cos - b·sin, b·cos + a·sin). With back
	// it turns the other way. A position outside the tables is an error.
	Rotate(y, x, positions, cos, sin View, heads, width int, back bool) error
	// Gate writes SiLU(g)·u.
	Gate(y, g, u View) error
	// LookupMatrix copies row ids[i] of a packed float32 matrix to row i of y. An id outside the table is an error.
	LookupMatrix(y View, table Matrix, ids View) error
	// Axpy writes y = y + a·x.
	Axpy(y, x View, a float32) error
	// Dropout writes x/(1-rate) where the generator of seed keeps element i, and 0 elsewhere; see Keeps.
	Dropout(y, x View, seed uint64, rate float32) error
	// ScatterRows copies row from[i] of x to row to[i] of y, both of cols elements. Rows of y occur once.
	ScatterRows(y, x, to, from View, cols int) error
}

// Gradients are what training needs. Where nothing else is said, results are written, not added to.
type Gradients interface {
	// MatMulInput writes dx [m cols] = dy [m rows]·w, the gradient of MatMul to x, or adds it to dx. Rows of dy lie stride
	// elements apart.
	MatMulInput(dx, dy View, stride, m int, w Matrix, accumulate bool) error
	// SumRows adds the sum of the rows of x to y [cols].
	SumRows(y, x View, cols int) error
	// AddRows adds row from[i] of x to row to[i] of y, in order.
	AddRows(y, x, to, from View, cols int) error
	// ApplyGrad writes dx = dy·f'(x); dx may be dy.
	ApplyGrad(f Func, dx, dy, x View) error
	// LayerNormGrad is the gradient of LayerNorm: dx is written, dweight and dbias are added to, and left out without a buffer.
	LayerNormGrad(dx, dweight, dbias, dy, x, weight View, cols int, eps float32) error
	// RMSNormGrad is that of RMSNorm.
	RMSNormGrad(dx, dweight, dy, x, weight View, cols int, eps float32) error
	// SoftmaxGrad writes dx = scale·y·(dy - Σ y·dy) for rows of a softmax's result y.
	SoftmaxGrad(dx, dy, y View, cols int, scale float32) error
	// GateGrad is the gradient of Gate.
	GateGrad(dg, du, dy, g, u View) error
	// AttentionGrad is the gradient of attention; K and V are computed with, DQ, DK and DV are written.
	AttentionGrad(AttentionGradArgs) error
	// CrossEntropy replaces each row of logits by the gradient of its loss, and writes the loss; see CrossEntropyArgs.
	CrossEntropy(CrossEntropyArgs) error
	// SumSquares returns the sum of squares, in float64 and an order that depends on the length alone.
	SumSquares(x View) (float64, error)
	// AdamW is one update of parameters.
	AdamW(AdamWArgs) error
}

// Dense is an optional ability of a Stream: layers whose weight is in training, and so not packed.
type Dense interface {
	// Dense writes y [M N] = f(x [M K]·wᵀ + bias) + residual for w [N K]. Bias, residual and f may be left out. What f is applied to goes to
	// Pre [M N], for its gradient, if that has a buffer.
	Dense(DenseArgs) error
}

// DenseArgs are the operands of a layer.
type DenseArgs struct {
	Y, Pre, X, W, Bias, Residual View
	M, N, K                      int
	F                            Func
	Apply                        bool // f is there
}

// AttentionGradArgs are those of the forward operation, whose Y is not read, and the gradients.
type AttentionGradArgs struct {
	AttentionArgs
	DY, DQ, DK, DV Strided
}

// CrossEntropyArgs is the negative log-likelihood of labels under softmax(logits): Loss[i] = Scale·(log Σ exp(logits) -
// logits[label]), and the row becomes Scale·(softmax - one at the label). A label of -100 has loss 0 and gradient 0; any
// other outside the row is an error.
type CrossEntropyArgs struct {
	Loss, Logits, Labels View // [m], [m cols], I32 [m]
	Cols                 int
	Scale                float32
}

// Ignored is the label of a target that does not count.
const Ignored = -100

// AdamWArgs is an update with decoupled weight decay (arXiv 1711.05101), in this order:
//
//	p ← p·(1 - Rate·Decay);  m ← β1·m + (1-β1)·g;  v ← β2·v + (1-β2)·g²
//	p ← p - Rate/(1-β1^t) · m / (√v/√(1-β2^t) + eps)
//
// with g = GradScale·G, which is how gradients are clipped.
type AdamWArgs struct {
	P, G, M, V                                View
	Rate, Beta1, Beta2, Eps, Decay, GradScale float64
	Step                                      int // t, from 1 on
}

// Keeps reports whether dropout keeps element i: a generator of counters (splitmix64's mix of seed and i), so that what
// is dropped follows from the seed alone, whatever computes it. threshold is rate·2^32.
func Keeps(seed uint64, i int, threshold uint64) bool {
	x := seed + uint64(i)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	return x>>32 >= threshold
}
