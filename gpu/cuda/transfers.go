//go:build cuda && linux && cgo

package cuda

import (
	"fmt"
	"unsafe"

	"sower/gpu/cuda/kernels"
	"sower/gpu/driver"
)

// push copies bytes to the device through pinned memory. It returns when src may be changed, not when the copy is done.
func (s *stream) push(dst uint64, src []byte) error {
	d := s.dev
	if err := d.alive(); err != nil {
		return err
	}
	if len(src) == 0 {
		return nil
	}
	if s.copying { // the last copy reads the pinned memory
		if err := d.ctx.EventSync(s.copied); err != nil {
			return d.failed(err)
		}
		s.copying = false
	}
	staged, err := s.in.room(d, len(src))
	if err != nil {
		return err
	}
	copy(staged, src)
	if err := d.ctx.CopyHtoDAsync(dst, unsafe.Pointer(&staged[0]), len(src), s.s); err != nil {
		return d.failed(fmt.Errorf("copy %d bytes to the device: %w", len(src), err))
	}
	if err := d.ctx.Record(s.copied, s.s); err != nil {
		return d.failed(err)
	}
	s.copying = true
	return nil
}

// fetch copies bytes from the device when all work before is done.
func (s *stream) fetch(dst unsafe.Pointer, src uint64, n int) error {
	d := s.dev
	if err := d.alive(); err != nil {
		return err
	}
	if n == 0 {
		return nil
	}
	staged, err := s.out.room(d, n)
	if err != nil {
		return err
	}
	if err := d.ctx.CopyDtoHAsync(unsafe.Pointer(&staged[0]), src, n, s.s); err != nil {
		return d.failed(fmt.Errorf("copy %d bytes from the device: %w", n, err))
	}
	if err := d.ctx.StreamSync(s.s); err != nil {
		return d.failed(err)
	}
	copy(unsafe.Slice((*byte)(dst), n), staged)
	return nil
}

func raw[T any](v []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*int(unsafe.Sizeof(*new(T))))
}

// WriteF32 implements driver.Transfers; the device rounds to what the view stores.
func (s *stream) WriteF32(dst driver.View, src []float32) error {
	to := ref(dst)
	if to.Type == kernels.F32 {
		return s.push(to.Ptr, raw(src))
	}
	if len(src) == 0 {
		return nil
	}
	p, err := s.scratch(4 * len(src))
	if err != nil {
		return err
	}
	if err := s.push(p, raw(src)); err != nil {
		return err
	}
	return s.convert(to, kernels.Ref{Ptr: p, Type: kernels.F32}, len(src))
}

// WriteU8 implements driver.Transfers.
func (s *stream) WriteU8(dst driver.View, src []byte) error { return s.push(ref(dst).Ptr, src) }

// WriteI32 implements driver.Transfers.
func (s *stream) WriteI32(dst driver.View, src []int32) error { return s.push(ref(dst).Ptr, raw(src)) }

// ReadF32 implements driver.Transfers.
func (s *stream) ReadF32(dst []float32, src driver.View) error {
	from := ref(src)
	if from.Type != kernels.F32 && len(dst) > 0 {
		p, err := s.scratch(4 * len(dst))
		if err != nil {
			return err
		}
		if err := s.convert(kernels.Ref{Ptr: p, Type: kernels.F32}, from, len(dst)); err != nil {
			return err
		}
		from.Ptr = p
	}
	return s.fetch(unsafe.Pointer(unsafe.SliceData(dst)), from.Ptr, 4*len(dst))
}

// ReadU8 implements driver.Transfers.
func (s *stream) ReadU8(dst []byte, src driver.View) error {
	return s.fetch(unsafe.Pointer(unsafe.SliceData(dst)), ref(src).Ptr, len(dst))
}

// ReadI32 implements driver.Transfers.
func (s *stream) ReadI32(dst []int32, src driver.View) error {
	return s.fetch(unsafe.Pointer(unsafe.SliceData(dst)), ref(src).Ptr, 4*len(dst))
}
