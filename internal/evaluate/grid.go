package evaluate

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"math"
	"slices"

	"sower/gpu"
	"sower/internal/blob"
	"sower/internal/draw"
	"sower/internal/evaluate/retrieval"
	"sower/internal/pairs"
	"sower/internal/plan"
)

// gridColumns is how many pictures stand side by side.
const gridColumns = 16

// Grid draws pictures and, below each, what its codes say, as a PNG: of the first n pairs of a run.
func (c *Config) Grid(ctx context.Context, n int) ([]byte, error) {
	m, err := open(ctx, c)
	if err != nil {
		return nil, err
	}
	if m.canvas == nil {
		return nil, draw.ErrNoPainter
	}
	originals, err := c.pictures(ctx, m, n)
	if err != nil {
		return nil, err
	}
	drawn, err := m.redraw(originals)
	if err != nil {
		return nil, err
	}
	return grid(originals, drawn, m.Config().ImageSize)
}

// neighbours is how many pictures stand beside each in Nearest.
const neighbours = 7

// Nearest shows, in each row, a picture and those of the first n that are nearest by their codes: by the unit vector of what the codes give
// back, or by the reconstructed embedding of the last query where there is no text tower.
func (c *Config) Nearest(ctx context.Context, n, rows int) ([]byte, error) {
	m, err := open(ctx, c)
	if err != nil {
		return nil, err
	}
	originals, err := c.pictures(ctx, m, n)
	if err != nil {
		return nil, err
	}
	vectors, err := m.decoded(originals)
	if err != nil {
		return nil, err
	}
	var list []draw.Picture
	for i := range min(rows, len(originals)) {
		order := make([]int, len(originals))
		for j := range order {
			order[j] = j
		}
		slices.SortStableFunc(order, func(a, b int) int {
			return cmp.Compare(retrieval.Dot(vectors[i], vectors[b]), retrieval.Dot(vectors[i], vectors[a]))
		})
		order = append([]int{i}, slices.DeleteFunc(order, func(j int) bool { return j == i })...)
		for _, j := range order[:min(len(order), 1+neighbours)] {
			list = append(list, draw.Bytes(originals[j]))
		}
		for range max(0, 1+neighbours-len(order)) {
			list = append(list, nil)
		}
	}
	return draw.Sheet(m.Config().ImageSize, 1+neighbours, list)
}

// decoded are unit vectors of what the codes of pictures give back.
func (m *Model) decoded(originals [][]byte) (out [][]float32, err error) {
	c := m.Config()
	p := m.dev.NewPass(gpu.Inference)
	z := m.EncodeTask(p, m.CausalQueries(p, m.Vision(p, p.Bytes(bytes.Join(originals, nil), len(originals), c.ImageSize, c.ImageSize, 3))))
	back := m.Reconstruct(p, m.DecodeTask(p, m.CodeVectors(p, m.Quantize(p, z))))
	width, step, from := c.QFormerWidth, c.Queries*c.QFormerWidth, (c.Queries-1)*c.QFormerWidth
	if m.texts != nil {
		back = m.ImageVectors(p, back, c.Queries-1)
		width, step, from = c.Text.Embed, c.Text.Embed, 0
	}
	host := make([]float32, back.Len())
	p.ReadF32(back, host)
	if err := p.Close(); err != nil {
		return nil, err
	}
	for i := range originals {
		v := slices.Clone(host[i*step+from : i*step+from+width])
		length := float32(math.Sqrt(float64(retrieval.Dot(v, v))))
		for k := range v {
			v[k] /= max(length, 1e-20)
		}
		out = append(out, v)
	}
	return out, nil
}

// pictures reads the first n of a run.
func (c *Config) pictures(ctx context.Context, m *Model, n int) ([][]byte, error) {
	out, err := blob.OpenBucket(ctx, c.Output)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	in, err := blob.OpenBucket(ctx, c.Input)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	reader := c.reader(m, in)
	var originals [][]byte
	enough := errors.New("enough")
	for unit := 0; unit < c.Units && len(originals) < n; unit++ {
		planned, err := plan.ReadUnit(ctx, out, c.Plan, unit)
		if err != nil {
			return nil, err
		}
		err = reader.Each(ctx, pairs.Ranges(planned), func(r *pairs.Row) error {
			if r.Fault == nil {
				originals = append(originals, r.RGB)
			}
			if len(originals) == n {
				return enough
			}
			return nil
		})
		if err != nil && !errors.Is(err, enough) {
			return nil, err
		}
	}
	if len(originals) == 0 {
		return nil, errors.New("evaluate: no picture could be read")
	}
	return originals, nil
}

// redraw makes pictures of the codes of pictures [S S 3].
func (m *Model) redraw(originals [][]byte) ([]draw.Picture, error) {
	size := m.Config().ImageSize
	p := m.dev.NewPass(gpu.Inference)
	z := m.EncodeTask(p, m.CausalQueries(p, m.Vision(p, p.Bytes(bytes.Join(originals, nil), len(originals), size, size, 3))))
	drawn := draw.Paint(p, m.Model, m.canvas, m.DecodeTask(p, m.CodeVectors(p, m.Quantize(p, z))))
	return drawn, p.Close()
}

// grid lays pairs of pictures out, the drawn one below its original.
func grid(originals [][]byte, drawn []draw.Picture, size int) ([]byte, error) {
	columns := min(gridColumns, len(originals))
	var list []draw.Picture
	for from := 0; from < len(originals); from += columns {
		upper, lower := make([]draw.Picture, columns), make([]draw.Picture, columns)
		for i := range min(columns, len(originals)-from) {
			upper[i], lower[i] = draw.Bytes(originals[from+i]), drawn[from+i]
		}
		list = append(append(list, upper...), lower...)
	}
	return draw.Sheet(size, columns, list)
}
