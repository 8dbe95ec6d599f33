// Package plan cuts an input into work units and keeps the cut as a file, so that every run, retry and resume works on
// the same units and a job graph carries a path instead of a million shards (docs/formats.md §2).
package plan

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"sort"
	"strings"

	"github.com/parquet-go/parquet-go"

	"sower/internal/blob"
	"sower/internal/corpus"
	"sower/internal/shards"
	"sower/schemas"
)

// Folder is where plans lie in an output folder.
const Folder = "_plan"

// maxUnitRows bounds a unit where rows are cheap in input bytes (a table of image paths): more would be lost by a kill.
const maxUnitRows = 20_000

// Plan is a whole input cut into units.
type Plan struct {
	Rows  []schemas.PlanRow // sorted by unit, then by order in it
	Units int
	// Digest identifies the plan: paths relative to the input's root, sizes, cut and options that change the output. Tags
	// (modification times) and absolute paths are no part of it.
	Digest string
	Bytes  int64
	Known  int64 // rows that are known before reading
	Exact  bool  // every row is known
}

// Build groups ranges, which come in sorted order, into units of about unitBytes. options are those that change the
// output; they go into the digest.
func Build(ranges iter.Seq2[shards.Range, error], unitBytes int64, options map[string]string) (*Plan, error) {
	p := &Plan{Exact: true}
	var bytes, rows int64
	unit := int32(-1)
	for r, err := range ranges {
		if err != nil {
			return nil, err
		}
		known := max(r.Rows, 0)
		if unit < 0 || bytes+r.Bytes > unitBytes || rows+known > maxUnitRows {
			unit++
			bytes, rows = 0, 0
		}
		bytes += r.Bytes
		rows += known
		p.Rows = append(p.Rows, schemas.PlanRow{Unit: unit, Source: r.Source.Name, Format: r.Format, Size: r.Source.Size,
			Tag: r.Source.Tag, Start: r.Start, End: r.End, FirstRow: r.FirstRow, Bytes: r.Bytes, Rows: r.Rows})
		p.Bytes += r.Bytes
		p.Known += known
		p.Exact = p.Exact && r.Rows >= 0
	}
	p.Units = int(unit + 1)
	if p.Units == 0 {
		return nil, errors.New("plan: the input has no files")
	}
	p.Digest = digest(p.Rows, options)
	return p, nil
}

// Dealt makes a plan of rows that have their units already, in order of unit.
func Dealt(rows []schemas.PlanRow, options map[string]string) (*Plan, error) {
	if len(rows) == 0 {
		return nil, errors.New("plan: the input has no rows")
	}
	p := &Plan{Rows: rows, Exact: true, Digest: digest(rows, options)}
	for i, r := range rows {
		if i > 0 && r.Unit < rows[i-1].Unit {
			return nil, fmt.Errorf("plan: row %d of unit %d comes after unit %d", i, r.Unit, rows[i-1].Unit)
		}
		p.Units = int(r.Unit) + 1
		p.Bytes += r.Bytes
		p.Known += max(r.Rows, 0)
		p.Exact = p.Exact && r.Rows >= 0
	}
	return p, nil
}

