package card

import (
	"fmt"
	"strings"

	"sower/schemas"
)

// Trained is what a card says of a trained tokenizer beside its manifest.
type Trained struct {
	Images, Parameters              int64
	ImageSize, Codes, CodesPerImage int
	FirstSteps, SecondSteps         int
	// Of the last steps: the contrast's loss, the distance of reconstructed embeddings (1 - cosine), the codebook's loss, and the perplexity
	// of a batch's codes.
	Contrast, Rec, VQ, Perplexity float64
	// Held are pairs that were not trained on, 0 if there were none; Embedding and ByCodes their mean recall by each other, in percent.
	Held               int
	Embedding, ByCodes float64
}

// Tokenizer describes a folder of sower train-tokenizer.
func Tokenizer(m *schemas.Manifest, t Trained) []byte {
	held, folder := "", ""
	if t.Held > 0 {
		folder = "| validation/ | the pictures that rounds were measured on |\n"
		held = fmt.Sprintf("| mean recall among %d pairs not trained on, by embedding, by codes | %.1f %%, %.1f %% |\n", t.Held, t.Embedding, t.ByCodes)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "---\ntags:\n- seed-tokens\n- image-tokenizer\n---\n")
	fmt.Fprintf(&b, `# Image tokenizer

A SEED tokenizer trained by Sower on %d images: a picture of %d x %d pixels becomes %d codes of %d. %d parameters.

| of the last step | |
| --- | ---: |
| steps of the first stage, of the second | %d, %d |
| contrast of images and texts, nats | %.4f |
| 1 - cosine of reconstructed embeddings | %.4f |
| codebook's loss | %.5f |
| perplexity of a batch's codes | %.0f |
%s
How good it is on pictures that it has not seen, sower evaluate says:

`, t.Images, t.ImageSize, t.ImageSize, t.CodesPerImage, t.Codes, t.Parameters, t.FirstSteps, t.SecondSteps, t.Contrast, t.Rec, t.VQ, t.Perplexity, held)
	b.WriteString("```sh\nsower evaluate retrieval --input HELD_OUT --model THIS_FOLDER\nsower encode --input IMAGES --output corpus --model THIS_FOLDER\n```\n\n")
	b.WriteString("| file | what it is |\n| --- | --- |\n| config.json, model.safetensors | what --model reads: encoder, de-tokenizer and, if there is one, painter |\n" +
		"| text.safetensors, vocab.txt | the text tower and its words, for evaluation |\n| metrics.parquet | a row for each step of both stages |\n" +
		"| stage1/, stage2/ | commits: what a run that was stopped goes on from |\n| prepared/ | the small pictures that it was trained on |\n" + folder +
		"| _manifest.json | every file with its SHA-256; written last |\n\n")
	b.WriteString("## What made it\n\n")
	made(&b, m.Identity)
	return []byte(b.String())
}

// prepared describes the pictures that a tokenizer is trained on.
func prepared(m *schemas.Manifest) []byte {
	var b strings.Builder
	header(&b, []string{"image-text"}, splits(m, map[string]string{"train": "data/*.parquet"}))
	fmt.Fprintf(&b, `# Prepared pictures

%d pictures of %d x %d pixels with their captions, made by Sower for training an image tokenizer: column `+"`rgb`"+` is their bytes, row by row, red,
green and blue. rejects/ has a row for each input row without a picture.

## What made it

`, m.Counts.Encoded, m.Identity.ImageSize, m.Identity.ImageSize)
	made(&b, m.Identity)
	return []byte(b.String())
}

// evaluated describes what a tokenizer makes of pairs.
func evaluated(m *schemas.Manifest) []byte {
	var b strings.Builder
	header(&b, []string{"seed-tokens"}, splits(m, map[string]string{"test": "data/*.parquet"}))
	fmt.Fprintf(&b, `# Evaluation

What the tokenizer %s makes of %d images: codes, unit vectors of image, of what the codes give back, and of caption, and how near
reconstructions are. report.json and report.html sum it up.

## What made it

`, m.Model, m.Counts.Encoded)
	made(&b, m.Identity)
	return []byte(b.String())
}
