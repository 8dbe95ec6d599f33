package interleave

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"sower/internal/blob"
	"sower/internal/text"
	"sower/schemas"
)

// ImageWords is a tokenizer with image words: the Words of real runs.
type ImageWords struct {
	Vocabulary schemas.Vocabulary
	Warnings   []string

	images *text.Images
	begin  string // texts of <img> and </img>, which seams are made with
	end    string
}

// publishedCodes is the size of the published codebook.
const publishedCodes = 8192

// OpenWords opens a tokenizer and adds words for k image codes, perImage of them an image. Where no image says how many codes
// there are, k is 0: as many as the tokenizer has words for, else room for the published codes.
func OpenWords(path, rules string, k, perImage int) (*ImageWords, error) {
	t, err := text.Open(path, text.Options{Rules: rules})
	if err != nil {
		return nil, err
	}
	if k == 0 {
		k = cmp.Or(text.CountImageTokens(t), publishedCodes)
	}
	images, err := text.Extend(t, k)
	if err != nil {
		return nil, err
	}
	if !images.Contiguous() {
		return nil, fmt.Errorf("interleave: tokenizer %s has image words whose ids do not follow each other: sequences could not say what they mean", path)
	}
	v := images.Vocab()
	w := &ImageWords{images: images, Warnings: t.Warnings, begin: "<img>", end: "</img>", Vocabulary: schemas.Vocabulary{
		Tokenizer: t.Kind, Digest: v.Digest, Rules: t.Rules, Offset: images.Offset, K: int32(k), Begin: images.Begin, End: images.End,
		Pad: v.Pad, BOS: v.BOS, EOS: v.EOS, Unk: v.Unk, Length: int32(v.Size), ImageLength: int32(perImage) + 2,
	}}
	if w.Vocabulary.Length <= max(images.Begin, images.End) {
		return nil, fmt.Errorf("interleave: tokenizer %s: %d ids, but <img> is %d and </img> %d", path, v.Size, images.Begin, images.End)
	}
	return w, nil
}

// BOS is -1 where the tokenizer has none.
func (w *ImageWords) BOS() int32 { return w.Vocabulary.BOS }

// EOS is -1 where the tokenizer has none.
func (w *ImageWords) EOS() int32 { return w.Vocabulary.EOS }

// Image appends <img>, the codes and </img>.
func (w *ImageWords) Image(dst []int32, codes []uint16) []int32 {
	dst = append(dst, w.Vocabulary.Begin)
	for _, c := range codes {
		dst = append(dst, w.Vocabulary.Offset+int32(c))
	}
	return append(dst, w.Vocabulary.End)
}

// Text appends the ids of a text. At a seam the neighbouring image word is tokenized with it and taken off again, so that the
// white space there is treated as the tokenizer would in the assembled text.
func (w *ImageWords) Text(dst []int32, s string, afterImage, beforeImage bool) []int32 {
	if s == "" {
		return dst
	}
	s = defused(s)
	if afterImage {
		s = w.end + s
	}
	if beforeImage {
		s += w.begin
	}
	at := len(dst)
	dst = w.images.Encode(dst, s)
	if beforeImage && len(dst) > at && dst[len(dst)-1] == w.Vocabulary.Begin {
		dst = dst[:len(dst)-1]
	}
	if afterImage && len(dst) > at && dst[at] == w.Vocabulary.End {
		copy(dst[at:], dst[at+1:])
		dst = dst[:len(dst)-1]
	}
	return dst
}

// defused breaks up what a text writes like image words: a caption must not be able to write images, whole or broken.
func defused(s string) string {
	if !strings.Contains(s, "<img") && !strings.Contains(s, "</img") {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "<img", "< img"), "</img", "</ img")
}

// Decode gives text for eyes; images are for the caller.
func (w *ImageWords) Decode(ids []int32) string { return w.images.Decode(ids) }

// WriteFolder writes the tokenizer with its image words in Hugging Face's form.
func (w *ImageWords) WriteFolder(ctx context.Context, b *blob.Bucket, dir string) error {
	warnings, err := text.WriteFolder(ctx, b, dir, w.images.Tokenizer)
	w.Warnings = append(w.Warnings, warnings...)
	return err
}
