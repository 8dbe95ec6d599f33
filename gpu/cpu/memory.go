package cpu

import (
	"fmt"
	"unsafe"

	"sower/gpu/driver"
)

// buffer is memory of one element type; the other slices are nil.
type buffer struct {
	f []float32
	b []byte
	i []int32
}

func alloc(t driver.DType, n int) (driver.Buffer, error) {
	switch t {
	case driver.F32, driver.Activation:
		return &buffer{f: aligned(n)}, nil
	case driver.U8:
		return &buffer{b: make([]byte, n)}, nil
	case driver.I32:
		return &buffer{i: make([]int32, n)}, nil
	}
	return nil, fmt.Errorf("cpu: no memory of type %v", t)
}

func (b *buffer) Free() { *b = buffer{} }

// aligned makes n zeros that begin at a cache line, so that a tile's vectors never straddle two.
func aligned(n int) []float32 {
	const line = 64
	s := make([]float32, n+line/4)
	adviseHuge(s)
	skip := int(-uintptr(unsafe.Pointer(&s[0]))%line) / 4
	return s[skip : skip+n : skip+n]
}

func floats(v driver.View) []float32 { return v.Buf.(*buffer).f[v.Off : v.Off+v.N] }

func bytesOf(v driver.View) []byte { return v.Buf.(*buffer).b[v.Off : v.Off+v.N] }

func ids(v driver.View) []int32 { return v.Buf.(*buffer).i[v.Off : v.Off+v.N] }

// strided is all of the buffer from the first element of one batch and head.
func strided(s driver.Strided, batch, head int) []float32 {
	return s.Buf.(*buffer).f[s.At(batch, head):]
}

// memory is what both back ends do alike: moving elements.
type memory struct{}

func (memory) Sync() error { return nil }

func (memory) WriteF32(dst driver.View, src []float32) error { copy(floats(dst), src); return nil }

func (memory) WriteU8(dst driver.View, src []byte) error { copy(bytesOf(dst), src); return nil }

func (memory) WriteI32(dst driver.View, src []int32) error { copy(ids(dst), src); return nil }

func (memory) ReadF32(dst []float32, src driver.View) error { copy(dst, floats(src)); return nil }

func (memory) ReadU8(dst []byte, src driver.View) error { copy(dst, bytesOf(src)); return nil }

func (memory) ReadI32(dst []int32, src driver.View) error { copy(dst, ids(src)); return nil }

func (memory) Copy(dst driver.View, dstStride int, src driver.View, srcStride int, rows, cols int) error {
	to, from := floats(dst), floats(src)
	for r := range rows {
		copy(to[r*dstStride:][:cols], from[r*srcStride:][:cols])
	}
	return nil
}

func (memory) Lookup(y, table, rows driver.View, cols int) error {
	to, from := floats(y), floats(table)
	for i, id := range ids(rows) {
		if id < 0 || int(id) >= len(from)/cols {
			return fmt.Errorf("cpu: lookup: id %d at %d, table has %d rows", id, i, len(from)/cols)
		}
		copy(to[i*cols:][:cols], from[int(id)*cols:])
	}
	return nil
}

func (memory) Patches(y, images, table driver.View, n, size, patch int) error {
	to, from, values := floats(y), bytesOf(images), floats(table)
	at := 0
	for image := range n {
		for top := 0; top < size; top += patch {
			for left := 0; left < size; left += patch {
				for c := range 3 {
					value := values[c*256:][:256]
					for r := range patch {
						row := from[((image*size+top+r)*size+left)*3:][:3*patch]
						for x := c; x < len(row); x += 3 {
							to[at] = value[row[x]]
							at++
						}
					}
				}
			}
		}
	}
	return nil
}
