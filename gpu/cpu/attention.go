package cpu

import "sower/gpu/driver"

// queryBlock is how many queries are scored at a time: with 257 keys their scores, once plain and once packed, fill
// 100 KiB beside the 200 KiB of packed keys and values.
const queryBlock = 48

// attentionTask computes one head of one image a piece: keys and values are packed once, then the queries go by in blocks
// that never leave the L2 cache.
type attentionTask struct {
	pieces
	driver.AttentionArgs
}

func (t *attentionTask) run(w *worker) {
	d4, tk4 := roundUp(t.Width, 4), roundUp(t.Tk, 4)
	keyCols, valueCols := roundUp(t.Tk, tileCols), roundUp(t.Width, tileCols)
	for i, ok := t.take(); ok; i, ok = t.take() {
		batch, head := i/t.Heads, i%t.Heads
		scratch := w.floats(keyCols*d4 + valueCols*tk4 + queryBlock*(d4+keyCols+tk4))
		part := func(n int) []float32 {
			p := scratch[:n]
			scratch = scratch[n:]
			return p
		}
		keys, values := part(keyCols*d4), part(valueCols*tk4)
		queries, scores, weights := part(queryBlock*d4), part(queryBlock*keyCols), part(queryBlock*tk4)
		packPanels(keys, strided(t.K, batch, head), t.K.Row, 0, t.Tk, t.Width, true)
		packPanels(values, strided(t.V, batch, head), t.V.Row, 0, t.Width, t.Tk, false)
		q, y := strided(t.Q, batch, head), strided(t.Y, batch, head)
		for i0 := 0; i0 < t.Tq; i0 += queryBlock {
			m := min(queryBlock, t.Tq-i0)
			packRows(queries, q[i0*t.Q.Row:], t.Q.Row, m, t.Width)
			multiplyBlock(scores, keyCols, queries, 0, roundUp(m, tileRows), keys, 0, keyCols, d4) // whole tiles only
			for r := range m {
				row, seen := scores[r*keyCols:][:t.Tk], t.Tk
				if t.Causal {
					seen = t.Tk - t.Tq + i0 + r + 1
				}
				softmaxRow(row[:seen], t.Scale)
				clear(row[seen:])
			}
			packRows(weights, scores, keyCols, m, t.Tk)
			multiplyBlock(y[i0*t.Y.Row:], t.Y.Row, weights, 0, m, values, 0, t.Width, tk4)
		}
	}
}

func (s *stream) Attention(a driver.AttentionArgs) error {
	t := &s.attend
	t.AttentionArgs = a
	t.set(a.Batch * a.Heads)
	s.run(t, t.n, 2*a.Batch*a.Heads*a.Tq*a.Tk*a.Width >= small)
	return nil
}
