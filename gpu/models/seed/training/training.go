// Package training computes the losses of the SEED tokenizer and their gradients. The first stage teaches the causal Q-Former by
// contrast of images and texts, the second learns the codebook and the de-tokenizer with the Q-Former frozen (arXiv 2307.08041
// §3.2). A step here leaves gradients; package optim updates.
//
// What surprises: the vision transformer is frozen in both stages, unless a small model trains its own; the decoder's gradient
// passes the codebook unchanged; the codebook learns from a quarter of the squared distance alone; the contrast has label smoothing.
package training

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"sower/gpu"
	"sower/gpu/checkpoint"
	"sower/gpu/models/seed"
	"sower/gpu/nn"
)

// Weights are those of the terms of the losses.
type Weights struct {
	Smoothing float64 `json:"smoothing"` // of the contrast's labels
	Commit    float64 `json:"commit"`    // of the codebook's term of VQ, against 1 of the encoder's
	VQ        float64 `json:"vq"`
	Rec       float64 `json:"rec"`
	Image     float64 `json:"image"`
	Picture   float64 `json:"picture"` // of the painter's term; 0 where nothing is drawn
}

// Published is the published weights.
func Published() Weights { return Weights{Smoothing: 0.1, Commit: 0.25, VQ: 5, Rec: 2, Image: 0.5} }

// Losses are the terms of one step. A term that was not computed is 0.
type Losses struct {
	Total    float64 `json:"total"`
	Contrast float64 `json:"contrast,omitempty"`
	VQ       float64 `json:"vq,omitempty"`
	Rec      float64 `json:"rec,omitempty"`
	Image    float64 `json:"image,omitempty"`
	Picture  float64 `json:"picture,omitempty"`
}

// Plus is the sum of l and share times m, term by term.
func (l Losses) Plus(m Losses, share float64) Losses {
	return Losses{l.Total + share*m.Total, l.Contrast + share*m.Contrast, l.VQ + share*m.VQ, l.Rec + share*m.Rec, l.Image + share*m.Image, l.Picture + share*m.Picture}
}

// Trains reports whether the published recipe trains a parameter in a stage; vit adds the vision transformer to the first, for models
// without a pretrained one, and pictures adds the layers that lead to the painter.
func Trains(name string, stage int, vit, pictures bool) bool {
	has := func(prefixes ...string) bool {
		for _, p := range prefixes {
			if strings.HasPrefix(name, p) {
				return true
			}
		}
		return false
	}
	if has("visual_encoder.") {
		return vit && stage == 1
	}
	if has("pixel.") {
		return pictures
	}
	first := has("Qformer.bert.", "ln_vision", "query_tokens", "vision_proj", "text_proj", TempName)
	if stage == 1 && pictures && has("encode_task", "decode_task", "pos_embed_image", "blocks_image") {
		return true
	}
	return first == (stage == 1)
}

// TempName is the name of the temperature in checkpoints of training.
const TempName = "temp"

// Stage is a model with the parameters of one stage to be trained.
type Stage struct {
	Model   *seed.Model
	Weights Weights

	dev    *gpu.Device
	vit    bool // is trained
	params []nn.Parameter
	temp   *gpu.Tensor // [1], of the first stage
	canvas *seed.Canvas
	book   *gpu.Tensor // [K D], the codebook where it is trained
	rows   []float32   // its values
	unit   *gpu.Tensor // [H] of 1/√H
	config seed.Config
}

