package generate

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"sower/gpu"
	"sower/gpu/resident"
	"sower/internal/corpus"
	"sower/internal/progress"
	"sower/internal/units"
	"sower/schemas"
)

// Batch is everything that a worker needs to generate for the rows of a code table; it travels in a DoFn's exported fields.
// Either each row's text gets the codes of an image (Image), or each row's codes get a text.
type Batch struct {
	RunID string
	Input string // folder of the code table
	Output,
	Plan string // plan file in Output
	Units int

	Base, Adapter, Tokenizer string
	Template                 string
	Image                    bool
	Prompt                   string // question behind each image
	Stops                    []string
	Tokens                   int
	Sampler                  Sampler
	Rows                     int // of one call of the model; results do not depend on it

	Device   string
	Threads  int
	Identity schemas.Identity
}

// Options that stand in the identity beside those of Settings.
const (
	optionBase    = "base"    // digest of the base's weights
	optionAdapter = "adapter" // digest of adapter_model.safetensors
)

// Settings are the options that change the rows, as they stand in the identity.
func (b *Batch) Settings(base, adapter string) map[string]string {
	task := "caption"
	if b.Image {
		task = "image"
	}
	o := map[string]string{optionBase: base, optionAdapter: adapter, "task": task, "template": b.Template,
		"temperature": fmt.Sprint(b.Sampler.Temperature), "top_p": fmt.Sprint(b.Sampler.TopP), "seed": fmt.Sprint(b.Sampler.Seed)}
	if !b.Image {
		o["tokens"], o["prompt"], o["stop"] = fmt.Sprint(b.Tokens), b.Prompt, strings.Join(b.Stops, "\n")
	}
	return o
}

// Validate names every setting that cannot work, all at once.
func (b *Batch) Validate() error {
	errs := []error{b.Sampler.Validate()}
	want := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("generate: "+format, args...))
		}
	}
	want(b.Input != "", "--input is missing: the folder that sower encode wrote")
	want(b.Output != "", "--output is missing: the folder for the rows")
	want(b.Adapter != "", "--adapter is missing: rows of a corpus need the adapter that sower tune wrote")
	want(b.Tokens > 0, "--tokens %d: want at least 1", b.Tokens)
	want(b.Rows >= 0 && b.Rows <= 4096, "--batch %d: want 0 (a choice of its own) to 4096 rows", b.Rows)
	want(b.Threads >= 0, "--threads %d: want 0 (all) or more", b.Threads)
	return errors.Join(errs...)
}

