package seed

import (
	"errors"
	"fmt"
	"math"
	"sync"

	"sower/gpu"
	"sower/gpu/driver"
)

// detokenizeBatch likewise: rows of codes are small, and fill the tiles better together. A call needs some 12 MB.
const detokenizeBatch = 8

// host is the scratch memory of a call.
type host struct {
	ids []int32
	z   []float32
}

var hosts = sync.Pool{New: func() any { return new(host) }}

// Config is the sizes of the model.
func (m *Model) Config() Config { return m.config }

// Encode computes the codes of n images: rgb is [n S S 3], one byte a value, rows from the top; codes is [n Q] and finite
// [n]. finite[i] is false when image i led to numbers that are not finite; its codes are then 0 and mean nothing.
//
// An image's codes do not depend on the other images of the call, nor on n, nor on the number of threads.
//
// A pass computes as many images as the device does best: one on a CPU, where more gain nothing (2.7 to 2.8 s an image at the
// published size, with 1, 2 and 4), so that a call needs 32 MB for activations at that size; 128 on a GPU. A GPU without
// the memory for that many computes half as many from then on. Callers at the same time need the memory each.
func (m *Model) Encode(rgb []byte, n int, codes []uint16, finite []bool) error {
	c := m.config
	switch {
	case m.parts&Encode == 0:
		return errors.New("seed: encode: the model was loaded without its encoder")
	case len(rgb) != n*c.ImageBytes():
		return fmt.Errorf("seed: encode %d images: %d bytes of pixels, want %d", n, len(rgb), n*c.ImageBytes())
	case len(codes) != n*c.Queries || len(finite) != n:
		return fmt.Errorf("seed: encode %d images: room for %d codes and %d flags, want %d and %d", n, len(codes), len(finite),
			n*c.Queries, n)
	}
	for i := 0; i < n; {
		most := int(m.batch.Load())
		b := min(most, n-i)
		err := m.encodeSome(rgb[i*c.ImageBytes():(i+b)*c.ImageBytes()], b, codes[i*c.Queries:(i+b)*c.Queries], finite[i:i+b])
		switch {
		case errors.Is(err, driver.ErrOutOfMemory) && b > 1:
			m.batch.CompareAndSwap(int64(most), int64((b+1)/2))
			if err := m.forget(); err != nil { // what larger batches hold
				return err
			}
			continue
		case err != nil:
			return fmt.Errorf("seed: encode images %d to %d of %d: %w", i, i+b-1, n, err)
		}
		i += b
	}
	return nil
}

func (m *Model) encodeSome(rgb []byte, n int, codes []uint16, finite []bool) error {
	c := m.config
	h := hosts.Get().(*host)
	defer hosts.Put(h)
	h.ids, h.z = resized(h.ids, n*c.Queries), resized(h.z, n*c.Queries*c.CodeWidth)

	if err := m.forward(rgb, n, h); err != nil {
		return err
	}
	for i := range n {
		finite[i] = allFinite(h.z[i*c.Queries*c.CodeWidth : (i+1)*c.Queries*c.CodeWidth])
		for q := i * c.Queries; q < (i+1)*c.Queries; q++ {
			codes[q] = 0
			if finite[i] {
				codes[q] = uint16(h.ids[q])
			}
		}
	}
	return nil
}

// forward fills h.z and h.ids.
func (m *Model) forward(rgb []byte, n int, h *host) error {
	c := m.config
	p := m.dev.NewPass(gpu.Inference)
	if p.CanRecord() {
		err := p.Close()
		if err == nil {
			err = m.replay(rgb, n, h)
		}
		return err
	}
	z := m.Embed(p, p.Bytes(rgb, n, c.ImageSize, c.ImageSize, 3))
	p.ReadF32(z, h.z)
	p.ReadI32(m.Quantize(p, z), h.ids)
	return p.Close()
}

// Detokenize computes the image embeddings of n rows of codes: codes is [n Q], out [n image_embed]. A code that is not
// in the codebook is an error.
func (m *Model) Detokenize(codes []uint16, n int, out []float32) error {
	c := m.config
	switch {
	case m.parts&Detokenize == 0:
		return errors.New("seed: detokenize: the model was loaded without its de-tokenizer")
	case len(codes) != n*c.Queries || len(out) != n*c.ImageEmbed:
		return fmt.Errorf("seed: detokenize %d images: %d codes and room for %d values, want %d and %d", n, len(codes),
			len(out), n*c.Queries, n*c.ImageEmbed)
	}
	for i, code := range codes {
		if int(code) >= c.Codes {
			return fmt.Errorf("seed: detokenize: code %d of image %d is %d, want less than %d", i%c.Queries, i/c.Queries, code,
				c.Codes)
		}
	}
	h := hosts.Get().(*host)
	defer hosts.Put(h)
	for i := 0; i < n; i += detokenizeBatch {
		b := min(detokenizeBatch, n-i)
		h.ids = resized(h.ids, b*c.Queries)
		for j := range h.ids {
			h.ids[j] = int32(codes[i*c.Queries+j])
		}
		p := m.dev.NewPass(gpu.Inference)
		p.ReadF32(m.ImageEmbedding(p, p.IDs(h.ids, b, c.Queries)), out[i*c.ImageEmbed:(i+b)*c.ImageEmbed])
		if err := p.Close(); err != nil {
			return fmt.Errorf("seed: detokenize images %d to %d of %d: %w", i, i+b-1, n, err)
		}
	}
	return nil
}

// Close gives back the model's memory. No call may be in progress.
func (m *Model) Close() error {
	err := m.forget()
	for _, t := range m.made {
		t.Free()
	}
	m.made = nil
	return err
}

func allFinite(z []float32) bool {
	for _, v := range z {
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return false
		}
	}
	return true
}

func resized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
