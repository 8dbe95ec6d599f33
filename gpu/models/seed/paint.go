package seed

import (
	"fmt"

	"sower/gpu"
	"sower/gpu/nn"
)

// painter draws a picture from the image branch: a coarse picture that is linear in all tokens, and patches from tokens that were
// mixed and went through blocks. Without the coarse part it would learn nothing but the mean picture for a long time.
type painter struct {
	down, coarse nn.Linear   // H → 32 of each token, Q·32 → 3·coarse²
	mix          *gpu.Tensor // [P Q]
	positions    *gpu.Tensor // [1 P H]
	blocks       []block
	norm         nn.LayerNorm
	out          nn.Linear // H → 3·patch²
}

// painterDown is what a token gives to the coarse picture.
const painterDown = 32

// painterParams lists the parameters of the painter.
func (c Config) painterParams() []Param {
	if c.Painter == nil {
		return nil
	}
	var p params
	h := c.QFormerWidth
	p.add("pixel.mix.weight", c.Patches(), c.Queries)
	p.add("pixel.pos_embed", 1, c.Patches(), h)
	p.linear("pixel.down", painterDown, h)
	p.linear("pixel.coarse", 3*c.Painter.Coarse*c.Painter.Coarse, painterDown*c.Queries)
	for i := range c.Painter.Depth {
		p.block(fmt.Sprintf("pixel.blocks.%d.", i), h, c.DecodeMLP, false)
	}
	p.norm("pixel.norm", h)
	p.linear("pixel.out", 3*c.PatchSize*c.PatchSize, h)
	return p
}

func (m *Model) loadPainter(l *nn.Loader) {
	c, t := m.config, &m.paints
	if c.Painter == nil {
		l.Fail("pixel.out.weight", fmt.Errorf("config.json names no sizes of a painter (painter)"))
		return
	}
	h := c.QFormerWidth
	t.mix = l.Tensor("pixel.mix.weight", c.Patches(), c.Queries)
	t.positions = l.Tensor("pixel.pos_embed", 1, c.Patches(), h)
	t.down = l.Linear("pixel.down", painterDown, h)
	t.coarse = l.Linear("pixel.coarse", 3*c.Painter.Coarse*c.Painter.Coarse, painterDown*c.Queries)
	for i := range c.Painter.Depth {
		t.blocks = append(t.blocks, loadFusedBlock(l, fmt.Sprintf("pixel.blocks.%d.", i), c))
	}
	t.norm = l.LayerNorm("pixel.norm", h, epsBlock)
	t.out = l.Linear("pixel.out", 3*c.PatchSize*c.PatchSize, h)
}

// Paint is the two parts of a picture, from the image branch: x [B Q H] → coarse [B 3·coarse²] and patches [B P 3·patch²], each as
// channel, row, column. Canvas puts them together.
func (m *Model) Paint(p *gpu.Pass, x *gpu.Tensor) (coarse, patches *gpu.Tensor) {
	t, b := &m.paints, x.Dim(0)
	down := t.down.Forward(p, x)
	coarse = t.coarse.Forward(p, p.Reshape(down, b, down.Dim(1)*down.Dim(2)))
	y := p.Add(p.Mix(t.mix, x), t.positions) // [B P H]
	y = p.Layers(len(t.blocks), y, func(i int, y *gpu.Tensor) *gpu.Tensor { return t.blocks[i].forward(p, y) })
	return coarse, t.out.Forward(p, t.norm.Forward(p, y))
}

// Canvas lays out pictures of S x S pixels on the host: the coarse picture enlarged bilinearly (sample points between pixels, as
// PyTorch's align_corners=False), plus the patches, plus one half.
type Canvas struct {
	size, patch, coarse int
	// Row i of the picture is a mixture of two rows of the coarse one: weight[i] of at[i]+1, the rest of at[i].
	at     []int
	weight []float32
}

// NewCanvas is that of a model with a painter.
func NewCanvas(c Config) *Canvas {
	n := c.Painter.Coarse
	v := &Canvas{size: c.ImageSize, patch: c.PatchSize, coarse: n, at: make([]int, c.ImageSize), weight: make([]float32, c.ImageSize)}
	for i := range v.at {
		x := max((float64(i)+0.5)*float64(n)/float64(c.ImageSize)-0.5, 0)
		v.at[i] = min(int(x), n-1)
		if v.at[i] < n-1 {
			v.weight[i] = float32(x - float64(v.at[i]))
		}
	}
	return v
}

// Pixels is the number of values of a picture: 3 channels of S x S.
func (v *Canvas) Pixels() int { return 3 * v.size * v.size }

// Draw makes one picture [3 S S], about 0 to 1 and not clamped, of its coarse part and its patches.
func (v *Canvas) Draw(picture, coarse, patches []float32) {
	s, n := v.size, v.coarse
	rows := make([]float32, n*s) // the coarse picture, enlarged in x
	for ch := range 3 {
		from := coarse[ch*n*n : (ch+1)*n*n]
		for r := range n {
			for x := range s {
				a, w := v.at[x], v.weight[x]
				rows[r*s+x] = (1-w)*from[r*n+a] + w*from[r*n+min(a+1, n-1)]
			}
		}
		for y := range s {
			a, w := v.at[y], v.weight[y]
			upper, lower := rows[a*s:a*s+s], rows[min(a+1, n-1)*s:min(a+1, n-1)*s+s]
			to := picture[(ch*s+y)*s : (ch*s+y)*s+s]
			for left := 0; left < s; left += v.patch {
				for i, c := range v.patchRow(patches, ch, y, left) {
					x := left + i
					to[x] = 0.5 + (1-w)*upper[x] + w*lower[x] + c
				}
			}
		}
	}
}

// patchRow is the part of row y of a channel that belongs to the patch whose left side is at x.
func (v *Canvas) patchRow(patches []float32, ch, y, x int) []float32 {
	p := v.patch
	return patches[(y/p*(v.size/p)+x/p)*3*p*p+(ch*p+y%p)*p:][:p]
}

// DrawGrad is the gradient of Draw: dcoarse and dpatches are written.
func (v *Canvas) DrawGrad(dcoarse, dpatches, dpicture []float32) {
	s, n := v.size, v.coarse
	rows := make([]float32, n*s)
	clear(dcoarse)
	for ch := range 3 {
		clear(rows)
		for y := range s {
			a, w := v.at[y], v.weight[y]
			b := min(a+1, n-1)
			from := dpicture[(ch*s+y)*s : (ch*s+y)*s+s]
			for left := 0; left < s; left += v.patch {
				copy(v.patchRow(dpatches, ch, y, left), from[left:])
			}
			for x, d := range from {
				rows[a*s+x] += (1 - w) * d
				rows[b*s+x] += w * d
			}
		}
		to := dcoarse[ch*n*n : (ch+1)*n*n]
		for r := range n {
			for x := range s {
				a, w := v.at[x], v.weight[x]
				d := rows[r*s+x]
				to[r*n+a] += (1 - w) * d
				to[r*n+min(a+1, n-1)] += w * d
			}
		}
	}
}
