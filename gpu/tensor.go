package gpu

import (
	"errors"
	"fmt"
	"slices"

	"sower/gpu/driver"
)

// DType is the type of a tensor's elements.
type DType = driver.DType

// The element types.
const (
	F32 = driver.F32
	U8  = driver.U8
	I32 = driver.I32
)

// maxRank bounds the axes of a tensor. Shapes are arrays inside the tensor, so that making one allocates nothing.
const maxRank = 4

// Tensor is a dense, row-major array on a device, or a weight packed for it. A Tensor made by a Pass lives as long as the
// pass. Tensors are values of a computation: no operation changes its operands.
type Tensor struct {
	dtype  DType
	rank   int
	dims   [maxRank]int
	stride int // elements from row to row of the last axis; more than its length for a column view
	batch  int // elements from sequence to sequence of [B T E], where that is more than T·stride; else 0
	buf    driver.Buffer
	off    int
	matrix driver.Matrix // set instead of buf for a packed weight

	grad             *Tensor // so far, of a parameter or during Backward
	needs, parameter bool    // a gradient
}

// DType is the type of the elements.
func (t *Tensor) DType() DType { return t.dtype }

// Shape is the length of each axis. It must not be changed.
func (t *Tensor) Shape() []int { return t.dims[:t.rank] }

// Dim is the length of axis i; negative i count from the last.
func (t *Tensor) Dim(i int) int {
	if i < 0 {
		i += t.rank
	}
	return t.dims[i]
}

// Len is the number of elements.
func (t *Tensor) Len() int { return product(t.Shape()) }

// Packed reports whether t is a weight made by NewWeight, good for the right side of MatMul alone.
func (t *Tensor) Packed() bool { return t.matrix != nil }

func (t *Tensor) String() string { return fmt.Sprintf("%v%v", t.dtype, t.Shape()) }

// cols is the length of the last axis, rows the product of the others.
func (t *Tensor) cols() int { return t.dims[t.rank-1] }

func (t *Tensor) rows() int { return product(t.dims[:t.rank-1]) }

func (t *Tensor) dense() bool { return !t.Packed() && t.stride == t.cols() && t.batch == 0 }

func (t *Tensor) view() driver.View { return driver.View{Buf: t.buf, Off: t.off, N: t.Len()} }

// setShape sets a dense shape.
func (t *Tensor) setShape(shape []int) {
	t.rank = copy(t.dims[:], shape)
	t.stride = t.cols()
}

// checkShape says what is wrong with a shape.
func checkShape(shape []int) error {
	if len(shape) == 0 || len(shape) > maxRank {
		return fmt.Errorf("shape %v has %d axes, want 1 to %d", slices.Clone(shape), len(shape), maxRank)
	}
	for _, n := range shape {
		if n <= 0 {
			return fmt.Errorf("shape %v has an axis of length %d", slices.Clone(shape), n)
		}
	}
	return nil
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// NewTensor makes a tensor that stays until Free, with undefined contents; Upload fills it.
func (d *Device) NewTensor(dtype DType, shape ...int) (*Tensor, error) {
	if err := checkShape(shape); err != nil {
		return nil, fmt.Errorf("gpu: new tensor: %w", err)
	}
	buf, err := d.drv.Alloc(dtype, product(shape))
	if err != nil {
		return nil, fmt.Errorf("gpu: new tensor %v%v: %w", dtype, slices.Clone(shape), err)
	}
	t := &Tensor{dtype: dtype, buf: buf}
	t.setShape(shape)
	return t, nil
}

// FromSlice makes an F32 tensor that stays until Free.
func (d *Device) FromSlice(values []float32, shape ...int) (*Tensor, error) {
	t, err := d.NewTensor(F32, shape...)
	if err != nil {
		return nil, err
	}
	if len(values) != t.Len() {
		return nil, fmt.Errorf("gpu: new tensor %v of %d values, want %d", t.Shape(), len(values), t.Len())
	}
	p := d.NewPass(Inference)
	p.WriteF32(t, 0, values)
	return t, p.Close()
}

// NewWeight makes a weight of rows outputs and cols inputs, packed in the way the device multiplies by fastest. SetRows
// fills it, and MatMul(x, weight, TransposeB) uses it.
func (d *Device) NewWeight(rows, cols int) (*Tensor, error) {
	return d.newMatrix(rows, cols, driver.Weight)
}

// NewNarrowWeight is NewWeight for a product that loses little in 8 bits: a device opened for FP8 keeps it in those.
func (d *Device) NewNarrowWeight(rows, cols int) (*Tensor, error) {
	return d.newMatrix(rows, cols, driver.Narrow)
}

// NewTable makes a weight of float32 whatever the precision of the device, for Nearest.
func (d *Device) NewTable(rows, cols int) (*Tensor, error) {
	return d.newMatrix(rows, cols, driver.Exact)
}

func (d *Device) newMatrix(rows, cols int, kind driver.Kind) (*Tensor, error) {
	shape := []int{rows, cols}
	if err := checkShape(shape); err != nil {
		return nil, fmt.Errorf("gpu: new weight: %w", err)
	}
	m, err := d.drv.NewMatrix(rows, cols, kind)
	if err != nil {
		return nil, fmt.Errorf("gpu: new weight %v: %w", shape, err)
	}
	t := &Tensor{dtype: F32, matrix: m}
	t.setShape(shape)
	return t, nil
}

// SetRows packs whole rows of a weight, starting at row, from row-major values. Several goroutines may fill different
// rows at once if each starts at a multiple of 64.
func (t *Tensor) SetRows(row int, values []float32) error {
	if !t.Packed() {
		return errors.New("gpu: set rows: the tensor is not a weight; use Pass.WriteF32")
	}
	if n := len(values) / t.cols(); n*t.cols() != len(values) || row < 0 || row+n > t.dims[0] {
		return fmt.Errorf("gpu: set rows: %d values at row %d do not fit a weight %v", len(values), row, t.Shape())
	}
	return t.matrix.SetRows(row, values)
}

// Free gives back the memory of a tensor made by NewTensor, FromSlice or NewWeight.
func (t *Tensor) Free() {
	switch {
	case t == nil:
	case t.matrix != nil:
		t.matrix.Free()
	case t.buf != nil:
		t.buf.Free()
		if t.parameter {
			t.grad.buf.Free()
		}
	}
}
