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

// seen is the range of keys that query i of a batch sees.
func seen(a *driver.AttentionArgs, batch, i int) (from, to int) {
	to = a.Tk
	if a.Causal {
		to = a.Tk - a.Tq + i + 1
	}
	if a.Starts.Buf != nil {
		from = min(max(0, int(ids(a.Starts)[batch*a.Tq+i])), to)
	}
	return from, to
}

// span is the range of steps over keys that some of the queries [i0, i1) see: whole groups of 4. The whole range of a
// mask that lets all of them see everything is given as such.
func span(a *driver.AttentionArgs, k *kernels, batch, i0, i1 int) (from, to int) {
	from = a.Tk
	for i := i0; i < i1; i++ {
		f, t := seen(a, batch, i)
		if f < t {
			from, to = min(from, f), max(to, t)
		}
	}
	if from >= to {
		return 0, 0
	}
	steps := k.steps(to)
	if k.pairs {
		from /= 2
	}
	return from &^ 3, steps
}

// score fills scores [i1-i0][stride] with the probabilities of queries [i0, i1) for the keys of steps [from, to).
func (w *worker) score(k *kernels, a *driver.AttentionArgs, scores []float32, stride int, queries, keys []float32, batch, i0, i1, from, to int) {
	elements := 1
	if k.pairs {
		elements = 2
	}
	// Whole half panels, so that no tile ends in the middle of a vector.
	j0, j1 := from*elements/k.width*k.width, min(stride, roundUp(to*elements, k.width/2))
	w.multiplyBlock(k, scores, stride, queries, 0, i1-i0, keys, j0, j1, k.steps(a.Width), false)
	for r := range i1 - i0 {
		row := scores[r*stride:][:stride]
		f, t := seen(a, batch, i0+r)
		if f >= t {
			clear(row[from*elements : to*elements])
			continue
		}
		softmaxRow(row[f:t], a.Scale)
		clear(row[from*elements : f])
		clear(row[t : to*elements])
	}
}

func (t *attentionTask) run(w *worker) {
	ds, ts := t.steps(t.Width), t.steps(t.Tk)
	keyCols, valueCols := roundUp(t.Tk, t.width), roundUp(t.Width, t.width)
	elements := 1 // of a step
	if t.pairs {
		elements = 2
	}
	even := !t.Causal && t.Starts.Buf == nil
	p := w.packer(t.kernels)
	for i, ok := t.take(); ok; i, ok = t.take() {
		batch, head := i/t.Heads, i%t.Heads
		kv := t.KeyHead(head)
		scratch := w.floats(keyCols*ds + valueCols*ts + queryBlock*(ds+keyCols+ts))
		part := func(n int) []float32 {
			p := scratch[:n]
			scratch = scratch[n:]
			return p
		}
		keys, values := part(keyCols*ds), part(valueCols*ts)
		queries, scores, weights := part(queryBlock*ds), part(queryBlock*keyCols), part(queryBlock*ts)
		p.panels(keys, strided(t.K, batch, kv), t.K.Row, 0, t.Tk, t.Width, true)
		p.panels(values, strided(t.V, batch, kv), t.V.Row, 0, t.Width, t.Tk, false)
		q, y := strided(t.Q, batch, head), strided(t.Y, batch, head)
		for i0 := 0; i0 < t.Tq; i0 += queryBlock {
			m := min(queryBlock, t.Tq-i0)
			p.rows(queries, q[i0*t.Q.Row:], t.Q.Row, m, t.Width)
			from, to := span(&t.AttentionArgs, t.kernels, batch, i0, i0+m)
			if to == 0 {
				for r := range m {
					clear(y[(i0+r)*t.Y.Row:][:t.Width])
				}
				continue
			}
			w.score(t.kernels, &t.AttentionArgs, scores, keyCols, queries, keys, batch, i0, i0+m, from, to)
			p.rows(weights, scores, keyCols, m, to*elements)
			w.multiplySpan(t.kernels, y[i0*t.Y.Row:], t.Y.Row, weights, to, 0, m, values, 0, ts, 0, t.Width, from, to, even, false)
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
