// Package language measures what a language model has learned of a tokenizer's codes, on pairs that neither has seen: how many bits a
// code of a caption's picture costs, how often it writes a whole image by itself, and whether the images that it makes find their caption
// again among others.
package language

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"sower/internal/evaluate"
	"sower/internal/evaluate/retrieval"
	"sower/internal/generate"
	"sower/schemas"
)

// Options say how it is measured.
type Options struct {
	Template string // layout of prompts; "" is that of the adapter's corpus
	generate.Sampler
	Batch    int // rows continued side by side; results do not depend on it
	Gallery  evaluate.Gallery
	Baseline *Counts // nil: none
	// Done, if any, is told how many of how many steps are done.
	Done func(done, all int)
}

// Report is what was found.
type Report struct {
	Images      int `json:"images"`
	WithoutText int `json:"without_text"` // rows that were left out
	TooLong     int `json:"too_long"`     // rows that were left out: their captions do not fit the model
	// Bits is what a code of the true image costs behind its caption and the codes before it, of all tokens of the vocabulary; Uniform is
	// what it costs of one who knows nothing but the codebook's size, Baseline of one who knows how often each code is used at each place.
	// Swapped is what a code costs behind the caption of another image: what is less behind its own is what the caption says of it.
	Bits     float64   `json:"bits_per_code"`
	Swapped  float64   `json:"bits_behind_another_caption"`
	Uniform  float64   `json:"uniform_bits"`
	Baseline *float64  `json:"baseline_bits,omitempty"`
	ByPlace  []float64 `json:"bits_by_place"`
	// Whole is the share of images, in percent, that have all their codes and then </img> when any token may follow <img>.
	Whole float64 `json:"whole_images"`
	// Of captions found by what codes give back, among Gallery of them: the codes that the model made of each caption, and the true ones.
	Gallery   int              `json:"gallery"`
	Generated retrieval.Recall `json:"generated_to_text"`
	True      retrieval.Recall `json:"true_to_text"`
}

// Measure measures a generator on rows of a code table. The codes must be those that its adapter was trained on, and m the tokenizer that
// made them.
func Measure(ctx context.Context, g *generate.Generator, m *evaluate.Model, rows []schemas.CodeRow, o Options) (*Report, error) {
	r := &Report{Uniform: math.Log2(float64(g.Vocabulary.K))}
	s := &study{g: g, o: &o, report: r}
	if err := s.take(rows); err != nil {
		return nil, err
	}
	if len(s.rows) == 0 {
		return nil, fmt.Errorf("evaluate: none of %d rows has a caption that fits the model: give a corpus of pairs", len(rows))
	}
	r.Images = len(s.rows)
	s.all = 3 * len(s.rows)
	if err := s.bits(ctx); err != nil {
		return nil, err
	}
	free, err := s.generate(ctx, generate.Free)
	if err != nil {
		return nil, err
	}
	whole := 0
	for _, ids := range free {
		if s.whole(ids) {
			whole++
		}
	}
	r.Whole = 100 * float64(whole) / float64(len(free))
	made, err := s.generate(ctx, generate.Image)
	if err != nil {
		return nil, err
	}
	return r, s.retrieve(m, made)
}

// study is a measurement at work.
type study struct {
	g       *generate.Generator
	o       *Options
	report  *Report
	rows    []schemas.CodeRow
	prompts [][]int32 // each ends in <img>
	all, at int
}

func (s *study) done(n int) {
	s.at += n
	if s.o.Done != nil {
		s.o.Done(s.at, s.all)
	}
}

// take keeps the rows that can be measured, with their prompts.
func (s *study) take(rows []schemas.CodeRow) error {
	v := s.g.Vocabulary
	limit := s.g.Model.Sizes().Positions
	for _, r := range rows {
		if r.Text == nil || strings.TrimSpace(*r.Text) == "" {
			s.report.WithoutText++
			continue
		}
		if len(r.Codes) != int(v.ImageLength)-2 {
			return fmt.Errorf("evaluate: row %d of %s has %d codes, the adapter was trained with %d", r.Row, r.Source, len(r.Codes), v.ImageLength-2)
		}
		for _, code := range r.Codes {
			if int32(code) >= v.K {
				return fmt.Errorf("evaluate: row %d of %s has code %d, the adapter was trained with %d", r.Row, r.Source, code, v.K)
			}
		}
		prompt, err := s.g.ImagePrompt(cmp.Or(s.o.Template, s.g.Template()), *r.Text)
		if err != nil {
			return err
		}
		if len(prompt)+int(v.ImageLength)-1 > limit {
			s.report.TooLong++
			continue
		}
		s.rows, s.prompts = append(s.rows, r), append(s.prompts, prompt)
	}
	return nil
}

// bits scores the true codes.
func (s *study) bits(ctx context.Context) error {
	r := s.report
	r.ByPlace = make([]float64, s.g.Vocabulary.ImageLength-2)
	baseline := 0.0
	swapped := 0.0
	for i, row := range s.rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		own, err := s.score(s.prompts[i], row.Codes)
		if err != nil {
			return err
		}
		other, err := s.score(s.prompts[(i+(len(s.rows)+1)/2)%len(s.rows)], row.Codes)
		if err != nil {
			return err
		}
		for place, code := range row.Codes {
			r.ByPlace[place] += own[place]
			swapped += other[place]
			if s.o.Baseline != nil {
				baseline += s.o.Baseline.Bits(place, code)
			}
		}
		s.done(1)
	}
	n := float64(len(s.rows))
	for place := range r.ByPlace {
		r.ByPlace[place] /= n
		r.Bits += r.ByPlace[place] / float64(len(r.ByPlace))
	}
	r.Swapped = swapped / (n * float64(len(r.ByPlace)))
	if s.o.Baseline != nil {
		baseline /= n * float64(len(r.ByPlace))
		r.Baseline = &baseline
	}
	if math.IsNaN(r.Bits) || math.IsInf(r.Bits, 0) {
		return errors.New("evaluate: the language model's scores are not finite: weights or adapter are damaged")
	}
	return nil
}

