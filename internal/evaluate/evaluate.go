// Package evaluate measures what a tokenizer's codes are worth on pictures that it has not seen: whether a picture finds its caption and
// a caption its picture (retrieval), by the causal embedding and by what the codes alone give back; how codes are used; and, of models with
// a painter, how near drawn pictures are. A unit computes rows; Analyze makes a report of all of them.
package evaluate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"sower/gpu"
	"sower/gpu/models/seed/training"
	"sower/gpu/resident"
	"sower/internal/blob"
	"sower/internal/corpus"
	"sower/internal/draw"
	"sower/internal/pairs"
	"sower/internal/pixels"
	"sower/internal/shards"
	"sower/internal/units"
	"sower/internal/weights"
	"sower/schemas"
)

// Config is everything that a worker needs; it travels in a DoFn's exported fields.
type Config struct {
	RunID                              string
	Input, ImageRoot                   string
	ImageColumn, TextColumn, KeyColumn string
	Output, Plan                       string
	Units                              int
	Model                              string
	Device                             string
	Threads                            int
	DropUnknown                        bool
	MaxPixels, MaxImageBytes           int64
	Identity                           schemas.Identity
}

// Validate names every setting that cannot work.
func (c *Config) Validate() error {
	var errs []error
	if c.Model == "" || c.Model == weights.Null {
		errs = append(errs, fmt.Errorf("evaluate: --model %q cannot be evaluated", c.Model))
	}
	if c.Input == "" || c.Output == "" || strings.Contains(c.Plan, "..") {
		errs = append(errs, fmt.Errorf("evaluate: input %q, output %q, plan %q", c.Input, c.Output, c.Plan))
	}
	if c.Threads < 0 {
		errs = append(errs, fmt.Errorf("evaluate: --threads %d: want 0 (all) or more", c.Threads))
	}
	return errors.Join(errs...)
}

// Prefixes are the numbers of codes after which vectors are kept, as far as the model has so many.
func Prefixes(queries int) (out []int) {
	for _, k := range []int{1, 2, 4, 8, 16, 24} {
		if k < queries {
			out = append(out, k)
		}
	}
	return append(out, queries)
}

// batch is how many pictures are computed at a time.
const batch = 32

func open(ctx context.Context, c *Config) (*Model, error) {
	key := fmt.Sprintf("evaluate %s of %s on %s, %d threads", c.Identity.Weights, c.Model, c.Device, c.Threads)
	return resident.Shared(key, func() (*Model, error) {
		w, err := weights.Open(c.Model)
		if err != nil {
			return nil, err
		}
		defer w.Close()
		return Open(w, c.Device, c.Threads, c.DropUnknown)
	})
}

// Unit measures the pairs of one unit, or finds that it is done.
func (c *Config) Unit(ctx context.Context, unit int) (corpus.UnitInfo, error) {
	job := units.Job{RunID: c.RunID, Input: c.Input, Output: c.Output, Plan: c.Plan, Units: c.Units, Identity: c.Identity}
	return units.Do(ctx, job, unit, func(ctx context.Context, u *units.Unit[schemas.EvaluationRow]) error {
		m, err := open(ctx, c)
		if err != nil {
			return err
		}
		if err := c.unit(ctx, m, u); err != nil {
			return fmt.Errorf("evaluate: unit %d: %w", unit, err)
		}
		return nil
	})
}

func (c *Config) unit(ctx context.Context, m *Model, u *units.Unit[schemas.EvaluationRow]) error {
	var held []*pairs.Row
	flush := func() error {
		rows, err := m.measure(held)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if err := u.Row(r, 4*(len(r.Image)+len(r.Decoded)+len(r.TextVector)+len(r.DecodedZ))+256); err != nil {
				return err
			}
		}
		held = held[:0]
		return nil
	}
	err := c.reader(m, u.Input).Each(ctx, pairs.Ranges(u.Plan), func(r *pairs.Row) error {
		if r.Fault != nil {
			return u.Reject(r.Reject())
		}
		if held = append(held, r); len(held) == batch {
			return flush()
		}
		return nil
	})
	if err == nil && len(held) > 0 {
		err = flush()
	}
	return err
}

// reader reads pairs as the model takes their pictures.
func (c *Config) reader(m *Model, in *blob.Bucket) *pairs.Reader {
	return &pairs.Reader{Size: m.Config().ImageSize, Filter: pixels.Filter(c.Identity.Resize), Limits: pixels.Limits{MaxPixels: c.MaxPixels, MaxBytes: c.MaxImageBytes},
		Options: &shards.Options{Root: in, ImageColumn: c.ImageColumn, TextColumn: c.TextColumn, KeyColumn: c.KeyColumn, ImageRoot: c.ImageRoot, MaxImageBytes: c.MaxImageBytes}}
}

