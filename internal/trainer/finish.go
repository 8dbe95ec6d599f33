package trainer

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"sower/gpu/checkpoint"
	"sower/gpu/models/seed"
	"sower/internal/blob"
	"sower/internal/card"
	"sower/internal/corpus"
	"sower/internal/rounds"
	"sower/internal/tensors"
	"sower/internal/weights"
	"sower/schemas"
)

// MetricsFile has a row for each step of both stages.
const MetricsFile = "metrics.parquet"

// Metric is a row of it. What validations measured at the end of a round stands on its last step, null elsewhere.
type Metric struct {
	Step
	ValidationLoss     *float64 `parquet:"validation_loss,optional"`
	ValidationContrast *float64 `parquet:"validation_contrast,optional"`
	ValidationRec      *float64 `parquet:"validation_rec,optional"`
	ValidationPicture  *float64 `parquet:"validation_picture,optional"`
	// Mean recall in percent, by embedding and, in the second stage, by codes.
	ValidationRecall      *float64 `parquet:"validation_recall,optional"`
	ValidationRecallCodes *float64 `parquet:"validation_recall_codes,optional"`
	ValidationPerplexity  *float64 `parquet:"validation_perplexity,optional"`
}

func (m *Metric) validated(v *Validation) {
	m.ValidationLoss, m.ValidationContrast, m.ValidationPicture, m.ValidationRecall = &v.Total, &v.Contrast, &v.Picture, &v.Embedding.Mean
	if v.Codes != nil {
		m.ValidationContrast, m.ValidationRec, m.ValidationRecallCodes, m.ValidationPerplexity = nil, &v.Rec, &v.Codes.Mean, &v.Perplexity
	}
}

// Finish writes what a finished run leaves: a model folder (config.json, model.safetensors, and the text tower with vocab.txt), metrics
// and card, and the manifest, which is last.
func Finish(ctx context.Context, c Config, m schemas.Manifest) error {
	out, err := blob.OpenBucket(ctx, c.Output)
	if err != nil {
		return err
	}
	defer out.Close()
	src, err := after(ctx, out, &c, 2, 1)
	if err != nil {
		return err
	}
	defer src.Close()
	files, err := writeModel(ctx, out, c.Recipe.Model, src)
	if err != nil {
		return err
	}
	last, err := writeMetrics(ctx, out, &c)
	if err != nil {
		return err
	}
	files = append(files, MetricsFile, VocabularyFile)
	slices.Sort(files)
	m.Files = nil
	for _, name := range files {
		f, err := corpus.Describe(ctx, out, name)
		if err != nil {
			return err
		}
		m.Files = append(m.Files, f)
	}
	n := int64(c.Recipe.First.Steps)*int64(c.Recipe.First.Batch) + int64(c.Recipe.Second.Steps)*int64(c.Recipe.Second.Batch)
	m.Counts = schemas.Counts{In: n, Encoded: n}
	finished := time.Now().UTC()
	m.Finished = finished.Format(time.RFC3339)
	if began, err := time.Parse(time.RFC3339Nano, m.Started); err == nil {
		m.Seconds = float64(finished.Sub(began).Milliseconds()) / 1000
	}
	if err := out.WriteAll(ctx, "README.md", card.Tokenizer(&m, results(&c, last))); err != nil {
		return err
	}
	text, err := m.Marshal()
	if err != nil {
		return err
	}
	// Temporary files of killed workers; after the manifest nobody would look for them.
	if _, err := out.Sweep(ctx, ""); err != nil {
		return err
	}
	return out.WriteAll(ctx, schemas.ManifestName, text)
}

func results(c *Config, last map[int]ending) card.Trained {
	r := card.Trained{Images: rows(c.Parts), Parameters: parameters(c.Recipe.Model), Codes: c.Recipe.Model.Codes, CodesPerImage: c.Recipe.Model.Queries, ImageSize: c.Recipe.Model.ImageSize,
		FirstSteps: c.Recipe.First.Steps, SecondSteps: c.Recipe.Second.Steps}
	r.Contrast, r.Rec, r.VQ, r.Perplexity = last[1].Contrast, last[2].Rec, last[2].VQ, last[2].Perplexity
	if a, b := last[1].held, last[2].held; a != nil && b != nil {
		r.Held, r.Embedding, r.ByCodes = b.Rows, b.Embedding.Mean, b.Codes.Mean
	}
	return r
}

