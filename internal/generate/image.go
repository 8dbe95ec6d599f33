package generate

import (
	"errors"
	"fmt"
	"os"

	"sower/gpu"
	"sower/gpu/models/seed"
	"sower/internal/pixels"
	"sower/internal/weights"
)

// ImageCodes are the codes of a generated image: its tokens but for the last, which ends it.
func (g *Generator) ImageCodes(ids []int32) []uint16 {
	codes := make([]uint16, len(ids)-1)
	for i := range codes {
		codes[i] = uint16(ids[i] - g.Vocabulary.Offset)
	}
	return codes
}

// OpenModel opens --model, and refuses other weights than those that made the codes that the adapter was trained on, where the manifest
// says which those were.
func (g *Generator) OpenModel(model string) (*weights.Model, error) {
	if g.Vocabulary == nil {
		return nil, g.noImages()
	}
	m, err := weights.Open(model)
	if err != nil {
		return nil, err
	}
	if err := g.sameModel(m); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func (g *Generator) sameModel(m *weights.Model) error {
	if m.IsNull() {
		return fmt.Errorf("generate: --model %s has no weights", m.Arg)
	}
	c := m.Config
	if int32(c.Codes) != g.Vocabulary.K || int32(c.Queries) != g.Vocabulary.ImageLength-2 {
		return fmt.Errorf("generate: --model %s makes %d codes of %d, the adapter was trained with %d of %d: give the --model of its corpus", m.Arg, c.Queries, c.Codes,
			g.Vocabulary.ImageLength-2, g.Vocabulary.K)
	}
	if want := g.option("codes_weights"); want != "" {
		digest, err := m.Digest()
		if err != nil {
			return err
		}
		if digest != want {
			return fmt.Errorf("generate: --model %s has weights %.12s, the codes that the adapter was trained on were made by %.12s: give the weights that made the codes", m.Arg, digest, want)
		}
	}
	return nil
}

// Codes encodes a picture with the weights of --model as the corpus of the adapter was.
func (g *Generator) Codes(dev *gpu.Device, model, file string) ([]uint16, error) {
	m, err := g.OpenModel(model)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	c := m.Config
	filter := pixels.Bicubic
	if g.Manifest != nil && g.Manifest.Identity.Resize != "" {
		if filter, err = pixels.ParseFilter(g.Manifest.Identity.Resize); err != nil {
			return nil, fmt.Errorf("generate: --adapter %s: %w", g.config.Adapter, err)
		}
	}
	rgb := make([]byte, c.ImageBytes())
	st, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("generate: --image-file: %w", err)
	}
	if st.Size() > pixels.DefaultMaxBytes {
		return nil, fmt.Errorf("generate: --image-file %s: %d bytes, more than %d", file, st.Size(), pixels.DefaultMaxBytes)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("generate: --image-file: %w", err)
	}
	if _, _, err := pixels.Prepare(rgb, data, c.ImageSize, filter, pixels.Limits{}); err != nil {
		return nil, fmt.Errorf("generate: --image-file %s: %w", file, err)
	}
	s, err := seed.Load(dev, m.Source, c, seed.Encode)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	codes, finite := make([]uint16, c.Queries), make([]bool, 1)
	if err := s.Encode(rgb, 1, codes, finite); err != nil {
		return nil, err
	}
	if !finite[0] {
		return nil, fmt.Errorf("generate: --image-file %s: the model's numbers are not finite: the weights of --model %s are damaged", file, model)
	}
	return codes, nil
}
