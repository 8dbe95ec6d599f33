// Package gpu is the compute half of Sower: tensors on a device, and passes that run operations on them. Models are
// written against it (gpu/models/...), back ends stand behind it (gpu/driver, gpu/cpu) and register by name:
//
//	import _ "sower/gpu/cpu"
//
//	dev, err := gpu.Open("cpu", gpu.Options{})
//	p := dev.NewPass(gpu.Inference)
//	y := p.GELU(p.AddBias(p.MatMul(x, w, gpu.TransposeB), b))
//	p.ReadF32(y, out)
//	if err := p.Close(); err != nil { … }
//
// A Pass holds the first error, as bufio.Writer does: operations after it do nothing and Close reports it. What
// surprises: the tensors that a pass makes live in memory that the next pass uses again, so they must not be used after
// Close; what must stay is made by Device.NewTensor and Device.NewWeight.
//
// # Shapes
//
// Tensors are dense and row-major. Comments write a shape in brackets, one letter an axis:
//
//	B  images (or sequences) of a batch
//	T  tokens of a sequence; Tq of queries, Tk of keys
//	C  channels of a token; D, E other widths
//	S  side of an image in pixels; P its patches
//	Q  queries, that is codes of an image
//	K  rows of a codebook
//	W  width of the vision transformer, H of the Q-Former
//	V  tokens of a vocabulary
//	R  rank of an adapter
//
// # Bits
//
// A row of a result does not depend on the batch that it is computed in, nor on the number of threads (see the rules in
// package driver). Back ends differ from one another in the last places.
package gpu
