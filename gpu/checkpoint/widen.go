package checkpoint

import (
	"encoding/binary"
	"fmt"
	"math"
)

// halfTable holds the float32 value of every float16 bit pattern; 256 KiB that make widening one load an element.
var halfTable = func() *[1 << 16]float32 {
	t := new([1 << 16]float32)
	for i := range t {
		t[i] = halfToFloat(uint16(i))
	}
	return t
}()

// halfToFloat widens one IEEE 754 binary16 value.
func halfToFloat(h uint16) float32 {
	sign := uint32(h>>15) << 31
	exp, frac := uint32(h>>10)&31, uint32(h)&1023
	switch {
	case exp == 31: // infinity and NaN keep their payload
		return math.Float32frombits(sign | 0xff<<23 | frac<<13)
	case exp == 0: // zero and subnormals: frac * 2^-24 is exact in float32
		v := float32(frac) * (1.0 / (1 << 24))
		if sign != 0 {
			v = -v
		}
		return v
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

// widen converts len(dst) little-endian elements of raw to float32.
func widen(dst []float32, raw []byte, d DType) error {
	n := len(dst)
	if size := d.Size(); size == 0 || len(raw) < n*size {
		return fmt.Errorf("%d bytes for %d elements of %s", len(raw), n, d)
	}
	switch d {
	case F32:
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
	case F16:
		raw = raw[:2*n]
		for len(dst) >= 4 { // one bounds check and one load for four
			w := binary.LittleEndian.Uint64(raw)
			dst[0], dst[1], dst[2], dst[3] = halfTable[uint16(w)], halfTable[uint16(w>>16)], halfTable[uint16(w>>32)], halfTable[w>>48]
			dst, raw = dst[4:], raw[8:]
		}
		for i := range dst {
			dst[i] = halfTable[binary.LittleEndian.Uint16(raw[2*i:])]
		}
	case BF16:
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(raw[2*i:])) << 16)
		}
	case F64:
		for i := range dst {
			dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:])))
		}
	default:
		return fmt.Errorf("element type %s cannot be read as float32", d)
	}
	return nil
}

// view is a tensor inside raw bytes: elements of type dtype, from element offset on, with strides in elements.
type view struct {
	info   Info
	raw    []byte
	offset int
	stride []int // nil when contiguous
}

// contiguous strides of a shape.
func rowMajor(shape []int) []int {
	s, n := make([]int, len(shape)), 1
	for i := len(shape) - 1; i >= 0; i-- {
		s[i] = n
		n *= shape[i]
	}
	return s
}

func (v *view) read(offset int, dst []float32) error {
	n := v.info.Len()
	if offset < 0 || offset+len(dst) > n {
		return fmt.Errorf("elements %d to %d of %d", offset, offset+len(dst), n)
	}
	if !v.info.DType.Float() {
		return fmt.Errorf("element type %s cannot be read as float32", v.info.DType)
	}
	size := v.info.DType.Size()
	if v.stride == nil {
		return widen(dst, v.raw[(v.offset+offset)*size:], v.info.DType)
	}
	// Strided views (transposed or expanded tensors) are rare in weight files: one element at a time is enough.
	index := make([]int, len(v.info.Shape))
	rest := offset
	for i, s := range rowMajor(v.info.Shape) {
		index[i] = rest / s
		rest %= s
	}
	for i := range dst {
		at := v.offset
		for d, k := range index {
			at += k * v.stride[d]
		}
		if err := widen(dst[i:i+1], v.raw[at*size:], v.info.DType); err != nil {
			return err
		}
		for d := len(index) - 1; d >= 0; d-- {
			if index[d]++; index[d] < v.info.Shape[d] {
				break
			}
			index[d] = 0
		}
	}
	return nil
}

// mulChecked multiplies non-negative sizes, failing on overflow and on more than 2^46 (a size no weight file has).
func mulChecked(sizes ...int) (int, error) {
	n := 1
	for _, s := range sizes {
		if s < 0 {
			return 0, fmt.Errorf("negative size %d", s)
		}
		if s != 0 && n > (1<<46)/s {
			return 0, fmt.Errorf("sizes %v overflow", sizes)
		}
		n *= s
	}
	return n, nil
}
