package lm

import (
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"sync"

	"sower/gpu/checkpoint"
)

// grown is a source some of whose tables have more rows.
type grown struct {
	checkpoint.Source
	rows   int
	seed   uint64
	tables map[string]*grownTable
}

type grownTable struct {
	old       checkpoint.Info
	once      sync.Once
	err       error
	mean, std []float64 // of each channel
}

// Grow returns a source whose named tables [V C] have rows rows. Element c of a new row is drawn from a normal
// distribution with the mean and the standard deviation of channel c over the old rows. The draws follow from the name, the
// seed and the place alone, so that any part of a table can be read at any time: with
//
//	u(j) = (mix(fnv1a64(name) + seed·γ + j·γ) >> 11 + ½)·2⁻⁵³            mix: that of splitmix64, γ = 0x9e3779b97f4a7c15
//	z    = √(-2 ln u(2i))·cos(2π u(2i+1))                                i: the element's place in the grown table
//
// the value is mean + std·z in float64, rounded once. Closing it closes src.
func Grow(src checkpoint.Source, rows int, seed uint64, names ...string) (checkpoint.Source, error) {
	g := &grown{Source: src, rows: rows, seed: seed, tables: map[string]*grownTable{}}
	for _, name := range names {
		info, ok := src.Find(name)
		if !ok || len(info.Shape) != 2 || info.Shape[0] > rows {
			return nil, fmt.Errorf("lm: grow %q to %d rows: the checkpoint has %v", name, rows, info)
		}
		g.tables[name] = &grownTable{old: info}
	}
	return g, nil
}

func (g *grown) Find(name string) (checkpoint.Info, bool) {
	info, ok := g.Source.Find(name)
	if g.tables[name] != nil {
		info.Shape = []int{g.rows, info.Shape[1]}
	}
	return info, ok
}

func (g *grown) Tensors() []checkpoint.Info {
	list := slices.Clone(g.Source.Tensors())
	for i := range list {
		list[i], _ = g.Find(list[i].Name)
	}
	return list
}

func (g *grown) Read(name string, offset int, dst []float32) error {
	t := g.tables[name]
	if t == nil {
		return g.Source.Read(name, offset, dst)
	}
	width := t.old.Shape[1]
	if offset < 0 || offset+len(dst) > g.rows*width {
		return fmt.Errorf("lm: read %q: elements %d to %d of %d", name, offset, offset+len(dst), g.rows*width)
	}
	if n := min(len(dst), t.old.Len()-offset); n > 0 {
		if err := g.Source.Read(name, offset, dst[:n]); err != nil {
			return err
		}
		dst, offset = dst[n:], offset+n
	}
	if len(dst) == 0 {
		return nil
	}
	if t.once.Do(func() { t.err = t.measure(g.Source) }); t.err != nil {
		return t.err
	}
	key := Key(name, g.seed)
	for i := range dst {
		at, c := uint64(offset+i), (offset+i)%width
		z := math.Sqrt(-2*math.Log(Uniform(key, 2*at))) * math.Cos(2*math.Pi*Uniform(key, 2*at+1))
		dst[i] = float32(t.mean[c] + float64(t.std[c]*z))
	}
	return nil
}

// measure computes mean and standard deviation of each channel, some rows at a time.
func (t *grownTable) measure(src checkpoint.Source) error {
	rows, width := t.old.Shape[0], t.old.Shape[1]
	sum, squares := make([]float64, width), make([]float64, width)
	step := max(1, (1<<18)/width)
	values := make([]float32, step*width)
	for r := 0; r < rows; r += step {
		part := values[:min(step, rows-r)*width]
		if err := src.Read(t.old.Name, r*width, part); err != nil {
			return err
		}
		for i, v := range part {
			sum[i%width] += float64(v)
			squares[i%width] += float64(v) * float64(v)
		}
	}
	for c := range sum {
		sum[c] /= float64(rows)
		squares[c] = math.Sqrt(max(0, squares[c]/float64(rows)-float64(sum[c]*sum[c])))
	}
	t.mean, t.std = sum, squares
	return nil
}

const gamma = 0x9e3779b97f4a7c15

// Key is that of a named generator: fnv1a64(name) + seed·γ.
func Key(name string, seed uint64) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum64() + seed*gamma
}

// Uniform is number j of the generator of key, between 0 and 1 and neither of them; see Grow for the formula.
func Uniform(key, j uint64) float64 {
	x := key + j*gamma
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	return (float64(x>>11) + 0.5) * (1.0 / (1 << 53))
}