// Open loads a model for a stage, 1 or 2. temp is the temperature to begin with. The source has all that the parts need.
func Open(dev *gpu.Device, src checkpoint.Source, c seed.Config, stage int, w Weights, vit bool, temp float64) (s *Stage, err error) {
	if stage != 1 && stage != 2 {
		return nil, fmt.Errorf("training: stage %d, want 1 or 2", stage)
	}
	pictures := w.Picture > 0
	parts := seed.Encode | seed.Texts
	if stage == 2 {
		parts |= seed.Detokenize | seed.Reconstruct
	}
	if pictures {
		parts |= seed.Detokenize | seed.Painting
	}
	s = &Stage{Weights: w, dev: dev, vit: vit && stage == 1, config: c}
	trains := func(name string) bool { return Trains(name, stage, vit, pictures) }
	if s.Model, s.params, err = seed.LoadTraining(dev, src, c, parts, trains); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if pictures {
		s.canvas = seed.NewCanvas(c)
	}
	switch stage {
	case 1:
		if s.temp, err = dev.NewParameter([]float32{float32(temp)}, 1); err != nil {
			return nil, err
		}
		s.params = append(s.params, nn.Parameter{Name: TempName, Tensor: s.temp})
	case 2:
		if s.unit, err = dev.FromSlice(seed.UnitWeight(c.QFormerWidth), c.QFormerWidth); err != nil {
			return nil, err
		}
		for _, p := range s.params {
			if p.Name == seed.CodebookName {
				s.book, s.rows = p.Tensor, make([]float32, p.Tensor.Len())
			}
		}
	}
	return s, nil
}

// Close frees what the stage holds.
func (s *Stage) Close() error {
	s.temp.Free()
	s.unit.Free()
	return s.Model.Close()
}

// Parameters lists what is trained.
func (s *Stage) Parameters() []nn.Parameter { return s.params }

// Batch is the input of a step.
type Batch struct {
	RGB   []byte    // [B S S 3]
	Texts [][]int32 // first stage, and Measure: tokens without padding; nil trains by pictures alone
	// Pictures is how many of the images, from the first on, the painter draws.
	Pictures int
	// Causal are embeddings [B Q H] that the frozen Q-Former made of the images before, for the second stage; nil makes them.
	Causal []float32
	// Teacher are the image embeddings [B image_embed] to be learned; nil takes those of the first stage, √E times the unit vector.
	Teacher []float32
	// Untaught leaves their term out, where nobody has them.
	Untaught bool
}

func (s *Stage) images(p *gpu.Pass, b *Batch) *gpu.Tensor {
	c := s.config
	return p.Bytes(b.RGB, len(b.RGB)/c.ImageBytes(), c.ImageSize, c.ImageSize, 3)
}

// First computes the gradients of a step of the first stage.
func (s *Stage) First(b *Batch) (l Losses, err error) {
	p := s.dev.NewPass(gpu.Training)
	defer func() { err = errors.Join(err, p.Close()) }()
	f, err := s.first(p, b)
	if err != nil || p.Err() != nil {
		return f.Losses, err
	}
	if b.Texts != nil {
		p.WriteF32(s.temp.Grad(), 0, []float32{f.temp})
	}
	p.Backward(nil, nil)
	return f.Losses, nil
}

// forward is what a step computes, with the gradients of its losses where the pass keeps any.
type forward struct {
	Losses
	temp                 float32     // gradient to the temperature
	image, text, decoded *gpu.Tensor // unit vectors [B E], nil where there are none
}

func (s *Stage) first(p *gpu.Pass, b *Batch) (f forward, err error) {
	m := s.Model
	vit := func() *gpu.Tensor { return m.ViT(p, s.images(p, b)) }
	var tokens *gpu.Tensor
	if s.vit {
		tokens = vit()
	} else {
		tokens = p.Constant(vit)
	}
	causal := m.CausalQueries(p, m.Normalize(p, tokens))
	if b.Texts != nil {
		f.image, f.text = m.ImageVectors(p, causal, s.config.Queries-1), m.TextVectors(p, b.Texts)
		products := p.MatMul(f.image, f.text, gpu.TransposeB) // [B B]
		n := len(b.Texts)
		host, temp := make([]float32, n*n), make([]float32, 1)
		p.ReadF32(products, host)
		p.ReadF32(s.temp, temp)
		if p.Err() != nil {
			return f, nil
		}
		loss, dtemp, err := contrast(host, n, float64(temp[0]), s.Weights.Smoothing)
		if err != nil {
			return f, err
		}
		f.temp, f.Contrast = float32(dtemp), loss
		f.Total += loss
		p.Pull(products, p.Floats(host, n, n))
	}
	if s.canvas != nil && b.Pictures > 0 {
		f.Picture = s.draw(p, m.ImageBranch(p, m.DecodeTask(p, m.EncodeTask(p, leading(p, causal, b.Pictures)))), b)
		f.Total += s.Weights.Picture * f.Picture
	}
	return f, nil
}

