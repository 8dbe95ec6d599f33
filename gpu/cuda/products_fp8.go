//go:build cuda && linux && cgo

package cuda

import "sower/gpu/cuda/kernels"

// Rows in e4m3 are cols rounded up to 16 bytes long; the scales of all of them follow the last, at a multiple of 256 bytes.
func quantisedRow(cols int) int { return roundUp(cols, matrixAlign) }

func quantisedScales(rows, cols int) int { return roundUp(rows*quantisedRow(cols), 256) }

func quantisedBytes(rows, cols int) int { return quantisedScales(rows, cols) + 4*rows }

// scales is where those of a matrix of e4m3 begin.
func (m *matrix) scales() uint64 { return m.ptr + uint64(quantisedScales(m.rows, m.cols)) }

// quantise writes x [rows cols], dense, to y in e4m3 and to scales what its rows were divided by: what follows from a row alone.
func (s *stream) quantise(y, scales uint64, x kernels.Ref, rows, cols int) error {
	args := kernels.QuantiseRowsArgs{Y: y, Scale: scales, X: x, Rows: int64(rows), Cols: int64(cols), XRow: int64(cols), YRow: int64(quantisedRow(cols))}
	const warps = flatThreads / 32
	return run(s, kernels.QuantiseRows, [3]uint32{uint32((rows + warps - 1) / warps), 1, 1}, flatThreads, 0, &args)
}

// multiplyE4M3 computes a product of x, which p.A holds densely, and a narrow weight, whatever their sizes.
func (s *stream) multiplyE4M3(p *kernels.ProductArgs, w *matrix) error {
	m := int(p.M)
	x, err := s.scratch(quantisedBytes(m, w.cols))
	if err != nil {
		return err
	}
	scales := x + uint64(quantisedScales(m, w.cols))
	if err := s.quantise(x, scales, p.A, m, w.cols); err != nil {
		return err
	}
	args := kernels.HopperArgs{ProductArgs: *p}
	args.A, args.B = kernels.Ref{Ptr: scales, Type: kernels.F32}, kernels.Ref{Ptr: w.scales(), Type: kernels.F32}
	// The bulk copies move bytes; what they call an element of 16 bits is two of e4m3.
	row := quantisedRow(w.cols)
	return s.launchHopper(&args, &kernels.HopperE4M3, mapped{x, kernels.F16, m, row / 2, row}, mapped{w.ptr, kernels.F16, w.rows, row / 2, row})
}