func digest(rows []schemas.PlanRow, options map[string]string) string {
	h := sha256.New()
	enc := json.NewEncoder(h) // one line a value, maps sorted by key
	enc.Encode(options)
	for _, r := range rows {
		enc.Encode([]any{r.Unit, r.Source, r.Format, r.Size, r.Start, r.End, r.FirstRow, r.Repeat})
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Name is the plan's file in an output folder.
func (p *Plan) Name() string { return Folder + "/" + p.Digest + ".parquet" }

// Write commits the plan to an output folder.
func (p *Plan) Write(ctx context.Context, b *blob.Bucket) error {
	part, err := corpus.Create[schemas.PlanRow](ctx, b, p.Name(), map[string]string{"sower.units": fmt.Sprint(p.Units)})
	if err != nil {
		return err
	}
	defer part.Abort()
	for _, r := range p.Rows {
		if err := part.Append(r, 512); err != nil { // groups of some 100,000 ranges: a worker decodes one for its unit
			return err
		}
	}
	_, err = part.Commit()
	return err
}

// Read loads a plan that a run left in its output folder; nil when there is none.
func Read(ctx context.Context, b *blob.Bucket) (*Plan, error) {
	files, err := corpus.Parts(ctx, b, Folder)
	if err != nil || len(files) == 0 {
		return nil, err
	}
	if len(files) > 1 {
		return nil, fmt.Errorf("plan: %d plans in %s: want one", len(files), blob.Join(b.URL(), Folder))
	}
	p := &Plan{Exact: true}
	err = corpus.Read(ctx, b, files[0].Name, func(r schemas.PlanRow) error {
		p.Rows = append(p.Rows, r)
		p.Units = int(r.Unit) + 1
		p.Bytes += r.Bytes
		p.Known += max(r.Rows, 0)
		p.Exact = p.Exact && r.Rows >= 0
		return nil
	})
	if errors.Is(err, corpus.ErrDamaged) {
		return nil, fmt.Errorf("plan: %w; without it the run cannot be resumed: choose another --output, or start again with --overwrite", err)
	}
	p.Digest = strings.TrimSuffix(strings.TrimPrefix(files[0].Name, Folder+"/"), ".parquet")
	return p, err
}

// ReadUnit loads the ranges of one unit: the row groups that hold it are found by their statistics, so a worker never
// decodes a whole plan.
func ReadUnit(ctx context.Context, b *blob.Bucket, name string, unit int) ([]schemas.PlanRow, error) {
	r, err := b.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f, err := parquet.OpenFile(r, r.Size(), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, fmt.Errorf("plan: %s: %w", name, err)
	}
	var out []schemas.PlanRow
	buf := make([]schemas.PlanRow, 1024)
	for _, g := range f.RowGroups() {
		if lo, hi, ok := bounds(g); ok && (int32(unit) < lo || int32(unit) > hi) {
			continue
		}
		rows := parquet.NewGenericRowGroupReader[schemas.PlanRow](g)
		for {
			n, err := rows.Read(buf)
			for _, row := range buf[:n] {
				if row.Unit == int32(unit) {
					out = append(out, row)
				}
			}
			if err == io.EOF || (n > 0 && buf[n-1].Unit > int32(unit)) {
				break
			}
			if err != nil {
				rows.Close()
				return nil, fmt.Errorf("plan: read %s: %w", name, err)
			}
		}
		if err := rows.Close(); err != nil {
			return nil, fmt.Errorf("plan: read %s: %w", name, err)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("plan: %s has no unit %d", name, unit)
	}
	return out, nil
}

// bounds gives the smallest and largest unit of a row group (its first column is sorted).
func bounds(g parquet.RowGroup) (lo, hi int32, ok bool) {
	index, err := g.ColumnChunks()[0].ColumnIndex()
	if err != nil || index == nil || index.NumPages() == 0 {
		return 0, 0, false
	}
	return index.MinValue(0).Int32(), index.MaxValue(index.NumPages() - 1).Int32(), true
}

// Changes compares a plan that an earlier run left with today's and says what differs, first things first: files that
// came, went, changed size or were modified, or else the cut. Nil means that the input is the same.
func Changes(old, now *Plan) []string {
	type file struct {
		size int64
		tag  string
	}
	files := func(p *Plan) map[string]file {
		m := map[string]file{}
		for _, r := range p.Rows {
			m[r.Source] = file{r.Size, r.Tag}
		}
		return m
	}
	a, b := files(old), files(now)
	var out []string
	for name, f := range a {
		g, ok := b[name]
		switch {
		case !ok:
			out = append(out, fmt.Sprintf("%s is gone", name))
		case f.size != g.size:
			out = append(out, fmt.Sprintf("%s: size %d → %d bytes", name, f.size, g.size))
		case f.tag != g.tag:
			out = append(out, fmt.Sprintf("%s was modified (%s → %s)", name, f.tag, g.tag))
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			out = append(out, fmt.Sprintf("%s is new", name))
		}
	}
	sort.Strings(out)
	if len(out) == 0 && old.Digest != now.Digest {
		out = append(out, fmt.Sprintf("the same files are cut into %d units instead of %d, or options differ (--unit-bytes, --format, columns, filters)", now.Units, old.Units))
	}
	return out
}