// leading is x [B Q H] of the first n images.
func leading(p *gpu.Pass, x *gpu.Tensor, n int) *gpu.Tensor {
	q, h := x.Dim(1), x.Dim(2)
	return p.Reshape(p.Rows(p.Reshape(x, x.Dim(0)*q, h), 0, n*q), n, q, h)
}

// draw adds the painter's term and its gradient to what leads from x [B Q H].
func (s *Stage) draw(p *gpu.Pass, x *gpu.Tensor, b *Batch) float64 {
	coarse, patches := s.Model.Paint(p, x)
	hc, hp := make([]float32, coarse.Len()), make([]float32, patches.Len())
	p.ReadF32(coarse, hc)
	p.ReadF32(patches, hp)
	if p.Err() != nil {
		return 0
	}
	loss := pictureLoss(s.canvas, s.config.ImageSize, hc, hp, b.RGB[:b.Pictures*s.config.ImageBytes()], s.Weights.Picture)
	p.Pull(coarse, p.Floats(hc, coarse.Shape()...))
	p.Pull(patches, p.Floats(hp, patches.Shape()...))
	return loss
}

// Embed computes causal embeddings [B Q H] of images by the frozen Q-Former.
func (s *Stage) Embed(rgb []byte) ([]float32, error) {
	p := s.dev.NewPass(gpu.Inference)
	h := s.Model.CausalQueries(p, s.Model.Vision(p, s.images(p, &Batch{RGB: rgb})))
	out := make([]float32, h.Len())
	p.ReadF32(h, out)
	return out, p.Close()
}

// Vectors computes z [B Q D], what is quantized, of causal embeddings.
func (s *Stage) Vectors(causal []float32) ([]float32, error) {
	c := s.config
	p := s.dev.NewPass(gpu.Inference)
	z := s.Model.EncodeTask(p, p.Floats(causal, len(causal)/c.Queries/c.QFormerWidth, c.Queries, c.QFormerWidth))
	out := make([]float32, z.Len())
	p.ReadF32(z, out)
	return out, p.Close()
}

// ClampTemp keeps the temperature within bounds and returns it.
func (s *Stage) ClampTemp(least, most float64) (float64, error) {
	p := s.dev.NewPass(gpu.Inference)
	t := make([]float32, 1)
	p.ReadF32(s.temp, t)
	if v := min(max(t[0], float32(least)), float32(most)); v != t[0] {
		t[0] = v
		p.WriteF32(s.temp, 0, t)
	}
	return float64(t[0]), p.Close()
}

// Codebook is the rows [K D] of the second stage's codebook as they are.
func (s *Stage) Codebook() ([]float32, error) {
	p := s.dev.NewPass(gpu.Inference)
	out := make([]float32, s.book.Len())
	p.ReadF32(s.book, out)
	return out, p.Close()
}

// SetCodebook replaces them.
func (s *Stage) SetCodebook(rows []float32) error {
	p := s.dev.NewPass(gpu.Inference)
	p.WriteF32(s.book, 0, rows)
	return p.Close()
}

// Second computes the gradients of a step of the second stage, and the codes [B Q] that were chosen.
func (s *Stage) Second(b *Batch) (l Losses, codes []int32, err error) {
	if err := s.requantize(); err != nil {
		return l, nil, err
	}
	p := s.dev.NewPass(gpu.Training)
	defer func() { err = errors.Join(err, p.Close()) }()
	silent := *b
	silent.Texts = nil
	f, codes, err := s.second(p, &silent)
	if err == nil {
		p.Backward(nil, nil)
	}
	return f.Losses, codes, err
}

