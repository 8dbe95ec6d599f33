package main

import (
	"context"
	"fmt"
	"io"

	"sower/gpu/models/seed"
	"sower/internal/blob"
	"sower/internal/corpus"
	"sower/internal/progress"
	"sower/internal/trainer"
	"sower/schemas"
)

// tokenizerReport is what inspect says of a folder of sower train-tokenizer.
type tokenizerReport struct {
	Folder   string                 `json:"folder"`
	Finished bool                   `json:"finished"`
	Pipeline string                 `json:"pipeline"`
	Model    seed.Config            `json:"model"`
	Identity schemas.Identity       `json:"identity"`
	Last     map[int32]trainer.Step `json:"last_steps"` // by stage
	Held     map[int32]held         `json:"validation,omitempty"`
	Bytes    int64                  `json:"bytes"`
	Seconds  float64                `json:"seconds"`
}

// held is the last validation of a stage.
type held struct {
	Loss        *float64 `json:"loss"`
	Recall      *float64 `json:"recall"` // mean, in percent
	RecallCodes *float64 `json:"recall_codes,omitempty"`
	Perplexity  *float64 `json:"perplexity,omitempty"`
}

func inspectTokenizer(ctx context.Context, b *blob.Bucket, m *schemas.Manifest) (*tokenizerReport, error) {
	r := &tokenizerReport{Folder: b.URL(), Finished: true, Pipeline: m.Pipeline, Identity: m.Identity, Last: map[int32]trainer.Step{}, Held: map[int32]held{}, Seconds: m.Seconds}
	for _, f := range m.Files {
		r.Bytes += f.Bytes
	}
	raw, err := b.ReadAll(ctx, "config.json", 1<<20)
	if err != nil {
		return nil, err
	}
	if r.Model, err = seed.ParseConfig(raw); err != nil {
		return nil, err
	}
	err = corpus.Read(ctx, b, trainer.MetricsFile, func(s trainer.Metric) error {
		r.Last[s.Stage] = s.Step
		if s.ValidationLoss != nil {
			r.Held[s.Stage] = held{s.ValidationLoss, s.ValidationRecall, s.ValidationRecallCodes, s.ValidationPerplexity}
		}
		return nil
	})
	return r, err
}

func (r *tokenizerReport) print(w io.Writer) {
	c := r.Model
	fmt.Fprintf(w, "%s: a tokenizer, finished, %s, trained in %s\n", r.Folder, progress.Size(r.Bytes), progress.Span(r.Seconds))
	fmt.Fprintf(w, "  images of %d x %d, %d codes of %d; ViT %d x %d, Q-Former %d x %d", c.ImageSize, c.ImageSize, c.Queries, c.Codes, c.ViTDepth, c.ViTWidth, c.QFormerDepth, c.QFormerWidth)
	if c.Text != nil {
		fmt.Fprintf(w, "; texts of %d words", c.Text.Vocabulary)
	}
	if c.Painter != nil {
		fmt.Fprint(w, "; draws")
	}
	first, second := r.Last[1], r.Last[2]
	fmt.Fprintf(w, "\n  first stage, %s steps: contrast %.4f, temperature %.3f, picture %.4f\n", progress.Thousands(first.Step+1), first.Contrast, first.Temp, first.Picture)
	fmt.Fprintf(w, "  second stage, %s steps: 1-cos %.4f, codebook %.5f, picture %.4f; perplexity %.0f, %d codes in the last batch\n", progress.Thousands(second.Step+1), second.Rec, second.VQ, second.Picture,
		second.Perplexity, second.Used)
	if h, ok := r.Held[1]; ok {
		fmt.Fprintf(w, "  on pairs not trained on: mean recall by embedding %.1f %%", *h.Recall)
		if h, ok := r.Held[2]; ok {
			fmt.Fprintf(w, ", by codes %.1f %%; perplexity %.0f", *h.RecallCodes, *h.Perplexity)
		}
		fmt.Fprintln(w)
	}
}
