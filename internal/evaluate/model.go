package evaluate

import (
	"errors"
	"fmt"

	"sower/gpu"
	"sower/gpu/models/seed"
	"sower/internal/trainer"
	"sower/internal/weights"
)

// Model is a tokenizer with all that evaluation needs.
type Model struct {
	*seed.Model
	dev    *gpu.Device
	texts  *trainer.Texts // nil without a text tower
	canvas *seed.Canvas   // nil without a painter
}

// Parts are those of a model that evaluation uses.
func Parts(c seed.Config) seed.Parts {
	parts := seed.Encode | seed.Detokenize | seed.Reconstruct
	if c.Text != nil {
		parts |= seed.Texts
	}
	if c.Painter != nil {
		parts |= seed.Painting
	}
	return parts
}

// Open loads a tokenizer onto a device of its own. Words that the text tower does not know are left out, or become [UNK].
func Open(w *weights.Model, device string, threads int, dropUnknown bool) (*Model, error) {
	dev, err := gpu.Open(device, gpu.Options{Threads: threads})
	if err != nil {
		return nil, err
	}
	m := &Model{dev: dev}
	if m.Model, err = seed.Load(dev, w.Source, w.Config, Parts(w.Config)); err != nil {
		return nil, errors.Join(err, dev.Close())
	}
	if w.Config.Text != nil {
		raw, err := w.Vocabulary()
		if err == nil {
			m.texts, err = trainer.ParseTexts(raw, w.Config.Text.Positions, dropUnknown)
		}
		if err != nil {
			return nil, errors.Join(err, m.Close())
		}
	}
	if w.Config.Painter != nil {
		m.canvas = seed.NewCanvas(w.Config)
	}
	return m, nil
}

// Close gives model and device back.
func (m *Model) Close() error { return errors.Join(m.Model.Close(), m.dev.Close()) }

// HasTexts reports whether the model has a text tower.
func (m *Model) HasTexts() bool { return m.texts != nil }

// FromCodes are the image vectors that blocks of codes alone give back, each of unit length and as wide as those of Caption.
func (m *Model) FromCodes(blocks [][]uint16) ([][]float32, error) {
	c := m.Config()
	if m.texts == nil {
		return nil, errors.New("evaluate: the model has no text tower")
	}
	ids := make([]int32, 0, len(blocks)*c.Queries)
	for _, block := range blocks {
		if len(block) != c.Queries {
			return nil, fmt.Errorf("evaluate: an image of %d codes, want %d", len(block), c.Queries)
		}
		for _, code := range block {
			if int(code) >= c.Codes {
				return nil, fmt.Errorf("evaluate: code %d of %d", code, c.Codes)
			}
			ids = append(ids, int32(code))
		}
	}
	var out [][]float32
	for from := 0; from < len(blocks); from += batch {
		n := min(batch, len(blocks)-from)
		p := m.dev.NewPass(gpu.Inference)
		y := m.DecodeTask(p, m.CodeVectors(p, p.IDs(ids[from*c.Queries:(from+n)*c.Queries], n, c.Queries)))
		v := m.ImageVectors(p, m.Reconstruct(p, y), c.Queries-1)
		host := make([]float32, v.Len())
		p.ReadF32(v, host)
		if err := p.Close(); err != nil {
			return nil, err
		}
		for i := range n {
			out = append(out, host[i*c.Text.Embed:(i+1)*c.Text.Embed])
		}
	}
	return out, nil
}

// Captions are the known words of texts and their vectors.
func (m *Model) Captions(texts []string) (words [][]int32, vectors [][]float32, err error) {
	if m.texts == nil {
		return nil, nil, errors.New("evaluate: the model has no text tower")
	}
	width := m.Config().Text.Embed
	for from := 0; from < len(texts); from += batch {
		part := texts[from:min(from+batch, len(texts))]
		var framed [][]int32
		for _, t := range part {
			words = append(words, m.texts.Words(t))
			framed = append(framed, m.texts.Frame(words[len(words)-1]))
		}
		p := m.dev.NewPass(gpu.Inference)
		v := m.TextVectors(p, framed)
		host := make([]float32, v.Len())
		p.ReadF32(v, host)
		if err := p.Close(); err != nil {
			return nil, nil, err
		}
		for i := range part {
			vectors = append(vectors, host[i*width:(i+1)*width])
		}
	}
	return words, vectors, nil
}
