package cpu

import "sower/gpu/driver"

// queryBlock is how many queries are scored at a time: with 257 keys their scores, once plain and once packed, fill
// 100 KiB beside the 200 KiB of packed keys and values.
const queryBlock = 48

// attentionTask computes one head of one image a piece: keys and values are packed once, then the queries go by in blocks
// that never leave the L2 cache.
type attentionTask struct {
	pieces
	*kernels
	driver.AttentionArgs
}

func (t *attentionTask) run(w *worker) {
	ds, ts := t.steps(t.Width), t.steps(t.Tk)
	keyCols, valueCols := roundUp(t.Tk, t.width), roundUp(t.Width, t.width)
	// Scores are computed in whole half panels, so that no tile ends in the middle of a vector.
	scored := roundUp(t.Tk, t.width/2)
	p := w.packer(t.kernels)
	for i, ok := t.take(); ok; i, ok = t.take() {
		batch, head := i/t.Heads, i%t.Heads
		scratch := w.floats(keyCols*ds + valueCols*ts + queryBlock*(ds+keyCols+ts))
		part := func(n int) []float32 {
			p := scratch[:n]
			scratch = scratch[n:]
			return p
		}
		keys, values := part(keyCols*ds), part(valueCols*ts)
		queries, scores, weights := part(queryBlock*ds), part(queryBlock*keyCols), part(queryBlock*ts)
		p.panels(keys, strided(t.K, batch, head), t.K.Row, 0, t.Tk, t.Width, true)
		p.panels(values, strided(t.V, batch, head), t.V.Row, 0, t.Width, t.Tk, false)
		q, y := strided(t.Q, batch, head), strided(t.Y, batch, head)
		for i0 := 0; i0 < t.Tq; i0 += queryBlock {
			m := min(queryBlock, t.Tq-i0)
			p.rows(queries, q[i0*t.Q.Row:], t.Q.Row, m, t.Width)
			w.multiplyBlock(t.kernels, scores, keyCols, queries, 0, m, keys, 0, scored, ds)
			for r := range m {
				row, seen := scores[r*keyCols:][:t.Tk], t.Tk
				if t.Causal {
					seen = t.Tk - t.Tq + i0 + r + 1
				}
				softmaxRow(row[:seen], t.Scale)
				clear(row[seen:])
			}
			p.rows(weights, scores, keyCols, m, t.Tk)
			w.multiplyBlock(t.kernels, y[i0*t.Y.Row:], t.Y.Row, weights, 0, m, values, 0, t.Width, ts)
		}
	}
}

func (s *stream) Attention(a driver.AttentionArgs) error {
	t := &s.attend
	t.kernels, t.AttentionArgs = s.kernels, a
	t.set(a.Batch * a.Heads)
	s.run(t, t.n, 2*a.Batch*a.Heads*a.Tq*a.Tk*a.Width >= small)
	return nil
}
