package lm

import (
	"errors"
	"fmt"

	"sower/gpu"
)

// Cache keeps keys and values of the tokens so far, for generation: of B rows of equal length, shorter ones padded on
// the left. It belongs to one goroutine.
type Cache struct {
	keys, values []*gpu.Tensor // [B N E] of each layer, E = KVHeads·D
	rows, max, n int
}

// NewCache makes a cache of rows rows of at most max tokens, padding included, on the model's device.
func NewCache(m Model, rows, max int) (*Cache, error) {
	s := m.Sizes()
	c := &Cache{rows: rows, max: max}
	for range 2 * s.Layers {
		t, err := m.Device().NewTensor(gpu.F32, rows, max, s.KVHeads*s.HeadDim)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lm: cache of %d rows of %d tokens: %w", rows, max, err), c.Close())
		}
		if len(c.keys) < s.Layers {
			c.keys = append(c.keys, t)
		} else {
			c.values = append(c.values, t)
		}
	}
	return c, nil
}

// Len is the number of tokens of each row so far.
func (c *Cache) Len() int { return c.n }

// Truncate forgets all but the first n tokens of each row.
func (c *Cache) Truncate(n int) { c.n = min(max(n, 0), c.n) }

// Check is an error of the pass if a batch does not fit. c may be nil.
func (c *Cache) Check(p *gpu.Pass, b *Batch) {
	if c != nil && (c.rows != b.B || c.n+b.T > c.max) {
		p.Fail(fmt.Errorf("lm: %d rows of %d tokens do not fit a cache of %d rows of %d tokens that holds %d", b.B, b.T, c.rows, c.max, c.n))
	}
}

// Extend adds keys and values [B T E] of a layer and returns those of all tokens so far; the same without a cache.
func (c *Cache) Extend(p *gpu.Pass, layer int, k, v *gpu.Tensor) (keys, values *gpu.Tensor) {
	if c == nil {
		return k, v
	}
	return p.Append(c.keys[layer], k, c.n), p.Append(c.values[layer], v, c.n)
}

// Advance counts the tokens of a batch after its last layer. c may be nil.
func (c *Cache) Advance(p *gpu.Pass, b *Batch) {
	if c != nil && p.Err() == nil {
		c.n += b.T
	}
}

// Close gives back the memory.
func (c *Cache) Close() error {
	for _, t := range append(c.keys, c.values...) {
		t.Free()
	}
	c.keys, c.values = nil, nil
	return nil
}
