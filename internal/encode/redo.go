package encode

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sower/internal/corpus"
	"sower/internal/progress"
	"sower/internal/shards"
	"sower/schemas"
)

// ErrLoss stops a retry that would take rows out of a corpus.
var ErrLoss = errors.New("the corpus would lose rows")

// Piece is a range of a unit that is done again: it is read, or its rows are taken over.
type Piece struct {
	Range schemas.PlanRow
	Read  bool
	// Rows are what the corpus has of the range, in order. Of a range that is read they give the codes of images whose bytes
	// are the same.
	Rows Rows
}

// Rows are rows of the three tables.
type Rows struct {
	Codes     []schemas.CodeRow
	Rejects   []schemas.RejectRow
	Documents []schemas.DocumentRow
}

// Known are the rows that an earlier corpus has of what is read. Nil knows nothing.
type Known struct {
	codes     map[place]*schemas.CodeRow
	documents map[place]bool
	allowLoss bool
	reused    int64
}

// place identifies an image, or with shards.DocumentPosition a document.
type place struct {
	source   string
	row      int64
	position int32
}

func known(pieces []Piece, allowLoss bool) *Known {
	k := &Known{codes: map[place]*schemas.CodeRow{}, documents: map[place]bool{}, allowLoss: allowLoss}
	for _, p := range pieces {
		for i := range p.Rows.Codes {
			r := &p.Rows.Codes[i]
			k.codes[place{r.Source, r.Row, r.Position}] = r
		}
		for _, d := range p.Rows.Documents {
			k.documents[place{d.Source, d.Row, shards.DocumentPosition}] = true
		}
	}
	return k
}

// row finds an image.
func (k *Known) row(p *shards.Pair) *schemas.CodeRow {
	if k == nil || p.Position == shards.DocumentPosition {
		return nil
	}
	return k.codes[place{utf8Only(p.Source), p.Row, p.Position}]
}

// lost is an error when the corpus has the image or the document that f now rejects: the input is worse than it was.
func (k *Known) lost(it *item, f *shards.Fault) error {
	if k == nil || f == nil || k.allowLoss {
		return nil
	}
	at, what := place{utf8Only(it.pair.Source), it.pair.Row, it.pair.Position}, "codes"
	_, had := k.codes[at]
	if it.isDocument() {
		had, what = k.documents[at], "its document"
	}
	if !had {
		return nil
	}
	return fmt.Errorf("%w: it has %s of %s row %d, which is now rejected: %s: %s", ErrLoss, what, at.source, at.row, f.Reason, f.Detail)
}

// Redo does a unit again of which an earlier corpus of the same identity, but for the plan, has rows. The result is what Unit would
// make. reused counts the images that were read and did not go through the model. Rows that get worse are ErrLoss unless
// allowLoss.
func (w *Worker) Redo(ctx context.Context, unit int, pieces []Piece, allowLoss bool) (info corpus.UnitInfo, reused int64, err error) {
	defer w.run.Working()()
	ctx, cancel := join(ctx, w.run.Ctx)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return info, 0, context.Cause(ctx)
	}
	out, err := w.cfg.createOutput(ctx, w.output, unit)
	if err != nil {
		return info, 0, err
	}
	defer out.Abort()
	var size int64
	for i := 0; i < len(pieces); {
		size += pieces[i].Range.Bytes
		if !pieces[i].Read {
			if err := w.takeOver(ctx, &pieces[i].Rows, out); err != nil {
				return info, 0, fmt.Errorf("encode: unit %d: %w", unit, err)
			}
			i++
			continue
		}
		// Neighbours are read in one go: duplicates are looked for among all rows of a unit.
		first, ranges := i, []schemas.PlanRow(nil)
		for ; i < len(pieces) && pieces[i].Read; i++ {
			ranges = append(ranges, pieces[i].Range)
		}
		k := known(pieces[first:i], allowLoss)
		if err := w.rows(ctx, ranges, k, out); err != nil {
			return info, 0, fmt.Errorf("encode: unit %d: %w", unit, err)
		}
		reused += k.reused
	}
	defer w.spend(progress.Write, time.Now())
	if info, err = out.Commit(); err != nil {
		return info, 0, err
	}
	w.bill()
	w.run.Unit(false, info.Counts, size)
	return info, reused, nil
}

// Redone is a unit that an earlier attempt at the same retry committed; nil if there is none.
func (w *Worker) Redone(ctx context.Context, unit int) (*corpus.UnitInfo, error) {
	done, err := corpus.Committed(ctx, w.output, w.cfg.Identity, w.cfg.Layout(), unit, w.cfg.Units)
	if err == nil && done != nil {
		w.run.Unit(true, done.Counts, 0)
	}
	return done, err
}

// takeOver writes rows as the corpus has them, and counts them.
func (w *Worker) takeOver(ctx context.Context, r *Rows, out *output) error {
	type document struct {
		source string
		row    int64
	}
	defer w.spend(progress.Write, time.Now())
	lost := map[document]int{}
	for _, row := range r.Rejects {
		w.run.Row(schemas.Reason(row.Reason))
		if row.Document != nil && row.Position == shards.DocumentPosition {
			out.Counts.Documents.Reject(schemas.Reason(row.Reason))
		} else {
			out.Counts.In++
			out.Counts.Rejected[row.Reason]++
			if row.Document != nil {
				lost[document{row.Source, row.Row}]++
			}
		}
		if err := out.appendReject(row); err != nil {
			return err
		}
	}
	for _, row := range r.Codes {
		w.run.Row("")
		if err := out.row(row); err != nil {
			return err
		}
	}
	for _, row := range r.Documents {
		n := lost[document{row.Source, row.Row}]
		out.Counts.Documents.In++
		out.Counts.Documents.Written++
		if n > 0 {
			out.Counts.Documents.Incomplete++
		}
		if err := out.appendDocument(row, n); err != nil {
			return err
		}
	}
	return ctx.Err()
}
