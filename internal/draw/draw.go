// Package draw makes pictures of codes, by the painter that small models have. What is published draws with unCLIP Stable Diffusion; for
// those weights sower detokenize gives the embeddings.
package draw

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"

	"sower/gpu"
	"sower/gpu/models/seed"
	"sower/internal/weights"
)

// ErrNoPainter says that a model has nothing to draw with.
var ErrNoPainter = errors.New("the model has no painter: its codes become image embeddings, which unCLIP draws; pictures come from models with \"painter\" in config.json, such as mini")

// Picture is values of about 0 to 1, [3 S S].
type Picture []float32

// Bytes is a picture of bytes [S S 3].
func Bytes(rgb []byte) Picture {
	n := len(rgb) / 3
	p := make(Picture, len(rgb))
	for i := range n {
		for ch := range 3 {
			p[ch*n+i] = float32(rgb[3*i+ch]) / 255
		}
	}
	return p
}

// Codes draws images of codes.
func Codes(dev *gpu.Device, w *weights.Model, codes [][]uint16) ([]Picture, error) {
	c := w.Config
	if c.Painter == nil || w.IsNull() {
		return nil, fmt.Errorf("--model %s: %w", w.Arg, ErrNoPainter)
	}
	ids := make([]int32, 0, len(codes)*c.Queries)
	for i, list := range codes {
		if len(list) != c.Queries {
			return nil, fmt.Errorf("draw: image %d has %d codes, want %d", i, len(list), c.Queries)
		}
		for _, code := range list {
			if int(code) >= c.Codes {
				return nil, fmt.Errorf("draw: image %d has code %d of %d", i, code, c.Codes)
			}
			ids = append(ids, int32(code))
		}
	}
	m, err := seed.Load(dev, w.Source, c, seed.Detokenize|seed.Painting)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	p := dev.NewPass(gpu.Inference)
	out := Paint(p, m, seed.NewCanvas(c), m.DecodeTask(p, m.CodeVectors(p, p.IDs(ids, len(codes), c.Queries))))
	return out, p.Close()
}

// Paint draws what is behind the codebook: y [B Q H].
func Paint(p *gpu.Pass, m *seed.Model, canvas *seed.Canvas, y *gpu.Tensor) []Picture {
	coarse, patches := m.Paint(p, m.ImageBranch(p, y))
	n := coarse.Dim(0)
	a, b := make([]float32, coarse.Len()), make([]float32, patches.Len())
	p.ReadF32(coarse, a)
	p.ReadF32(patches, b)
	if p.Err() != nil {
		return nil
	}
	out := make([]Picture, n)
	for i := range out {
		out[i] = make(Picture, canvas.Pixels())
		canvas.Draw(out[i], a[i*len(a)/n:(i+1)*len(a)/n], b[i*len(b)/n:(i+1)*len(b)/n])
	}
	return out
}

// gap is between the pictures of a sheet, in pixels.
const gap = 2

// Sheet lays pictures of size x size out in rows of so many, as a PNG. A nil picture leaves its place white.
func Sheet(size, columns int, list []Picture) ([]byte, error) {
	rows := (len(list) + columns - 1) / columns
	cell := size + gap
	im := image.NewNRGBA(image.Rect(0, 0, columns*cell-gap, rows*cell-gap))
	for i := range im.Pix {
		im.Pix[i] = 255
	}
	n := size * size
	for i, p := range list {
		if p == nil {
			continue
		}
		level := func(at int) uint8 { return uint8(255*min(max(p[at], 0), 1) + 0.5) }
		for at := range n {
			im.SetNRGBA(i%columns*cell+at%size, i/columns*cell+at/size, color.NRGBA{level(at), level(n + at), level(2*n + at), 255})
		}
	}
	var b bytes.Buffer
	err := png.Encode(&b, im)
	return b.Bytes(), err
}