func rows(files []schemas.File) (n int64) {
	for _, f := range files {
		n += f.Rows
	}
	return n
}

func parameters(c seed.Config) (n int64) {
	for _, p := range c.Params() {
		n += int64(checkpoint.Info{Shape: p.Shape}.Len())
	}
	return n
}

// writeModel writes what --model takes; the text tower is a file of its own, which encoding never reads.
func writeModel(ctx context.Context, out *blob.Bucket, c seed.Config, src checkpoint.Source) ([]string, error) {
	config, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := out.WriteAll(ctx, "config.json", append(config, '\n')); err != nil {
		return nil, err
	}
	texts := map[string]bool{}
	for _, p := range c.TextParams() {
		texts[p.Name] = true
	}
	files := []string{"config.json"}
	for _, f := range []struct {
		name  string
		texts bool
	}{{"model.safetensors", false}, {weights.TextFile, true}} {
		var entries []checkpoint.Entry
		for _, p := range c.Params() {
			if texts[p.Name] == f.texts {
				entries = append(entries, checkpoint.Entry{Info: checkpoint.Info{Name: p.Name, DType: checkpoint.F32, Shape: p.Shape}, From: src})
			}
		}
		if _, err := tensors.Write(ctx, out, f.name, entries, tensors.PyTorch); err != nil {
			return nil, err
		}
		files = append(files, f.name)
	}
	return files, nil
}

// ending is what the last step and the last validation of a stage measured.
type ending struct {
	Step
	held *Validation
}

// writeMetrics writes a row for each step, in the order of stages and steps, and returns the last of each stage.
func writeMetrics(ctx context.Context, out *blob.Bucket, c *Config) (map[int]ending, error) {
	p, err := corpus.Create[Metric](ctx, out, MetricsFile, map[string]string{schemas.IdentityKey: c.Identity.JSON()})
	if err != nil {
		return nil, err
	}
	defer p.Abort()
	last := map[int]ending{}
	for stage := 1; stage <= 2; stage++ {
		one := *c
		one.Stage = stage
		for r := range one.Plan().Rounds() {
			m, err := ReadCommit(ctx, out, &one, r)
			if err != nil {
				return nil, err
			}
			var steps []Step
			for _, w := range m.Workers {
				steps = append(steps, w.Steps...)
			}
			slices.SortFunc(steps, func(a, b Step) int { return int(a.Step - b.Step) })
			for i, s := range steps {
				last[stage] = ending{s, m.Validation}
				row := Metric{Step: s}
				if m.Validation != nil && i == len(steps)-1 {
					row.validated(m.Validation)
				}
				if err := p.Append(row, 128); err != nil {
					return nil, err
				}
			}
		}
	}
	_, err = p.Commit()
	return last, err
}

// own are the names in the top folder that a run writes.
var own = []string{schemas.ManifestName, rounds.RunFile, MetricsFile, VocabularyFile, "README.md", "config.json", "model.safetensors", weights.TextFile}

// Wipe deletes a run and nothing else. What was prepared stays.
func Wipe(ctx context.Context, b *blob.Bucket) error {
	for info, err := range b.List(ctx, "") {
		if err != nil {
			return err
		}
		if slices.Contains(own, info.Name) || strings.HasPrefix(info.Name, "stage1/") || strings.HasPrefix(info.Name, "stage2/") {
			if err := b.Delete(ctx, info.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// Done is the number of rounds of a stage that are committed.
func Done(ctx context.Context, b *blob.Bucket, c *Config) (int, error) {
	n, err := rounds.Done(ctx, b, c.Plan())
	if err != nil {
		return n, fmt.Errorf("trainer: %w", err)
	}
	return n, nil
}
