package cpu

import (
	"fmt"

	"sower/gpu/driver"
)

func (s *stream) RMSNorm(y, x, weight driver.View, cols int, eps float32) error {
	to, from, w := floats(y), floats(x), floats(weight)
	s.each(len(from)/cols, cols, func(_ *worker, r, end int) {
		for ; r < end; r++ {
			rmsNormRow(to[r*cols:][:cols], from[r*cols:][:cols], w, float32(rmsFactor(from[r*cols:][:cols], eps)))
		}
	})
	return nil
}

func rmsNormRow(y, x, weight []float32, factor float32) {
	x, weight = x[:len(y)], weight[:len(y)]
	for i, v := range x {
		y[i] = v * factor * weight[i]
	}
}

func (s *stream) Rotate(y, x, positions, cos, sin driver.View, heads, width int, back bool) error {
	to, from, c, sn, at := floats(y), floats(x), floats(cos), floats(sin), ids(positions)
	half := width / 2
	for i, p := range at {
		if p < 0 || int(p) >= len(c)/half {
			return fmt.Errorf("cpu: rotate: position %d of row %d, the tables have %d", p, i, len(c)/half)
		}
	}
	row := heads * width
	s.each(len(at), row, func(_ *worker, i, end int) {
		for ; i < end; i++ {
			p := int(at[i]) * half
			for h := i * row; h < (i+1)*row; h += width {
				rotateRow(to[h:h+width], from[h:h+width], c[p:p+half], sn[p:p+half], back)
			}
		}
	})
	return nil
}

func (s *stream) Gate(y, g, u driver.View) error {
	to, gate, up := floats(y), floats(g), floats(u)
	s.chunks(len(to), func(from, end int) { gateRow(to[from:end], gate[from:end], up[from:end]) })
	return nil
}

// chunks shares an elementwise operation on n elements; pieces begin at multiples of 4096.
func (s *stream) chunks(n int, f func(from, to int)) {
	const chunk = 4096
	s.each((n+chunk-1)/chunk, chunk, func(_ *worker, from, to int) { f(from*chunk, min(to*chunk, n)) })
}

func (s *stream) Axpy(y, x driver.View, a float32) error {
	to, from := floats(y), floats(x)
	s.chunks(len(to), func(i, end int) {
		to, from := to[i:end], from[i:end]
		for i, v := range from {
			to[i] += float32(a * v)
		}
	})
	return nil
}

func (s *stream) Dropout(y, x driver.View, seed uint64, rate float32) error {
	to, from, threshold, scale := floats(y), floats(x), uint64(float64(rate)*(1<<32)), 1/(1-rate)
	s.chunks(len(to), func(i, end int) {
		for ; i < end; i++ {
			v := float32(0)
			if driver.Keeps(seed, i, threshold) {
				v = from[i] * scale
			}
			to[i] = v
		}
	})
	return nil
}

// LookupMatrix gathers rows of a packed matrix, which are columns of its panels.
func (s *stream) LookupMatrix(y driver.View, table driver.Matrix, rows driver.View) error {
	t, to := table.(*matrix), floats(y)
	if t.pairs {
		return fmt.Errorf("cpu: lookup in a matrix of bfloat16, want float32")
	}
	list := ids(rows)
	for i, id := range list {
		if id < 0 || int(id) >= t.rows {
			return fmt.Errorf("cpu: lookup: id %d at %d, table has %d rows", id, i, t.rows)
		}
	}
	s.each(len(list), t.cols, func(_ *worker, i, end int) {
		for ; i < end; i++ {
			id := int(list[i])
			column := t.panels[id/t.width*t.width*t.k+id%t.width:]
			row := to[i*t.cols:][:t.cols]
			for k := range row {
				row[k] = column[k*t.width]
			}
		}
	})
	return nil
}
