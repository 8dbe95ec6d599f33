package cpu

import "sower/gpu/driver"

// gradBlock is how many queries are taken at a time: more make longer sums for the gradients of the keys, which are loaded and
// stored for each, but see more keys that a causal mask hides.
const gradBlock = 48

// attentionGradTask computes the gradients of one head a piece. Probabilities are computed again: they take less time than
// keeping them would take memory. Heads that share keys leave theirs in partial.
type attentionGradTask struct {
	pieces
	*kernels
	driver.AttentionGradArgs
	partial []float32 // [2][Batch][Heads][Tk][Width], or nil where heads share nothing
}

func (t *attentionGradTask) run(w *worker) {
	ds, ts := t.steps(t.Width), t.steps(t.Tk)
	keyCols, valueCols := roundUp(t.Tk, t.width), roundUp(t.Width, t.width)
	p := w.packer(t.kernels)
	for i, ok := t.take(); ok; i, ok = t.take() {
		batch, head := i/t.Heads, i%t.Heads
		kv := t.KeyHead(head)
		block := min(gradBlock, roundUp(t.Tq, 4))
		scratch := w.floats(2*keyCols*ds + valueCols*ts + block*(2*ds+2*keyCols+ts) + 2*valueCols*block + keyCols*block)
		part := func(n int) []float32 {
			p := scratch[:n]
			scratch = scratch[n:]
			return p
		}
		keys, values, keysAgain := part(keyCols*ds), part(keyCols*ds), part(valueCols*ts)
		queries, grads := part(block*ds), part(block*ds)
		scores, slopes, packed := part(block*keyCols), part(block*keyCols), part(block*ts)
		queryPanels, gradPanels, columns := part(valueCols*block), part(valueCols*block), part(keyCols*block)

		k, v := strided(t.K, batch, kv), strided(t.V, batch, kv)
		p.panels(keys, k, t.K.Row, 0, t.Tk, t.Width, true)
		p.panels(values, v, t.V.Row, 0, t.Tk, t.Width, true)
		p.panels(keysAgain, k, t.K.Row, 0, t.Width, t.Tk, false)
		q, dy, dq := strided(t.Q, batch, head), strided(t.DY, batch, head), strided(t.DQ, batch, head)
		dk, dv, dkRow, dvRow := t.keyGradients(batch, head)
		for j := range t.Tk {
			clear(dk[j*dkRow:][:t.Width])
			clear(dv[j*dvRow:][:t.Width])
		}
		for i0 := 0; i0 < t.Tq; i0 += block {
			m := min(block, t.Tq-i0)
			from, to := span(&t.AttentionArgs, t.kernels, batch, i0, i0+m)
			if to == 0 {
				for r := range m {
					clear(dq[(i0+r)*t.DQ.Row:][:t.Width])
				}
				continue
			}
			p.rows(queries, q[i0*t.Q.Row:], t.Q.Row, m, t.Width)
			w.score(t.kernels, &t.AttentionArgs, scores, keyCols, queries, keys, batch, i0, i0+m, from, to)
			// The gradient of the probabilities, then, in place, that of the scores.
			p.rows(grads, dy[i0*t.DY.Row:], t.DY.Row, m, t.Width)
			w.multiplyBlock(t.kernels, slopes, keyCols, grads, 0, m, values, from/t.width*t.width, min(keyCols, roundUp(to, t.width/2)), ds, false)
			for r := range m {
				row := slopes[r*keyCols+from : r*keyCols+to]
				softmaxGradRow(row, row, scores[r*keyCols+from:r*keyCols+to], t.Scale)
			}
			p.rows(packed, slopes, keyCols, m, to)
			w.multiplySpan(t.kernels, dq[i0*t.DQ.Row:], t.DQ.Row, packed, to, 0, m, keysAgain, 0, ts, 0, t.Width, from, to, false, false)
			// Sums over the queries of this block, added to what earlier ones gave.
			seen, steps := min(to, t.Tk)-from, t.steps(m)
			p.panels(queryPanels, q[i0*t.Q.Row:], t.Q.Row, 0, t.Width, m, false)
			p.panels(gradPanels, dy[i0*t.DY.Row:], t.DY.Row, 0, t.Width, m, false)
			p.columnsAsRows(columns, slopes[from:], keyCols, seen, m)
			w.multiplyBlock(t.kernels, dk[from*dkRow:], dkRow, columns, 0, seen, queryPanels, 0, t.Width, steps, true)
			p.columnsAsRows(columns, scores[from:], keyCols, seen, m)
			w.multiplyBlock(t.kernels, dv[from*dvRow:], dvRow, columns, 0, seen, gradPanels, 0, t.Width, steps, true)
		}
	}
}

// keyGradients is where a head's gradients of keys and values go.
func (t *attentionGradTask) keyGradients(batch, head int) (dk, dv []float32, dkRow, dvRow int) {
	if t.partial == nil {
		return strided(t.DK, batch, head), strided(t.DV, batch, head), t.DK.Row, t.DV.Row
	}
	half, one := len(t.partial)/2, t.Tk*t.Width
	at := (batch*t.Heads + head) * one
	return t.partial[at:][:one], t.partial[half+at:][:one], t.Width, t.Width
}

func (s *stream) AttentionGrad(a driver.AttentionGradArgs) error {
	t := &s.grads
	t.kernels, t.AttentionGradArgs, t.partial = s.exact, a, nil
	shared := a.KVHeads > 0 && a.KVHeads < a.Heads
	if shared {
		n := 2 * a.Batch * a.Heads * a.Tk * a.Width
		if cap(s.partial) < n {
			s.partial = aligned(n)
		}
		t.partial = s.partial[:n]
	}
	t.set(a.Batch * a.Heads)
	s.run(t, t.n, 2*a.Batch*a.Heads*a.Tq*a.Tk*a.Width >= small)
	if !shared {
		return nil
	}
	group := a.Heads / a.KVHeads
	s.each(a.Batch*a.KVHeads*a.Tk, 2*group*a.Width, func(_ *worker, from, to int) {
		for i := from; i < to; i++ {
			batch, kv, j := i/a.Tk/a.KVHeads, i/a.Tk%a.KVHeads, i%a.Tk
			for which, into := range [2]driver.Strided{a.DK, a.DV} {
				sum := strided(into, batch, kv)[j*into.Row:][:a.Width]
				part := t.partial[which*len(t.partial)/2:]
				for g := range group {
					row := part[((batch*a.Heads+kv*group+g)*a.Tk+j)*a.Width:][:a.Width]
					if g == 0 {
						copy(sum, row)
						continue
					}
					addRow(sum, sum, row)
				}
			}
		}
	})
	return nil
}
