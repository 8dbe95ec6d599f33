package seed

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Config is the sizes of a tokenizer, with the names of config.json.
type Config struct {
	ImageSize int `json:"image_size"` // S, pixels a side
	PatchSize int `json:"patch_size"` // pixels a side

	ViTWidth int `json:"vit_width"` // W
	ViTDepth int `json:"vit_depth"` // blocks that are run; EVA-CLIP-g has one more
	ViTHeads int `json:"vit_heads"`
	ViTMLP   int `json:"vit_mlp"` // width of the hidden layer

	Queries      int `json:"queries"`       // Q, codes of an image
	QFormerWidth int `json:"qformer_width"` // H, also of the de-tokenizer
	QFormerDepth int `json:"qformer_depth"`
	QFormerHeads int `json:"qformer_heads"`
	QFormerMLP   int `json:"qformer_mlp"`
	CrossEvery   int `json:"cross_every"` // layers 0, n, 2n, … look at the image

	Codes     int `json:"codes"`      // K, rows of the codebook
	CodeWidth int `json:"code_width"` // D, elements of a row

	DecodeDepth int `json:"decode_depth"`
	DecodeHeads int `json:"decode_heads"`
	DecodeMLP   int `json:"decode_mlp"`
	ImageEmbed  int `json:"image_embed"` // elements of the image embedding that unCLIP decodes

	// Bidirectional lets every query see all the others, for comparison: codes are then no longer causal. SEED's are.
	Bidirectional bool `json:"bidirectional,omitempty"`

	// Text and Painter are parts that only some models have: nil is none.
	Text    *Text    `json:"text,omitempty"`
	Painter *Painter `json:"painter,omitempty"`
}

// Text is the sizes of the text tower that the first stage of training contrasts images with.
type Text struct {
	Vocabulary int `json:"vocab"`     // V, words with the special ones
	Positions  int `json:"positions"` // tokens of a text at most
	Embed      int `json:"embed"`     // elements of the space that images and texts share
}

// Painter is the sizes of the decoder that draws a picture from codes, for small models. It is this program's own: the published
// system draws with Stable Diffusion.
type Painter struct {
	Depth  int `json:"depth"`  // blocks
	Coarse int `json:"coarse"` // points a side of the coarse picture
}

// Published is the sizes of the SEED-2 tokenizer: 1.15 billion parameters, 32 codes of 8192.
func Published() Config {
	return Config{ImageSize: 224, PatchSize: 14, ViTWidth: 1408, ViTDepth: 39, ViTHeads: 16, ViTMLP: 6144,
		Queries: 32, QFormerWidth: 768, QFormerDepth: 12, QFormerHeads: 12, QFormerMLP: 3072, CrossEvery: 2,
		Codes: 8192, CodeWidth: 32, DecodeDepth: 4, DecodeHeads: 12, DecodeMLP: 3072, ImageEmbed: 1024}
}

// Tiny is the same architecture for tests: milliseconds an image.
func Tiny() Config {
	return Config{ImageSize: 56, PatchSize: 14, ViTWidth: 64, ViTDepth: 3, ViTHeads: 4, ViTMLP: 160,
		Queries: 32, QFormerWidth: 48, QFormerDepth: 4, QFormerHeads: 4, QFormerMLP: 96, CrossEvery: 2,
		Codes: 512, CodeWidth: 32, DecodeDepth: 2, DecodeHeads: 4, DecodeMLP: 192, ImageEmbed: 40}
}

// ParseConfig reads config.json. Sizes that it does not name are the published ones; other keys are not ours to judge.
func ParseConfig(data []byte) (Config, error) {
	c := Published()
	if err := json.Unmarshal(data, &c); err != nil {
		return Config{}, fmt.Errorf("seed: config: %w", err)
	}
	return c, c.Validate()
}

// Patches is P, the squares that an image is cut into; the vision transformer has one token more.
func (c Config) Patches() int {
	side := c.ImageSize / c.PatchSize
	return side * side
}

// ImageBytes is the bytes of one image: S x S pixels of red, green and blue.
func (c Config) ImageBytes() int { return 3 * c.ImageSize * c.ImageSize }

// Validate names everything that is impossible about the sizes.
func (c Config) Validate() error {
	var errs []error
	for _, f := range []struct {
		name  string
		value int
	}{
		{"image_size", c.ImageSize}, {"patch_size", c.PatchSize}, {"vit_width", c.ViTWidth}, {"vit_depth", c.ViTDepth},
		{"vit_heads", c.ViTHeads}, {"vit_mlp", c.ViTMLP}, {"queries", c.Queries}, {"qformer_width", c.QFormerWidth},
		{"qformer_depth", c.QFormerDepth}, {"qformer_heads", c.QFormerHeads}, {"qformer_mlp", c.QFormerMLP},
		{"cross_every", c.CrossEvery}, {"codes", c.Codes}, {"code_width", c.CodeWidth}, {"decode_depth", c.DecodeDepth},
		{"decode_heads", c.DecodeHeads}, {"decode_mlp", c.DecodeMLP}, {"image_embed", c.ImageEmbed},
	} {
		if f.value < 1 {
			errs = append(errs, fmt.Errorf("seed: config: %s is %d, want 1 or more", f.name, f.value))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	for _, f := range []struct {
		name, by string
		value, n int
	}{
		{"image_size", "patch_size", c.ImageSize, c.PatchSize},
		{"vit_width", "vit_heads", c.ViTWidth, c.ViTHeads},
		{"qformer_width", "qformer_heads", c.QFormerWidth, c.QFormerHeads},
		{"qformer_width", "decode_heads", c.QFormerWidth, c.DecodeHeads},
	} {
		if f.value%f.n != 0 {
			errs = append(errs, fmt.Errorf("seed: config: %s is %d, want a multiple of %s, %d", f.name, f.value, f.by, f.n))
		}
	}
	if t := c.Text; t != nil && (t.Vocabulary < 1 || t.Positions < 1 || t.Embed < 1) {
		errs = append(errs, fmt.Errorf("seed: config: text is %+v, want 1 or more of each", *t))
	}
	if p := c.Painter; p != nil && (p.Depth < 0 || p.Coarse < 1 || p.Coarse > c.ImageSize) {
		errs = append(errs, fmt.Errorf("seed: config: painter is %+v, want 0 blocks or more and 1 to image_size points", *p))
	}
	if c.Codes > 1<<16 {
		errs = append(errs, fmt.Errorf("seed: config: codes is %d, want at most 65536, as codes are stored in 16 bits", c.Codes))
	}
	return errors.Join(errs...)
}
