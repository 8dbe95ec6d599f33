// Package detokenize does the work of one unit of sower detokenize: it reads a part of a code table and writes the image
// embeddings that its codes stand for, in the same order.
package detokenize

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"sower/gpu"
	"sower/gpu/models/seed"
	"sower/gpu/resident"
	"sower/internal/corpus"
	"sower/internal/progress"
	"sower/internal/units"
	"sower/internal/weights"
	"sower/schemas"
)

// Format names code tables in plans.
const Format = "codes"

// batch is how many rows one call of the model takes: 2 GFLOP each at the published sizes.
const batch = 64

// Config is everything that a worker needs; it travels in a DoFn's exported fields.
type Config struct {
	RunID    string
	Codes    string // folder of the code table
	Output   string
	Plan     string // plan file in Output
	Units    int
	Model    string
	Device   string
	Threads  int
	Identity schemas.Identity // Weights is the digest of the de-tokenizer
}

// Validate names every setting that cannot work, all at once.
func (c *Config) Validate() error {
	var errs []error
	if c.Codes == "" {
		errs = append(errs, errors.New("detokenize: --codes is missing: the folder that sower encode wrote"))
	}
	if c.Output == "" {
		errs = append(errs, errors.New("detokenize: --output is missing: the folder for the embeddings"))
	}
	if c.Model == "" || c.Model == weights.Null {
		errs = append(errs, fmt.Errorf("detokenize: --model %q cannot turn codes into embeddings", c.Model))
	}
	if c.Threads < 0 {
		errs = append(errs, fmt.Errorf("detokenize: --threads %d: want 0 (all) or more", c.Threads))
	}
	return errors.Join(errs...)
}

type deviceModel struct {
	*seed.Model
	dev *gpu.Device
}

func (m *deviceModel) Close() error {
	return errors.Join(m.Model.Close(), m.dev.Close())
}

func open(cfg Config) (*deviceModel, error) {
	key := fmt.Sprintf("detokenizer %s on %s, %d threads", cfg.Identity.Weights, cfg.Device, cfg.Threads)
	return resident.Shared(key, func() (*deviceModel, error) {
		m, err := weights.Open(cfg.Model)
		if err != nil {
			return nil, err
		}
		defer m.Close()
		digest, err := m.DetokenizerDigest()
		if err != nil {
			return nil, err
		}
		if digest != cfg.Identity.Weights {
			return nil, fmt.Errorf("detokenize: --model %s on this worker has weights %.12s, the run was planned with %.12s: put the same files there", cfg.Model, digest, cfg.Identity.Weights)
		}
		dev, err := gpu.Open(cfg.Device, gpu.Options{Threads: cfg.Threads})
		if err != nil {
			return nil, err
		}
		model, err := seed.Load(dev, m.Source, m.Config, seed.Detokenize)
		if err != nil {
			dev.Close()
			return nil, err
		}
		return &deviceModel{model, dev}, nil
	})
}

// Unit does one unit: one part of the code table.
func Unit(ctx context.Context, cfg Config, unit int) (corpus.UnitInfo, error) {
	job := units.Job{RunID: cfg.RunID, Input: cfg.Codes, Output: cfg.Output, Plan: cfg.Plan, Units: cfg.Units, Identity: cfg.Identity, Bloom: []string{"key"}}
	return units.Do(ctx, job, unit, func(ctx context.Context, u *units.Unit[schemas.EmbeddingRow]) error {
		model, err := open(cfg)
		if err != nil {
			return err
		}
		w := &writer{model: model, out: u, width: model.Config().ImageEmbed, queries: cfg.Identity.CodesPerImage, k: cfg.Identity.Codes}
		err = units.Each(ctx, u, func(row schemas.CodeRow) error {
			if w.rows = append(w.rows, row); len(w.rows) < batch {
				return nil
			}
			return w.flush()
		})
		if err == nil {
			err = w.flush()
		}
		if err != nil {
			return fmt.Errorf("detokenize: unit %d: %w", unit, err)
		}
		return nil
	})
}

// writer turns rows into embeddings, a batch at a time.
type writer struct {
	model             *deviceModel
	out               *units.Unit[schemas.EmbeddingRow]
	rows              []schemas.CodeRow
	width, queries, k int
}

func (w *writer) flush() error {
	codes := make([]uint16, 0, len(w.rows)*w.queries)
	bad := make([]string, len(w.rows))
	good := 0
	for i, r := range w.rows {
		if bad[i] = w.check(r.Codes); bad[i] == "" {
			codes = append(codes, r.Codes...)
			good++
		}
	}
	embeddings := make([]float32, good*w.width)
	began := time.Now()
	if good > 0 {
		if err := w.model.Detokenize(codes, good, embeddings); err != nil {
			return err
		}
	}
	w.out.Run.Spend(progress.Encode, began)
	began = time.Now()
	defer func() { w.out.Run.Spend(progress.Write, began) }()
	for i, r := range w.rows {
		reason := schemas.Undecodable
		if bad[i] == "" {
			e := embeddings[:w.width:w.width]
			embeddings = embeddings[w.width:]
			if finite(e) {
				row := schemas.EmbeddingRow{Key: r.Key, Source: r.Source, Row: r.Row, Document: r.Document, Position: r.Position, Embedding: e}
				if err := w.out.Row(row, 4*len(e)+128); err != nil {
					return err
				}
				continue
			}
			reason, bad[i] = schemas.NonFinite, "the model made a NaN or an infinity of its codes"
		}
		err := w.out.Reject(schemas.RejectRow{Key: r.Key, Source: r.Source, Row: r.Row, Document: r.Document, Position: r.Position,
			Reason: string(reason), Detail: bad[i]})
		if err != nil {
			return err
		}
	}
	w.rows = w.rows[:0]
	return nil
}

// check says what is wrong with a row's codes, "" for nothing.
func (w *writer) check(codes []uint16) string {
	if len(codes) != w.queries {
		return fmt.Sprintf("%d codes, want %d", len(codes), w.queries)
	}
	for i, c := range codes {
		if int(c) >= w.k {
			return fmt.Sprintf("code %d is %d, want less than %d", i, c, w.k)
		}
	}
	return ""
}

func finite(v []float32) bool {
	for _, x := range v {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return false
		}
	}
	return true
}
