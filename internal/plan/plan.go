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
	"iter"
	"sort"
	"strings"

	"sower/internal/blob"
	"sower/internal/corpus"
	"sower/internal/shards"
	"sower/schemas"
)

// Folder is where plans lie in an output folder.
const Folder = "_plan"

const (
	// maxUnitRows bounds a unit where rows are cheap in input bytes (a table of image paths): more would be lost by a kill.
	maxUnitRows = 20_000
	// manyUnits is from when on units grow with the input: each is two or three files and as many lines of the manifest.
	manyUnits = 50_000
	// maxUnits is where reports of units, which meet in one place, come near to what runners let through (docs/scale.md).
	maxUnits = 250_000
)

// UnitBytes is the size of units that suits an input: a CPU works on one for minutes, a GPU needs more for as long, and large inputs
// are cut into at most 50,000 while units have at most 4 GiB, as each is a file and a line of the manifest. It is a power of two, so that a
// repaired file does not change the cut of all others.
func UnitBytes(input int64, onGPU bool) int64 {
	unit := int64(16 << 20)
	if onGPU {
		unit = 256 << 20
	}
	for unit < 4<<30 && input/unit >= manyUnits {
		unit *= 2
	}
	return unit
}

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
	for r, err := range ranges {
		if err != nil {
			return nil, err
		}
		p.Rows = append(p.Rows, schemas.PlanRow{Source: r.Source.Name, Format: r.Format, Size: r.Source.Size,
			Tag: r.Source.Tag, Start: r.Start, End: r.End, FirstRow: r.FirstRow, Bytes: r.Bytes, Rows: r.Rows})
		p.Bytes += r.Bytes
		p.Known += max(r.Rows, 0)
		p.Exact = p.Exact && r.Rows >= 0
	}
	maxRows := int64(maxUnitRows)
	for maxRows*manyUnits < p.Known { // doubled, so that a repaired file does not change the cut of all others
		maxRows *= 2
	}
	var bytes, rows int64
	unit := int32(-1)
	for i := range p.Rows {
		r := &p.Rows[i]
		known := max(r.Rows, 0)
		if unit < 0 || bytes+r.Bytes > unitBytes || rows+known > maxRows {
			unit++
			bytes, rows = 0, 0
		}
		bytes += r.Bytes
		rows += known
		r.Unit = unit
	}
	p.Units = int(unit + 1)
	if p.Units == 0 {
		return nil, errors.New("plan: the input has no files")
	}
	if p.Units > maxUnits {
		return nil, fmt.Errorf("plan: %d bytes in units of %d are %d units, more than %d: give --unit-bytes %d or more, or encode the input in parts", p.Bytes, unitBytes, p.Units, maxUnits,
			2*max(unitBytes, p.Bytes/maxUnits))
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
		if err := part.Append(r, 4096); err != nil { // groups of some 16,000 ranges: a worker reads the names of one for its unit
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
	return readPlan(ctx, b, files[0].Name)
}

func readPlan(ctx context.Context, b *blob.Bucket, name string) (*Plan, error) {
	p := &Plan{Exact: true}
	err := corpus.Read(ctx, b, name, func(r schemas.PlanRow) error {
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
	p.Digest = strings.TrimSuffix(strings.TrimPrefix(name, Folder+"/"), ".parquet")
	return p, err
}

// ReadUnit loads the ranges of one unit; a worker never decodes a whole plan.
func ReadUnit(ctx context.Context, b *blob.Bucket, name string, unit int) ([]schemas.PlanRow, error) {
	rows, err := corpus.Lookup(ctx, b, name, int32(unit), func(r *schemas.PlanRow) int32 { return r.Unit })
	if err == nil && len(rows) == 0 {
		err = fmt.Errorf("%s has no unit %d", name, unit)
	}
	if err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	return rows, nil
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
