//go:build cuda && linux && cgo

package cuda

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"unsafe"

	"sower/gpu/cuda/internal/ext"
	"sower/gpu/cuda/kernels"
	"sower/gpu/driver"
)

// buffer is device memory of one storage type.
type buffer struct {
	dev *device
	ptr uint64
	typ uint32
	n   int
}

// Alloc implements driver.Device. Activations have the precision of the device.
func (d *device) Alloc(t driver.DType, n int) (driver.Buffer, error) {
	b := &buffer{dev: d, n: n}
	switch t {
	case driver.F32:
		b.typ = kernels.F32
	case driver.Activation:
		b.typ = d.precision
	case driver.U8:
		b.typ = kernels.U8
	case driver.I32:
		b.typ = kernels.I32
	default:
		return nil, fmt.Errorf("cuda: no memory of type %v", t)
	}
	var err error
	b.ptr, err = d.take(n * kernels.Size(b.typ))
	return b, err
}

func (b *buffer) Free() {
	b.dev.give(b.ptr, b.n*kernels.Size(b.typ))
	b.ptr = 0
}

// ref is a view as kernels see it; of no view, none.
func ref(v driver.View) kernels.Ref {
	if v.Buf == nil {
		return kernels.Ref{}
	}
	b := v.Buf.(*buffer)
	return kernels.Ref{Ptr: b.ptr + uint64(v.Off*kernels.Size(b.typ)), Type: b.typ}
}

// refStrided is the first element of a strided view; strides go to kernels in elements.
func refStrided(s driver.Strided) kernels.Ref { return ref(driver.View{Buf: s.Buf, Off: s.Off}) }

// matrix is a weight, row-major in device memory, [rows ld].
type matrix struct {
	dev            *device
	ptr            uint64
	rows, cols, ld int    // ld: cols rounded up to 16 elements, the rest being zero
	typ            uint32 // of E4M3, scales of the rows follow the elements
}

const matrixAlign = 16

// NewMatrix implements driver.Device.
func (d *device) NewMatrix(rows, cols int, kind driver.Kind) (driver.Matrix, error) {
	m := &matrix{dev: d, rows: rows, cols: cols, ld: (cols + matrixAlign - 1) / matrixAlign * matrixAlign, typ: d.precision}
	switch {
	case kind == driver.Exact:
		m.typ = kernels.F32
	case kind == driver.Narrow && d.fp8:
		m.typ = kernels.E4M3
	}
	var err error
	if m.ptr, err = d.take(m.bytes()); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *matrix) bytes() int {
	if m.typ == kernels.E4M3 {
		return quantisedBytes(m.rows, m.cols)
	}
	return m.rows * m.ld * kernels.Size(m.typ)
}

func (m *matrix) Free() {
	m.dev.give(m.ptr, m.bytes())
	m.ptr = 0
}

// SetRows implements driver.Matrix: values go up as float32, and the device rounds and pads them.
func (m *matrix) SetRows(row int, data []float32) error {
	d, chunk := m.dev, max(1, uploadBytes/4/m.cols)
	for n := len(data) / m.cols; n > 0; {
		some := min(n, chunk)
		part := data[:some*m.cols]
		at := uint64(row * m.ld * kernels.Size(m.typ))
		err := d.upload.send(d, part, func(s *stream, staged kernels.Ref) error {
			if m.typ == kernels.E4M3 {
				return s.quantise(m.ptr+at, m.scales()+uint64(4*row), staged, some, m.cols)
			}
			args := kernels.PadRowsArgs{Y: kernels.Ref{Ptr: m.ptr + at, Type: m.typ}, X: staged, Rows: int64(some), Cols: int64(m.cols),
				XRow: int64(m.cols), YRow: int64(m.ld)}
			return run(s, kernels.PadRows, flat(some*m.ld/kernels.Eight), flatThreads, 0, &args)
		})
		if err != nil {
			return err
		}
		data, row, n = data[some*m.cols:], row+some, n-some
	}
	return nil
}

// uploadBytes is the size of the staging memory for weights: large enough for the bus, small beside the host's memory.
const uploadBytes = 32 << 20

// uploader brings weights to the device: one at a time, through pinned memory.
type uploader struct {
	sync.Mutex
	stream *stream
	pinned []byte
	staged uint64
}

func (u *uploader) open(d *device) error {
	var err error
	if u.stream, err = d.newStream(); err != nil {
		return err
	}
	if u.staged, err = d.take(uploadBytes); err != nil {
		return err
	}
	u.pinned, err = d.ctx.HostAlloc(uploadBytes)
	return d.failed(err)
}

func (u *uploader) close(d *device) error {
	var errs []error
	d.give(u.staged, uploadBytes)
	if u.pinned != nil {
		errs = append(errs, d.ctx.HostFree(u.pinned))
	}
	if u.stream != nil {
		errs = append(errs, u.stream.Close())
	}
	u.staged, u.pinned, u.stream = 0, nil, nil
	return errors.Join(errs...)
}

// send copies values to the staging memory and lets use enqueue what takes them from there.
func (u *uploader) send(d *device, values []float32, use func(s *stream, staged kernels.Ref) error) error {
	u.Lock()
	defer u.Unlock()
	if err := d.alive(); err != nil {
		return err
	}
	if 4*len(values) > uploadBytes {
		return fmt.Errorf("cuda: a row of %d values is too long for the staging memory", len(values))
	}
	copy(unsafe.Slice((*float32)(unsafe.Pointer(&u.pinned[0])), len(values)), values)
	if err := d.ctx.CopyHtoDAsync(u.staged, unsafe.Pointer(&u.pinned[0]), 4*len(values), u.stream.s); err != nil {
		return d.failed(err)
	}
	if err := use(u.stream, kernels.Ref{Ptr: u.staged, Type: kernels.F32}); err != nil {
		return err
	}
	return u.stream.Sync()
}

// pinned is page-locked memory of a stream that grows.
type pinned struct{ data []byte }

// room returns n bytes; what was there is lost. No copy may be under way.
func (p *pinned) room(d *device, n int) ([]byte, error) {
	if n > len(p.data) {
		if n > math.MaxInt-(1<<16) {
			return nil, fmt.Errorf("cuda: %d bytes of pinned memory", n)
		}
		if err := p.free(d.ctx); err != nil {
			return nil, d.failed(err)
		}
		size := (n + 1<<16 - 1) &^ (1<<16 - 1)
		data, err := d.ctx.HostAlloc(size)
		if err != nil {
			return nil, d.failed(fmt.Errorf("%.1f MiB of pinned host memory: %w", float64(size)/(1<<20), err))
		}
		p.data = data
	}
	return p.data[:n], nil
}

func (p *pinned) free(c ext.Context) error {
	if p.data == nil {
		return nil
	}
	data := p.data
	p.data = nil
	return c.HostFree(data)
}
