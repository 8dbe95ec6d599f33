package evaluate

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"sower/internal/blob"
	"sower/internal/corpus"
	"sower/internal/evaluate/retrieval"
	"sower/schemas"
)

// Prefix is retrieval after the first codes.
type Prefix struct {
	Codes     int     `json:"codes"`
	Embedding float64 `json:"embedding"` // image to text, recall at 1
	Decoded   float64 `json:"decoded"`
	Bits      float64 `json:"bits"` // entropy of these codes, place by place
}

// Retrieval is what pictures and captions find of each other.
type Retrieval struct {
	Gallery   int            `json:"gallery"`
	Embedding retrieval.Both `json:"embedding"`
	// Decoded is of what the codes alone give back; Share is its mean over that of the embedding.
	Decoded retrieval.Both `json:"decoded"`
	Share   float64        `json:"share"`
	// DecodedZ is of what the same vectors give back when they are not quantized; nil of rows that an earlier version wrote.
	DecodedZ *retrieval.Both `json:"before_quantization,omitempty"`
	Prefixes []Prefix        `json:"prefixes"`
}

// Usage is how the codebook is used.
type Usage struct {
	Codes      int     `json:"codes"` // rows of the codebook
	Used       int     `json:"used"`
	Dead       int     `json:"dead"`
	Perplexity float64 `json:"perplexity"`
	// Bits is the mean entropy of a code given its place; BitsOfAll that of all places together, both of at most log2(codes).
	Bits      float64 `json:"bits"`
	BitsOfAll float64 `json:"bits_of_all"`
	Distinct  int     `json:"distinct_images"` // images with codes that no other has
}

// Reconstruction is how much of an image the codes keep.
type Reconstruction struct {
	Cosine float64 `json:"cosine"`
	// Of drawn pictures, from codes and from the vectors before they were quantized; nil without a painter.
	PSNR  *float64 `json:"psnr,omitempty"`
	SSIM  *float64 `json:"ssim,omitempty"`
	PSNRz *float64 `json:"psnr_before_quantization,omitempty"`
	SSIMz *float64 `json:"ssim_before_quantization,omitempty"`
}

// Report is all that evaluation found.
type Report struct {
	Model          string                  `json:"model"`
	Weights        string                  `json:"weights"`
	Images         int                     `json:"images"`
	Rejected       int64                   `json:"rejected"`
	Retrieval      *Retrieval              `json:"retrieval,omitempty"`
	Usage          Usage                   `json:"usage"`
	Reconstruction Reconstruction          `json:"reconstruction"`
	counts         []int64                 // of each code
	places         []int                   // distinct codes of each place
	rows           []schemas.EvaluationRow // for a grid
}

// Gallery says which pairs count for retrieval: captions that differ after unknown words are gone, with at least so many known words, and
// that training did not see.
type Gallery struct {
	Most, MinWords int
	Seen           map[string]bool
}

// Analyze reads the rows of a finished run.
func Analyze(ctx context.Context, b *blob.Bucket, m *schemas.Manifest, g Gallery) (*Report, error) {
	r := &Report{Model: m.Model, Weights: m.Identity.Weights, Rejected: m.Counts.RejectedTotal()}
	var rows []schemas.EvaluationRow
	for _, f := range m.Files {
		if !strings.HasPrefix(f.Path, "data/") {
			continue
		}
		if err := corpus.Read(ctx, b, f.Path, func(row schemas.EvaluationRow) error { rows = append(rows, row); return nil }); err != nil {
			return nil, err
		}
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("evaluate: no picture could be read: see rejects/ in %s", b.URL())
	}
	r.rows, r.Images = rows, len(rows)
	r.usage(rows, m.Identity.Codes, m.Identity.CodesPerImage)
	r.reconstruction(rows)
	chosen := g.Choose(rows)
	if len(chosen) > 1 {
		r.retrieval(chosen, m.Identity.CodesPerImage)
	}
	return r, nil
}

// Choose picks the pairs that count, in the order of the input.
func (g Gallery) Choose(rows []schemas.EvaluationRow) (out []*schemas.EvaluationRow) {
	taken := map[string]bool{}
	for i := range rows {
		r := &rows[i]
		if r.Text == nil || len(r.TextVector) == 0 || len(r.Words) < g.MinWords || g.Seen[*r.Text] {
			continue
		}
		key := fmt.Sprint(r.Words)
		if taken[key] {
			continue
		}
		taken[key] = true
		if out = append(out, r); len(out) == g.Most {
			break
		}
	}
	return out
}

func (r *Report) usage(rows []schemas.EvaluationRow, k, queries int) {
	r.counts = make([]int64, k)
	byPlace := make([]map[uint16]int, queries)
	for i := range byPlace {
		byPlace[i] = map[uint16]int{}
	}
	images := map[string]int{}
	for _, row := range rows {
		for i, c := range row.Codes {
			r.counts[c]++
			byPlace[i][c]++
		}
		images[fmt.Sprint(row.Codes)]++
	}
	u := &r.Usage
	u.Codes = k
	total := float64(len(rows) * queries)
	nats := 0.0
	for _, n := range r.counts {
		if n > 0 {
			u.Used++
			nats -= float64(n) / total * math.Log(float64(n)/total)
		}
	}
	u.Dead, u.Perplexity, u.BitsOfAll = k-u.Used, math.Exp(nats), nats/math.Ln2
	for _, m := range byPlace {
		u.Bits += entropy(m, len(rows)) / float64(queries)
		r.places = append(r.places, len(m))
	}
	for _, n := range images {
		if n == 1 {
			u.Distinct++
		}
	}
}

