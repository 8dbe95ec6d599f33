package trainer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sower/gpu/models/seed/training"
	"sower/internal/blob"
	"sower/internal/corpus"
	"sower/internal/evaluate/retrieval"
	"sower/internal/rounds"
	"sower/schemas"
)

// Validation is what the state at the end of a round makes of pairs that it is not trained on: whole pictures and all their words.
type Validation struct {
	Rows int `json:"rows"`
	training.Losses
	// Embedding is retrieval of these pairs by each other, Codes that of what the codes give back, of the second stage.
	Embedding retrieval.Both  `json:"embedding"`
	Codes     *retrieval.Both `json:"codes,omitempty"`
	// Used are the codes of the codebook that occur, Perplexity the exponential of their entropy in nats.
	Used       int32   `json:"codes_used,omitempty"`
	Perplexity float64 `json:"perplexity,omitempty"`
}

// Held are pairs that rounds are measured on.
type Held struct {
	Prepared string         // folder that preparing wrote, or ""
	Parts    []schemas.File // of its rows; none: nothing is measured
	Rows     int            // how many of them, from the first on
	Every    int            // rounds
}

func (h *Held) validate() error {
	if h.Prepared != "" && (h.Rows < 2 || h.Every < 1) {
		return fmt.Errorf("trainer: --validation-rows %d, --validate-every %d: want 2 pairs or more, and 1 round or more", h.Rows, h.Every)
	}
	return nil
}

// errEnough ends a reading early.
var errEnough = errors.New("enough")

// load reads the pairs that have words which the text tower knows.
func (h *Held) load(ctx context.Context, texts *Texts, r *Recipe) (list []sample, err error) {
	b, err := blob.OpenBucket(ctx, h.Prepared)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	want := 3 * r.Source * r.Source
	for _, f := range h.Parts {
		err := corpus.Read(ctx, b, f.Path, func(row schemas.PreparedRow) error {
			if len(row.RGB) != want {
				return fmt.Errorf("trainer: %s: a picture of %d bytes, want %d: prepare again with --overwrite", f.Path, len(row.RGB), want)
			}
			if row.Text == nil {
				return nil
			}
			if words := texts.Words(*row.Text); len(words) > 0 {
				list = append(list, sample{rgb: row.RGB, words: words})
			}
			if len(list) == h.Rows {
				return errEnough
			}
			return nil
		})
		if errors.Is(err, errEnough) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	if len(list) < 2 {
		return nil, fmt.Errorf("trainer: --validation: %d pairs with captions of known words, want 2 or more", len(list))
	}
	return list, nil
}

// CheckHeld makes sure, before anything is trained, that rounds can be measured; the vocabulary must be there.
func (c *Config) CheckHeld(ctx context.Context) (err error) {
	if len(c.Held.Parts) == 0 {
		return nil
	}
	out, err := blob.OpenBucket(ctx, c.Output)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	texts, err := OpenTexts(ctx, out, c.Recipe.Model.Text.Positions, c.Recipe.Vocabulary.DropUnknown)
	if err != nil {
		return err
	}
	_, err = c.Held.load(ctx, texts, &c.Recipe)
	return err
}

// whole is the augmentation that changes nothing.
var whole = Augment{MinArea: 1, Ratio: 1}

// Validate measures the state that is loaded. Its loss is that of the stage with its weights; contrasts are of batches as large as in training.
func (l *learner) Validate(ctx context.Context) (*Validation, float64, error) {
	c, s := &l.c, l.c.stage()
	if l.held == nil {
		list, err := c.Held.load(ctx, l.data.texts, &c.Recipe)
		if err != nil {
			return nil, 0, err
		}
		l.held = list
	}
	v := &Validation{Rows: len(l.held)}
	var images, texts, decoded [][]float32
	var codes []int32
	size, width := c.Recipe.Model.ImageSize, c.Recipe.Model.Text.Embed
	each := 3 * size * size
	for from := 0; from < len(l.held); {
		n := min(s.Batch, len(l.held)-from)
		if len(l.held)-from-n == 1 { // one pair has nothing to be told from
			n = max(n-1, 2)
		}
		b := training.Batch{RGB: make([]byte, n*each), Untaught: c.Teacher != ""}
		for i, p := range l.held[from : from+n] {
			crop(b.RGB[i*each:(i+1)*each], p.rgb, size, c.Recipe.Source, whole, drawing(0, 0, i))
			b.Texts = append(b.Texts, l.data.texts.Frame(p.words))
		}
		if s.Picture > 0 {
			b.Pictures = n
		}
		m, err := l.stage.Measure(&b)
		if err != nil {
			return nil, 0, err
		}
		v.Losses = v.Plus(m.Losses, float64(n)/float64(v.Rows))
		images, texts, decoded, codes = split(images, m.Images, width), split(texts, m.Texts, width), split(decoded, m.Decoded, width), append(codes, m.Codes...)
		from += n
	}
	v.Embedding = retrieval.Of(images, texts)
	if c.Stage == 2 {
		by := retrieval.Of(decoded, texts)
		v.Codes = &by
		v.Used, v.Perplexity = usage(codes, c.Recipe.Model.Codes, make([]int64, c.Recipe.Model.Codes))
	}
	Lives.Of(c.RunID).Validated(v)
	return v, v.Total, nil
}

func split(list [][]float32, v []float32, width int) [][]float32 {
	return slices.AppendSeq(list, slices.Chunk(v, width))
}

// ReadCommit reads the commit of a round of a stage.
func ReadCommit(ctx context.Context, b *blob.Bucket, c *Config, round int) (*Commit, error) {
	return rounds.ReadCommit[Step, Validation](ctx, b, c.Plan(), round)
}