// requantize makes the codebook that codes are chosen by of the one that is trained.
func (s *Stage) requantize() (err error) {
	if s.rows, err = s.Codebook(); err != nil {
		return err
	}
	return s.Model.Requantize(s.rows)
}

func (s *Stage) second(p *gpu.Pass, b *Batch) (f forward, codes []int32, err error) {
	m, c, w := s.Model, s.config, s.Weights
	var causal *gpu.Tensor
	if b.Causal != nil {
		causal = p.Floats(b.Causal, len(b.Causal)/c.Queries/c.QFormerWidth, c.Queries, c.QFormerWidth)
	} else {
		causal = p.Constant(func() *gpu.Tensor { return m.CausalQueries(p, m.Vision(p, s.images(p, b))) })
	}
	z := m.EncodeTask(p, causal) // [B Q D]
	ids := m.Quantize(p, z)
	e := m.CodeVectors(p, ids)
	codes = make([]int32, ids.Len())
	p.ReadI32(ids, codes)
	// VQ: both terms are the same number, and go to different sides.
	apart := p.Constant(func() *gpu.Tensor { return p.Add(z, p.Scale(e, -1)) })
	n := float64(z.Len())
	f.VQ = (1 + w.Commit) * p.SumSquares(apart) / n
	p.Pull(z, p.Scale(apart, float32(w.VQ*2/n)))
	p.Pull(e, p.Scale(apart, float32(-w.VQ*w.Commit*2/n)))

	y := m.DecodeTask(p, p.Through(e, z))
	restored := m.Reconstruct(p, y)
	back := p.RMSNorm(restored, s.unit, unitEps)
	want := p.Constant(func() *gpu.Tensor { return p.RMSNorm(causal, s.unit, unitEps) })
	// 1 - cos is half the squared distance of unit vectors; its gradient to one of them is minus the other, but for what lies
	// along itself, which the norm's gradient takes out.
	rows := float64(want.Dim(0) * want.Dim(1))
	f.Rec = p.SumSquares(p.Constant(func() *gpu.Tensor { return p.Add(back, p.Scale(want, -1)) })) / (2 * rows)
	p.Pull(back, p.Scale(want, float32(-w.Rec/rows)))

	x := m.ImageBranch(p, y)
	image := m.ImageHead(p, x)
	if !b.Untaught {
		teacher := s.teacher(p, causal, b)
		miss := p.Constant(func() *gpu.Tensor { return p.Add(image, p.Scale(teacher, -1)) })
		f.Image = p.SumSquares(miss) / float64(miss.Len())
		p.Pull(image, p.Scale(miss, float32(w.Image*2/float64(miss.Len()))))
	}

	f.Total = w.VQ*f.VQ + w.Rec*f.Rec + w.Image*f.Image
	if s.canvas != nil && b.Pictures > 0 {
		if b.Pictures < causal.Dim(0) {
			x = leading(p, x, b.Pictures)
		}
		f.Picture = s.draw(p, x, b)
		f.Total += w.Picture * f.Picture
	}
	if b.Texts != nil {
		f.image, f.text = m.ImageVectors(p, causal, c.Queries-1), m.TextVectors(p, b.Texts)
		f.decoded = m.ImageVectors(p, restored, c.Queries-1)
	}
	return f, codes, nil
}

// unitEps keeps a vector of zeros finite.
const unitEps = 1e-30

// teacher is what the image embedding is to become.
func (s *Stage) teacher(p *gpu.Pass, causal *gpu.Tensor, b *Batch) *gpu.Tensor {
	if b.Teacher != nil {
		return p.Floats(b.Teacher, causal.Dim(0), s.config.ImageEmbed)
	}
	return p.Constant(func() *gpu.Tensor {
		unit := s.Model.ImageVectors(p, causal, s.config.Queries-1)
		return p.Scale(unit, float32(math.Sqrt(float64(unit.Dim(1)))))
	})
}