// score is what each code costs behind a prompt and the codes before it.
func (s *study) score(prompt []int32, codes []uint16) ([]float64, error) {
	v := s.g.Vocabulary
	ids := append([]int32(nil), prompt...)
	for _, code := range codes[:len(codes)-1] {
		ids = append(ids, v.Offset+int32(code))
	}
	scores, width, err := s.g.Scores(ids)
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(codes))
	from := len(prompt) - 1 // behind <img>
	for place, code := range codes {
		out[place] = surprise(scores[(from+place)*width:(from+place+1)*width], int(v.Offset)+int(code))
	}
	return out, nil
}

// surprise is -log2 of a token's probability.
func surprise(scores []float32, id int) float64 {
	top := math.Inf(-1)
	for _, v := range scores {
		top = max(top, float64(v))
	}
	sum := 0.0
	for _, v := range scores {
		sum += math.Exp(float64(v) - top)
	}
	return (math.Log(sum) + top - float64(scores[id])) / math.Ln2
}

// generate draws an image of each caption.
func (s *study) generate(ctx context.Context, mode generate.Mode) (out [][]int32, err error) {
	run := generate.Run{Sampler: s.o.Sampler, Tokens: int(s.g.Vocabulary.ImageLength) - 1}
	batch := max(s.o.Batch, 1)
	for from := 0; from < len(s.rows); from += batch {
		var rows []generate.Row
		for i := from; i < min(from+batch, len(s.rows)); i++ {
			rows = append(rows, generate.Row{Prompt: s.prompts[i], Mode: mode, Stream: uint64(i)})
		}
		results, err := s.g.Generate(ctx, rows, run)
		if err != nil {
			return nil, err
		}
		for _, r := range results {
			out = append(out, r.IDs)
		}
		s.done(len(rows))
	}
	return out, nil
}

// whole reports whether tokens behind <img> are all codes of an image and then </img>.
func (s *study) whole(ids []int32) bool {
	v := s.g.Vocabulary
	n := int(v.ImageLength) - 2
	if len(ids) != n+1 || ids[n] != v.End {
		return false
	}
	for _, id := range ids[:n] {
		if id < v.Offset || id >= v.Offset+v.K {
			return false
		}
	}
	return true
}

// retrieve looks for captions by codes: by those that were made, and by the true ones.
func (s *study) retrieve(m *evaluate.Model, made [][]int32) error {
	var texts []string
	var truth, drawn [][]uint16
	for i, row := range s.rows {
		texts, truth, drawn = append(texts, *row.Text), append(truth, row.Codes), append(drawn, s.g.ImageCodes(made[i]))
	}
	words, vectors, err := m.Captions(texts)
	if err != nil {
		return err
	}
	ofTruth, err := m.FromCodes(truth)
	if err != nil {
		return err
	}
	ofDrawn, err := m.FromCodes(drawn)
	if err != nil {
		return err
	}
	rows := make([]schemas.EvaluationRow, len(texts))
	for i := range rows {
		rows[i] = schemas.EvaluationRow{Text: &texts[i], Words: words[i], TextVector: vectors[i], Image: ofTruth[i], Decoded: ofDrawn[i]}
	}
	chosen := s.o.Gallery.Choose(rows)
	if len(chosen) < 2 {
		return errors.New("evaluate: fewer than two captions can be told apart: give more pairs, or lower --min-words")
	}
	var captions, a, b [][]float32
	for _, row := range chosen {
		captions, a, b = append(captions, row.TextVector), append(a, row.Image), append(b, row.Decoded)
	}
	r := s.report
	r.Gallery, r.True, r.Generated = len(chosen), retrieval.RecallOf(a, captions), retrieval.RecallOf(b, captions)
	return nil
}

// Lines is the report as a table of words.
func (r *Report) Lines() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d images, left out: %d without a caption, %d with one that is too long\n\n", r.Images, r.WithoutText, r.TooLong)
	fmt.Fprintf(&b, "a code costs %.2f bits behind caption and codes before it (uniform %.2f", r.Bits, r.Uniform)
	if r.Baseline != nil {
		fmt.Fprintf(&b, ", counts of each place %.2f", *r.Baseline)
	}
	fmt.Fprintf(&b, ")\n  behind the caption of another image %.2f: a caption tells %.2f bits of each code\n  by place:", r.Swapped, r.Swapped-r.Bits)
	for place, bits := range r.ByPlace {
		if place > 0 && place%16 == 0 {
			fmt.Fprintf(&b, "\n           ")
		}
		fmt.Fprintf(&b, " %.1f", bits)
	}
	fmt.Fprintf(&b, "\nwhole images where any token may follow: %.1f %%\n", r.Whole)
	for _, row := range []struct {
		name string
		r    retrieval.Recall
	}{{"codes of the model", r.Generated}, {"true codes", r.True}} {
		fmt.Fprintf(&b, "captions found by %-18s at 1 / 5 / 10 of %d: %5.1f %5.1f %5.1f %%\n", row.name, r.Gallery, row.r.At1, row.r.At5, row.r.At10)
	}
	return b.String()
}
