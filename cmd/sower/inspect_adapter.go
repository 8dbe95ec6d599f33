package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"sower/internal/blob"
	"sower/internal/progress"
	"sower/internal/tune"
	"sower/schemas"
)

// adapterReport is what inspect says of a folder of sower tune.
type adapterReport struct {
	Folder     string             `json:"folder"`
	Finished   bool               `json:"finished"`
	Pipeline   string             `json:"pipeline"`
	Base       string             `json:"base"`
	Identity   schemas.Identity   `json:"identity"`
	Vocabulary schemas.Vocabulary `json:"vocabulary"`
	Rounds     []*tune.Commit     `json:"rounds"`
	Bytes      int64              `json:"bytes"`
}

func inspectAdapter(ctx context.Context, b *blob.Bucket, m *schemas.Manifest) (*adapterReport, error) {
	r := &adapterReport{Folder: b.URL(), Finished: true, Pipeline: m.Pipeline, Base: m.Model, Identity: m.Identity}
	if m.Vocabulary != nil {
		r.Vocabulary = *m.Vocabulary
	}
	for _, f := range m.Files {
		r.Bytes += f.Bytes
	}
	for i := range m.Units {
		raw, err := b.ReadAll(ctx, fmt.Sprintf("rounds/%04d/commit.json", i), 1<<28)
		if err != nil {
			return nil, err
		}
		c := new(tune.Commit)
		if err := json.Unmarshal(raw, c); err != nil {
			return nil, errorf("%s: commit of round %d: %w", b.URL(), i, err)
		}
		r.Rounds = append(r.Rounds, c)
	}
	return r, nil
}

func (r *adapterReport) print(w io.Writer) {
	o := r.Identity.Options
	fmt.Fprintf(w, "%s: an adapter of %s, finished, %d rounds of %s steps, %s\n", r.Folder, r.Base, len(r.Rounds), o["steps"], progress.Size(r.Bytes))
	fmt.Fprintf(w, "  rank %s on %s; whole: %q; image rows: %s; base weights %.12s\n", o["rank"], o["targets"], o["saved"], o["image_tokens"], r.Identity.Weights)
	fmt.Fprintf(w, "  vocabulary of %d: codes at %d, K = %d\n", r.Vocabulary.Length, r.Vocabulary.Offset, r.Vocabulary.K)
	for _, c := range r.Rounds {
		if v := c.Validation; v != nil && (c.Round == 0 || c == r.Rounds[len(r.Rounds)-1] || c.Round == r.Rounds[len(r.Rounds)-1].Best) {
			fmt.Fprintf(w, "  validation after round %d: %.4f (text %.4f, image %.4f)\n", c.Round, v.Loss, v.TextLoss, v.ImageLoss)
		}
	}
}
