package encode

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/semaphore"

	"sower/gpu/resident"
	"sower/internal/corpus"
	"sower/internal/plan"
	"sower/internal/progress"
	"sower/internal/shards"
	"sower/schemas"
)

const (
	// window is how many rows of a unit are in work at a time, or four batches if that is more; windowBytes how many encoded
	// bytes they may hold.
	window      = 128
	windowBytes = 128 << 20
)

// ErrTooManyFailures stops a run whose input is wrong as a whole.
var ErrTooManyFailures = errors.New("too many rows fail")

// item is one row on its way through the worker. The reader fills pair, a pool goroutine the rest.
type item struct {
	pair  shards.Pair
	fault *shards.Fault
	bytes int64 // of the encoded image, for the window's budget

	sum           [32]byte
	width, height int
	prepared      chan struct{} // closed when the pool is done with the row
	codes         resident.Future
	known         *schemas.CodeRow // what an earlier corpus has of the image, nil without one
	reused        bool             // known is of the same bytes: its codes are taken over
}

// isDocument says that an item is a document as a whole, whose images came before it.
func (it *item) isDocument() bool { return it.pair.Position == shards.DocumentPosition }

// Unit does one unit: if it is committed already it only says so, else it reads, encodes, writes and commits it. Rows
// come out in input order whatever finishes first.
func (w *Worker) Unit(ctx context.Context, unit int) (info corpus.UnitInfo, err error) {
	defer w.run.Working()()
	ctx, cancel := join(ctx, w.run.Ctx)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return info, context.Cause(ctx)
	}
	ranges, err := plan.ReadUnit(ctx, w.output, w.cfg.Plan, unit)
	if err != nil {
		return info, err
	}
	var size int64
	for _, r := range ranges {
		size += r.Bytes
	}
	done, err := corpus.Committed(ctx, w.output, w.cfg.Identity, w.cfg.Layout(), unit, w.cfg.Units)
	if err != nil {
		return info, err
	}
	if done != nil {
		w.run.Unit(true, done.Counts, size)
		return *done, nil
	}
	out, err := w.cfg.createOutput(ctx, w.output, unit)
	if err != nil {
		return info, err
	}
	defer out.Abort()
	if err := w.rows(ctx, ranges, nil, out); err != nil {
		return info, fmt.Errorf("encode: unit %d: %w", unit, err)
	}
	defer w.spend(progress.Write, time.Now())
	if info, err = out.Commit(); err != nil {
		return info, err
	}
	w.bill()
	w.run.Unit(false, info.Counts, size)
	return info, nil
}

// rows runs the three steps of a unit side by side: reading here in a goroutine, preparing in the process's pool, and
// writing in order in the caller. known is nil but for a retry.
func (w *Worker) rows(ctx context.Context, ranges []schemas.PlanRow, known *Known, out *output) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	queue := make(chan *item, max(window, 4*w.cfg.Batch))
	budget := semaphore.NewWeighted(windowBytes)
	var readErr error // set before queue is closed
	go func() {
		defer close(queue)
		readErr = w.read(ctx, ranges, known, budget, queue)
	}()
	var failed error
	for it := range queue {
		if failed == nil {
			if failed = w.finish(ctx, it, known, out); failed != nil {
				cancel() // the reader stops; rows that are in work are waited for, so that no task outlives the unit
			}
		}
		<-it.prepared
		budget.Release(it.bytes)
	}
	if failed != nil {
		return failed
	}
	return readErr
}

// read yields the rows of the ranges into queue and hands each to the pool.
func (w *Worker) read(ctx context.Context, ranges []schemas.PlanRow, known *Known, budget *semaphore.Weighted, queue chan<- *item) (err error) {
	defer func() { // a reader's panic must not end the process: the runner retries or reports the unit
		if p := recover(); p != nil {
			err = fmt.Errorf("reading: panic: %v", p)
		}
	}()
	options, seen := w.readOptions(), map[[32]byte]bool{}
	for _, r := range ranges {
		format, rg, err := w.rangeOf(r)
		if err != nil {
			return err
		}
		began := time.Now()
		for pair, err := range format.Read(ctx, options, rg) {
			if err != nil {
				return err
			}
			w.spend(progress.Read, began)
			// One image larger than the whole budget passes alone.
			it := &item{pair: pair, fault: pair.Reject, bytes: min(int64(len(pair.Image)), windowBytes), prepared: make(chan struct{}), known: known.row(&pair)}
			if it.isDocument() {
				it.bytes = min(int64(documentBytes(&pair)), windowBytes)
			}
			if err := budget.Acquire(ctx, it.bytes); err != nil {
				return err
			}
			w.filterText(it)
			if it.fault == nil && w.cfg.Filters.Dedup && pair.Document == nil {
				it.fault = duplicate(seen, &it.pair)
			}
			if it.fault != nil || it.isDocument() {
				it.pair.Image = nil
				close(it.prepared)
			} else if err := do(ctx, func() { w.prepare(ctx, it) }); err != nil {
				return err
			}
			queue <- it // also when ctx has ended: the task may be running, and rows waits for whatever the queue holds
			began = time.Now()
		}
		w.spend(progress.Read, began)
	}
	return ctx.Err()
}

