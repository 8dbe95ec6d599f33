package seed

import (
	"errors"
	"math/bits"

	"sower/gpu"
)

// recorded is the encoder as a GPU graph for a number of images, with the memory that it works in.
type recorded struct {
	images      int
	pass        *gpu.Pass
	rgb, z, ids *gpu.Tensor
	run         *gpu.Recording
}

// bucket is the number of images that n are filled up to: powers of two, so that few graphs serve every batch. What the
// surplus images are does not matter, since rows do not depend on each other.
func bucket(n int) int { return 1 << bits.Len(uint(n-1)) }

// replay is forward by a graph: recorded at the first call of its size, replayed by all.
func (m *Model) replay(rgb []byte, n int, h *host) (err error) {
	r, err := m.record(bucket(n))
	if err != nil {
		return err
	}
	b := r.images
	h.z, h.ids = resized(h.z, b*m.config.Queries*m.config.CodeWidth), resized(h.ids, b*m.config.Queries)
	r.pass.WriteU8(r.rgb, rgb)
	r.run.Replay()
	r.pass.ReadF32(r.z, h.z)
	r.pass.ReadI32(r.ids, h.ids)
	if err := errors.Join(r.pass.Err(), r.pass.Wait()); err != nil {
		return errors.Join(err, r.close())
	}
	m.recordedMu.Lock()
	m.recorded[b] = append(m.recorded[b], r)
	m.recordedMu.Unlock()
	return nil
}

// record takes an idle graph, or makes one.
func (m *Model) record(images int) (*recorded, error) {
	m.recordedMu.Lock()
	if idle := m.recorded[images]; len(idle) > 0 {
		r := idle[len(idle)-1]
		m.recorded[images] = idle[:len(idle)-1]
		m.recordedMu.Unlock()
		return r, nil
	}
	m.recordedMu.Unlock()
	c := m.config
	r := &recorded{images: images, pass: m.dev.NewPass(gpu.Inference)}
	r.rgb = r.pass.Bytes(make([]byte, images*c.ImageBytes()), images, c.ImageSize, c.ImageSize, 3)
	r.run = r.pass.Record(func() {
		r.z = m.Embed(r.pass, r.rgb)
		r.ids = m.Quantize(r.pass, r.z)
	})
	if err := r.pass.Err(); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

func (r *recorded) close() error {
	r.run.Free()
	return r.pass.Discard()
}

// forget gives back the memory of idle graphs.
func (m *Model) forget() error {
	m.recordedMu.Lock()
	defer m.recordedMu.Unlock()
	var errs []error
	for _, list := range m.recorded {
		for _, r := range list {
			errs = append(errs, r.close())
		}
	}
	clear(m.recorded)
	return errors.Join(errs...)
}