// entropy is in bits.
func entropy(counts map[uint16]int, total int) (bits float64) {
	keys := make([]uint16, 0, len(counts))
	for k := range counts {
		keys = append(keys, k)
	}
	slices.Sort(keys) // sums in one order give one number
	for _, k := range keys {
		p := float64(counts[k]) / float64(total)
		bits -= p * math.Log2(p)
	}
	return bits
}

func (r *Report) reconstruction(rows []schemas.EvaluationRow) {
	mean := func(of func(*schemas.EvaluationRow) *float64) *float64 {
		sum := 0.0
		for i := range rows {
			v := of(&rows[i])
			if v == nil {
				return nil
			}
			sum += *v
		}
		sum /= float64(len(rows))
		return &sum
	}
	c := &r.Reconstruction
	c.Cosine = *mean(func(r *schemas.EvaluationRow) *float64 { return &r.Cosine })
	c.PSNR, c.SSIM = mean(func(r *schemas.EvaluationRow) *float64 { return r.PSNR }), mean(func(r *schemas.EvaluationRow) *float64 { return r.SSIM })
	c.PSNRz, c.SSIMz = mean(func(r *schemas.EvaluationRow) *float64 { return r.PSNRz }), mean(func(r *schemas.EvaluationRow) *float64 { return r.SSIMz })
}

func (r *Report) retrieval(rows []*schemas.EvaluationRow, queries int) {
	prefixes := Prefixes(queries)
	width := len(rows[0].TextVector)
	texts := vectors(rows, func(r *schemas.EvaluationRow) []float32 { return r.TextVector })
	part := func(which func(*schemas.EvaluationRow) []float32, prefix int) [][]float32 {
		return vectors(rows, func(r *schemas.EvaluationRow) []float32 { return which(r)[prefix*width : (prefix+1)*width] })
	}
	image := func(r *schemas.EvaluationRow) []float32 { return r.Image }
	decoded := func(r *schemas.EvaluationRow) []float32 { return r.Decoded }
	last := len(prefixes) - 1
	t := &Retrieval{Gallery: len(rows), Embedding: retrieval.Of(part(image, last), texts), Decoded: retrieval.Of(part(decoded, last), texts)}
	t.Share = t.Decoded.Mean / max(t.Embedding.Mean, 1e-9)
	if len(rows[0].DecodedZ) == width {
		z := retrieval.Of(vectors(rows, func(r *schemas.EvaluationRow) []float32 { return r.DecodedZ }), texts)
		t.DecodedZ = &z
	}
	bits := 0.0
	at := 0
	for i, k := range prefixes {
		for ; at < k; at++ {
			counts := map[uint16]int{}
			for j := range r.rows {
				counts[r.rows[j].Codes[at]]++
			}
			bits += entropy(counts, len(r.rows))
		}
		t.Prefixes = append(t.Prefixes, Prefix{Codes: k, Embedding: retrieval.RecallOf(part(image, i), texts).At1, Decoded: retrieval.RecallOf(part(decoded, i), texts).At1, Bits: bits})
	}
	r.Retrieval = t
}

func vectors(rows []*schemas.EvaluationRow, of func(*schemas.EvaluationRow) []float32) [][]float32 {
	out := make([][]float32, len(rows))
	for i, r := range rows {
		out[i] = of(r)
	}
	return out
}

// Lines is the report as a table of words.
func (r *Report) Lines() string {
	var b strings.Builder
	f := func(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }
	fmt.Fprintf(&b, "%d images, %d rejected\n", r.Images, r.Rejected)
	if t := r.Retrieval; t != nil {
		fmt.Fprintf(&b, "\nretrieval among %d pairs, recall at 1 / 5 / 10 in %%\n", t.Gallery)
		row := func(name string, x retrieval.Both) {
			fmt.Fprintf(&b, "  %-12s image to text %5s %5s %5s   text to image %5s %5s %5s   mean %5s\n", name, f(x.ImageToText.At1), f(x.ImageToText.At5), f(x.ImageToText.At10),
				f(x.TextToImage.At1), f(x.TextToImage.At5), f(x.TextToImage.At10), f(x.Mean))
		}
		row("embedding", t.Embedding)
		row("codes", t.Decoded)
		fmt.Fprintf(&b, "  codes keep %.2f of the embedding's mean", t.Share)
		if t.DecodedZ != nil {
			fmt.Fprintf(&b, " (before quantization %.2f)", t.DecodedZ.Mean/max(t.Embedding.Mean, 1e-9))
		}
		fmt.Fprintln(&b)
		fmt.Fprintf(&b, "  after the first codes, image to text at 1:")
		for _, p := range t.Prefixes {
			fmt.Fprintf(&b, "  %d: %s (codes %s)", p.Codes, f(p.Embedding), f(p.Decoded))
		}
		fmt.Fprintln(&b)
	}
	u := r.Usage
	fmt.Fprintf(&b, "\ncodes: %d of %d used, perplexity %.0f, %.2f bits a code by its place (%.2f without), %d of %d images have codes of their own\n", u.Used, u.Codes, u.Perplexity, u.Bits,
		u.BitsOfAll, u.Distinct, r.Images)
	c := r.Reconstruction
	fmt.Fprintf(&b, "embeddings from codes: cosine %.3f\n", c.Cosine)
	if c.PSNR != nil {
		fmt.Fprintf(&b, "pictures from codes: PSNR %.1f dB, SSIM %.2f (before quantization %.1f dB, %.2f)\n", *c.PSNR, *c.SSIM, *c.PSNRz, *c.SSIMz)
	}
	return b.String()
}