func (w *Worker) readOptions() *shards.Options {
	return &shards.Options{Root: w.input, ImageColumn: w.cfg.ImageColumn, TextColumn: w.cfg.TextColumn, KeyColumn: w.cfg.KeyColumn,
		ImageRoot: w.cfg.ImageRoot, MaxImageBytes: w.cfg.Limits.MaxImageBytes}
}

// rangeOf turns a row of the plan back into the range that it was made of.
func (w *Worker) rangeOf(r schemas.PlanRow) (shards.Format, shards.Range, error) {
	format, err := shards.Lookup(r.Format)
	return format, shards.Range{Source: shards.Source{Name: r.Source, Size: r.Size, Tag: r.Tag}, Format: r.Format,
		Start: r.Start, End: r.End, FirstRow: r.FirstRow, Bytes: r.Bytes, Rows: r.Rows}, err
}

// duplicate rejects a row whose image and text occurred earlier in the unit.
func duplicate(seen map[[32]byte]bool, p *shards.Pair) *shards.Fault {
	h := sha256.New()
	sum := sha256.Sum256(p.Image)
	h.Write(sum[:])
	if p.Text != nil {
		h.Write([]byte(*p.Text))
	}
	key := [32]byte(h.Sum(nil))
	if seen[key] {
		return &shards.Fault{Reason: schemas.Duplicate, Detail: "same image and text as an earlier row of the unit"}
	}
	seen[key] = true
	return nil
}

// finish waits for a row and writes it, or its reject.
func (w *Worker) finish(ctx context.Context, it *item, known *Known, out *output) error {
	select {
	case <-it.prepared:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if ctx.Err() != nil { // before the fault is believed: a row that was given up looks like a bad one
		return context.Cause(ctx)
	}
	codes := w.codes
	if it.fault == nil && it.codes != nil {
		r := it.codes.Wait(ctx)
		switch {
		case r.Err != nil:
			return r.Err
		case !r.Finite:
			it.fault = &shards.Fault{Reason: schemas.NonFinite, Detail: "the model made a NaN or an infinity of it"}
		}
		codes = r.Codes
	}
	if it.reused {
		codes = it.known.Codes
		known.reused++
	}
	p := &it.pair
	if f := it.fault; f != nil && p.Outside && !f.Reason.Filter() {
		f.Retryable = true
	}
	key, source := utf8Only(p.Key), utf8Only(p.Source)
	defer w.spend(progress.Write, time.Now())
	if it.isDocument() {
		f, err := out.document(p, source, it.fault)
		if err != nil {
			return err
		}
		if err := known.lost(it, f); err != nil {
			return err
		}
		if f == nil || it.fault == nil { // written, or rejected for images that were counted one by one
			w.run.Bytes(it.bytes)
			return nil
		}
		return w.tally(f.Reason, it)
	}
	var reason schemas.Reason
	if f := it.fault; f != nil {
		reason = f.Reason
		if err := known.lost(it, f); err != nil {
			return err
		}
		err := out.reject(schemas.RejectRow{Key: key, Source: source, Row: p.Row, Document: utf8Pointer(p.Document), Position: p.Position,
			Reason: string(f.Reason), Detail: utf8Only(f.Detail), Retryable: f.Retryable}, f)
		if err != nil {
			return err
		}
	} else {
		row := schemas.CodeRow{Key: key, Source: source, Row: p.Row, Document: utf8Pointer(p.Document), Position: p.Position, Text: p.Text, Codes: codes, Width: int32(it.width), Height: int32(it.height), SHA256: it.sum}
		if p.Metadata != "" {
			row.Metadata = &p.Metadata
		}
		if err := out.row(row); err != nil {
			return err
		}
	}
	return w.tally(reason, it)
}

// tally counts a finished row and stops the run when too many fail.
func (w *Worker) tally(reason schemas.Reason, it *item) error {
	w.run.Bytes(it.bytes)
	rate, of := w.run.Row(reason)
	if reason == "" || of < 1000 || rate <= w.cfg.MaxFailureRate {
		return nil
	}
	return fmt.Errorf("%w: %.0f %% of the last %d, the latest %s row %d: %s: %s (--max-failure-rate %v; nothing of this unit was written)",
		ErrTooManyFailures, 100*rate, of, it.pair.Source, it.pair.Row, reason, it.fault.Detail, w.cfg.MaxFailureRate)
}
