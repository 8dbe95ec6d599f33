package training

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"sower/gpu/checkpoint"
	"sower/gpu/models/seed"
)

// Initial is a Source of weights to begin training with. Every element is a function of the tensor's name, its index and the seed, so
// that nothing depends on the order in which tensors are made:
//
//	matrices               N(0, 1/fan_in), halved for the last matrix of each residual branch
//	vectors                1 for weights of norms, 0 for biases
//	positions, embeddings  N(0, 0.02²); those of a vision transformer's patches and of the painter are sines of row and column
//	queries                N(0, 1)
//	codebook               uniform in ±1/K, as published
//	painter's last layers  a tenth, so that it begins near the grey picture
func Initial(c seed.Config, number uint64) checkpoint.Source {
	s := &initial{config: c, seed: number, byName: map[string]checkpoint.Info{}}
	for _, p := range c.Params() {
		info := checkpoint.Info{Name: p.Name, Shape: p.Shape, DType: checkpoint.F32}
		s.list = append(s.list, info)
		s.byName[p.Name] = info
	}
	slices.SortFunc(s.list, func(a, b checkpoint.Info) int { return strings.Compare(a.Name, b.Name) })
	return s
}

type initial struct {
	config seed.Config
	seed   uint64
	list   []checkpoint.Info
	byName map[string]checkpoint.Info
}

func (s *initial) Tensors() []checkpoint.Info { return s.list }

func (s *initial) Find(name string) (checkpoint.Info, bool) {
	info, ok := s.byName[name]
	return info, ok
}

func (s *initial) Close() error { return nil }

func (s *initial) Read(name string, offset int, dst []float32) error {
	info, ok := s.byName[name]
	if !ok {
		return fmt.Errorf("training: initial weights: no tensor %q", name)
	}
	if offset < 0 || offset+len(dst) > info.Len() {
		return fmt.Errorf("training: initial weights: read %q: elements %d to %d of %d", name, offset, offset+len(dst), info.Len())
	}
	element := s.rule(info)
	for i := range dst {
		dst[i] = element(offset + i)
	}
	return nil
}

// rule is how the elements of a tensor follow from their index.
func (s *initial) rule(info checkpoint.Info) func(i int) float32 {
	name, c := info.Name, s.config
	constant := func(v float32) func(int) float32 { return func(int) float32 { return v } }
	draw := generator{base: hash(name) ^ mix(s.seed)}
	switch {
	case len(info.Shape) == 1 && strings.HasSuffix(name, "weight"):
		return constant(1)
	case len(info.Shape) == 1:
		return constant(0)
	case name == seed.CodebookName:
		return func(i int) float32 { return float32((2*draw.uniform(i) - 1) / float64(c.Codes)) }
	case name == "pixel.pos_embed":
		return func(i int) float32 { return sine(c.ImageSize/c.PatchSize, c.QFormerWidth, i) }
	case name == "visual_encoder.pos_embed":
		return func(i int) float32 {
			if i < c.ViTWidth { // the class token
				return float32(0.02 * draw.normal(i))
			}
			return sine(c.ImageSize/c.PatchSize, c.ViTWidth, i-c.ViTWidth)
		}
	case strings.Contains(name, "pos_embed"), strings.Contains(name, "embeddings"), strings.Contains(name, "cls_token"):
		return func(i int) float32 { return float32(0.02 * draw.normal(i)) }
	case name == "query_tokens":
		return func(i int) float32 { return float32(draw.normal(i)) }
	}
	scale := math.Sqrt(1 / float64(info.Len()/info.Shape[0]))
	for _, end := range []string{"fc2.weight", "attn.proj.weight", "output.dense.weight", "output_query.dense.weight"} {
		if strings.HasSuffix(name, end) {
			scale /= 2
		}
	}
	if name == "pixel.out.weight" || name == "pixel.coarse.weight" {
		scale /= 10
	}
	return func(i int) float32 { return float32(scale * draw.normal(i)) }
}

// sine is element i of positions [n·n width] of a grid: sines, then cosines, of the row, then of the column, at width/4 frequencies from 1
// to about a hundredth.
func sine(n, width, i int) float32 {
	at, channel := i/width, i%width
	quarter := width / 4
	place := float64(at / n)
	if channel >= 2*quarter {
		place, channel = float64(at%n), channel-2*quarter
	}
	angle := place * math.Pow(100, -float64(channel%quarter)/float64(quarter))
	if channel < quarter {
		return float32(math.Sin(angle))
	}
	return float32(math.Cos(angle))
}

// generator draws numbers by counter: element i is a function of the base and i.
type generator struct{ base uint64 }

// uniform is in [0, 1).
func (g generator) uniform(i int) float64 {
	return float64(mix(g.base+uint64(i)*0x9e3779b97f4a7c15)>>11) / (1 << 53)
}

// normal is by Box and Muller's method, of two draws an element.
func (g generator) normal(i int) float64 {
	u := 1 - g.uniform(2*i) // in (0, 1]
	return math.Sqrt(-2*math.Log(u)) * math.Cos(2*math.Pi*g.uniform(2*i+1))
}

// mix is splitmix64's last step.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// hash is FNV-1a of a name.
func hash(s string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 0x100000001b3
	}
	return h
}