// AdapterDigest is the identity of an adapter: that of its file.
func AdapterDigest(dir string) (string, error) {
	dir, err := localAdapter(dir)
	if err != nil {
		return "", err
	}
	f, err := os.Open(filepath.Join(dir, adapterWeights))
	if err != nil {
		return "", fmt.Errorf("generate: --adapter: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("generate: --adapter: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// shared is the generator of a run in this process.
type shared struct {
	*Generator
	dev *gpu.Device
}

func (s *shared) Close() error { return errors.Join(s.Generator.Close(), s.dev.Close()) }

func (b *Batch) key() string {
	o := b.Identity.Options
	return fmt.Sprintf("generator %s with %s in %s on %s, %d threads, tokenizer %s", o[optionBase], o[optionAdapter], b.Identity.Precision, b.Device, b.Threads, b.Tokenizer)
}

// Release frees the model of a run in this process.
func Release(b Batch) error { return resident.Release(b.key()) }

// open loads base and adapter, and makes sure that they are those that the run was planned with.
func (b *Batch) open() (*shared, error) {
	return resident.Shared(b.key(), func() (*shared, error) {
		opened, err := OpenBase(b.Base)
		if err != nil {
			return nil, err
		}
		digest, err := opened.Digest()
		opened.Close()
		if err != nil {
			return nil, err
		}
		adapter, err := AdapterDigest(b.Adapter)
		if err != nil {
			return nil, err
		}
		if o := b.Identity.Options; digest != o[optionBase] || adapter != o[optionAdapter] {
			return nil, fmt.Errorf("generate: --base %s and --adapter %s on this worker are %.12s and %.12s, the run was planned with %.12s and %.12s: put the same files there",
				b.Base, b.Adapter, digest, adapter, o[optionBase], o[optionAdapter])
		}
		precision, err := gpu.ParsePrecision(b.Identity.Precision)
		if err != nil {
			return nil, fmt.Errorf("generate: %w", err)
		}
		dev, err := gpu.Open(b.Device, gpu.Options{Threads: b.Threads, Precision: precision})
		if err != nil {
			return nil, err
		}
		g, err := Open(dev, Config{Base: b.Base, Adapter: b.Adapter, Tokenizer: b.Tokenizer})
		if err != nil {
			dev.Close()
			return nil, err
		}
		return &shared{g, dev}, nil
	})
}

// rowsOfACall is how many rows are continued side by side where the user does not say: enough to use the weights several times
// each time they are read.
const rowsOfACall = 16

// Unit does one unit: one part of the code table.
func Unit(ctx context.Context, b Batch, unit int) (corpus.UnitInfo, error) {
	job := units.Job{RunID: b.RunID, Input: b.Input, Output: b.Output, Plan: b.Plan, Units: b.Units, Identity: b.Identity, Bloom: []string{"key"}}
	return units.Do(ctx, job, unit, func(ctx context.Context, u *units.Unit[schemas.CodeRow]) error {
		g, err := b.open()
		if err != nil {
			return err
		}
		w := &writer{b: &b, g: g.Generator, out: u}
		limit := cmp.Or(b.Rows, rowsOfACall)
		err = units.Each(ctx, u, func(row schemas.CodeRow) error {
			if w.rows = append(w.rows, row); len(w.rows) < limit {
				return nil
			}
			return w.flush(ctx)
		})
		if err == nil {
			err = w.flush(ctx)
		}
		if err != nil {
			return fmt.Errorf("generate: unit %d: %w", unit, err)
		}
		return nil
	})
}

// writer generates for some rows at a time and writes them in order.
type writer struct {
	b    *Batch
	g    *Generator
	out  *units.Unit[schemas.CodeRow]
	rows []schemas.CodeRow
}

// fault is why a row has no result.
type fault struct {
	reason schemas.Reason
	detail string
}

func (w *writer) flush(ctx context.Context) error {
	faults := make([]*fault, len(w.rows))
	var rows []Row
	for i := range w.rows {
		row, f := w.prompt(&w.rows[i])
		if faults[i] = f; f == nil {
			rows = append(rows, row)
		}
	}
	words := make([]*Words, len(rows))
	run := Run{Sampler: w.b.Sampler, Tokens: w.b.Tokens}
	if !w.b.Image {
		for i := range words {
			words[i] = NewWords(w.g.Tokenizer.Decode, nil, w.b.Stops)
		}
		run.Token = func(row int, id int32) bool { return !w.g.ends(id) && words[row].Add(id) }
	}
	began := time.Now()
	var results []Result
	if len(rows) > 0 {
		var err error
		if results, err = w.g.Generate(ctx, rows, run); err != nil {
			return err
		}
	}
	w.out.Run.Spend(progress.Encode, began)
	began = time.Now()
	defer func() { w.out.Run.Spend(progress.Write, began) }()
	n := 0
	for i := range w.rows {
		r := &w.rows[i]
		if f := faults[i]; f != nil {
			if err := w.out.Reject(schemas.RejectRow{Key: r.Key, Source: r.Source, Row: r.Row, Document: r.Document, Position: r.Position,
				Reason: string(f.reason), Detail: f.detail}); err != nil {
				return err
			}
			continue
		}
		if w.b.Image {
			w.image(r, results[n].IDs)
		} else {
			s := strings.TrimSpace(strings.ToValidUTF8(words[n].Text(), "\ufffd"))
			r.Text = &s
		}
		n++
		if err := w.out.Row(*r, 256+len(*r.Text)+2*len(r.Codes)); err != nil {
			return err
		}
	}
	w.rows = w.rows[:0]
	return nil
}

// prompt makes the prompt of a row, or says why it has none.
func (w *writer) prompt(r *schemas.CodeRow) (Row, *fault) {
	row := Row{Stream: stream(r)}
	var err error
	added := w.b.Tokens
	if w.b.Image {
		row.Mode, added = Image, int(w.g.Vocabulary.ImageLength)-1
		switch {
		case r.Text == nil || strings.TrimSpace(*r.Text) == "":
			return row, &fault{schemas.NoText, "no text to make an image of"}
		case !utf8.ValidString(*r.Text):
			return row, &fault{schemas.TextNotUTF8, "the text is not UTF-8"}
		}
		row.Prompt, err = w.g.ImagePrompt(w.b.Template, *r.Text)
	} else {
		row.Prompt, err = w.g.CaptionPrompt(w.b.Template, r.Codes, w.b.Prompt)
	}
	if err != nil {
		return row, &fault{schemas.Undecodable, err.Error()}
	}
	if limit := w.g.Model.Sizes().Positions; len(row.Prompt)+added > limit {
		return row, &fault{schemas.TextTooLong, fmt.Sprintf("a prompt of %d tokens and %d new ones, the model has %d positions", len(row.Prompt), added, limit)}
	}
	return row, nil
}

// image makes of a row that of an image that no one has seen: it is as large as the codes' model takes it, and its digest is
// that of the codes, two bytes each.
func (w *writer) image(r *schemas.CodeRow, ids []int32) {
	r.Codes = make([]uint16, len(ids)-1)
	raw := make([]byte, 0, 2*len(r.Codes))
	for i := range r.Codes {
		r.Codes[i] = uint16(ids[i] - w.g.Vocabulary.Offset)
		raw = binary.LittleEndian.AppendUint16(raw, r.Codes[i])
	}
	r.SHA256 = sha256.Sum256(raw)
	r.Width, r.Height = int32(w.b.Identity.ImageSize), int32(w.b.Identity.ImageSize)
}

// stream numbers a row for the sampler by where it came from, so that draws depend neither on units nor on batches.
func stream(r *schemas.CodeRow) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%d\x00%d", r.Source, r.Row, r.Position)
	return h.Sum64()
}