func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// measure computes the rows of some pairs.
func (m *Model) measure(held []*pairs.Row) ([]schemas.EvaluationRow, error) {
	c := m.Config()
	n := len(held)
	rgb := make([]byte, 0, n*c.ImageBytes())
	rows := make([]schemas.EvaluationRow, n)
	var texts [][]int32
	var at []int // rows with a text
	for i, h := range held {
		rgb = append(rgb, h.RGB...)
		rows[i] = schemas.EvaluationRow{Key: valid(h.Key), Source: valid(h.Source), Row: h.Row, Text: h.Text}
		if h.Text != nil && m.texts != nil {
			words := m.texts.Words(*h.Text)
			rows[i].Words = words
			texts, at = append(texts, m.texts.Frame(words)), append(at, i)
		}
	}
	p := m.dev.NewPass(gpu.Inference)
	causal := m.CausalQueries(p, m.Vision(p, p.Bytes(rgb, n, c.ImageSize, c.ImageSize, 3)))
	z := m.EncodeTask(p, causal)
	ids := m.Quantize(p, z)
	y, yz := m.DecodeTask(p, m.CodeVectors(p, ids)), m.DecodeTask(p, z)
	back := m.Reconstruct(p, y)
	codes := make([]int32, n*c.Queries)
	p.ReadI32(ids, codes)
	hCausal, hBack := make([]float32, causal.Len()), make([]float32, back.Len())
	p.ReadF32(causal, hCausal)
	p.ReadF32(back, hBack)
	if m.texts != nil {
		for _, k := range Prefixes(c.Queries) {
			for _, side := range []struct {
				from *gpu.Tensor
				to   func(*schemas.EvaluationRow) *[]float32
			}{{causal, func(r *schemas.EvaluationRow) *[]float32 { return &r.Image }}, {back, func(r *schemas.EvaluationRow) *[]float32 { return &r.Decoded }}} {
				v := m.ImageVectors(p, side.from, k-1)
				host := make([]float32, v.Len())
				p.ReadF32(v, host)
				for i := range rows {
					list := side.to(&rows[i])
					*list = append(*list, host[i*c.Text.Embed:(i+1)*c.Text.Embed]...)
				}
			}
		}
		v := m.ImageVectors(p, m.Reconstruct(p, yz), c.Queries-1)
		host := make([]float32, v.Len())
		p.ReadF32(v, host)
		for i := range rows {
			rows[i].DecodedZ = host[i*c.Text.Embed : (i+1)*c.Text.Embed]
		}
		if len(texts) > 0 {
			v := m.TextVectors(p, texts)
			host := make([]float32, v.Len())
			p.ReadF32(v, host)
			for j, i := range at {
				rows[i].TextVector = host[j*c.Text.Embed : (j+1)*c.Text.Embed]
			}
		}
	}
	if m.canvas != nil {
		m.compare(p, y, held, func(i int, psnr, ssim float64) { rows[i].PSNR, rows[i].SSIM = &psnr, &ssim })
		m.compare(p, yz, held, func(i int, psnr, ssim float64) { rows[i].PSNRz, rows[i].SSIMz = &psnr, &ssim })
	}
	if err := p.Close(); err != nil {
		return nil, err
	}
	each := c.Queries * c.QFormerWidth
	for i := range rows {
		for _, code := range codes[i*c.Queries : (i+1)*c.Queries] {
			rows[i].Codes = append(rows[i].Codes, uint16(code))
		}
		rows[i].Cosine = cosine(hCausal[i*each:(i+1)*each], hBack[i*each:(i+1)*each], c.QFormerWidth)
	}
	return rows, nil
}

// cosine is the mean over rows of width.
func cosine(a, b []float32, width int) float64 {
	sum := 0.0
	for r := 0; r < len(a); r += width {
		dot, x, y := 0.0, 0.0, 0.0
		for i := r; i < r+width; i++ {
			dot += float64(a[i]) * float64(b[i])
			x += float64(a[i]) * float64(a[i])
			y += float64(b[i]) * float64(b[i])
		}
		sum += dot / math.Sqrt(max(x*y, 1e-30))
	}
	return sum / float64(len(a)/width)
}

// compare paints y [B Q H] and holds each picture against what it was made of.
func (m *Model) compare(p *gpu.Pass, y *gpu.Tensor, held []*pairs.Row, got func(i int, psnr, ssim float64)) {
	for i, picture := range draw.Paint(p, m.Model, m.canvas, y) {
		got(i, training.PSNR(picture, held[i].RGB), ssim(picture, held[i].RGB, m.Config().ImageSize))
	}
}
