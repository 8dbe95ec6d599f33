// Package pairs reads image-text pairs with their pixels, for work that looks at pictures but makes no code table: several cores decode,
// rows come out in the order of the input.
package pairs

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"sower/internal/pixels"
	"sower/internal/shards"
	"sower/schemas"
)

// Row is a pair with its picture, or with why it has none.
type Row struct {
	shards.Pair
	// RGB is the picture squashed to the size asked for, [S S 3].
	RGB   []byte
	Fault *shards.Fault
}

// Reject is the row of the reject table for a fault.
func (r *Row) Reject() schemas.RejectRow {
	valid := func(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
	return schemas.RejectRow{Key: valid(r.Key), Source: valid(r.Source), Row: r.Row, Reason: string(r.Fault.Reason), Detail: valid(r.Fault.Detail), Retryable: r.Fault.Retryable}
}

// Reader says what to read and how.
type Reader struct {
	Options *shards.Options
	Size    int // S, pixels a side
	Filter  pixels.Filter
	Limits  pixels.Limits
}

// window is how many rows are in work at a time.
const window = 64

// Each calls yield with every pair of the ranges, in order. Documents, whose texts belong to no single image, are an error.
func (r *Reader) Each(ctx context.Context, ranges []shards.Range, yield func(*Row) error) error {
	caller := ctx
	group, ctx := errgroup.WithContext(caller)
	type slot struct {
		row  *Row
		done chan struct{}
	}
	queue, work := make(chan *slot, window), make(chan *slot, window)
	group.Go(func() error {
		defer close(queue)
		defer close(work)
		for _, one := range ranges {
			format, err := shards.Lookup(one.Format)
			if err != nil {
				return err
			}
			if shards.HasDocuments(one.Format) {
				return fmt.Errorf("pairs: %s has documents (%s): give image-text pairs", one.Source.Name, one.Format)
			}
			for pair, err := range format.Read(ctx, r.Options, one) {
				if err != nil {
					return err
				}
				s := &slot{&Row{Pair: pair, Fault: pair.Reject}, make(chan struct{})}
				select {
				case queue <- s:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
				work <- s // never waits longer than queue did: both are as long
			}
		}
		return nil
	})
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() error {
			for s := range work {
				r.decode(s.row)
				close(s.done)
			}
			return nil
		})
	}
	group.Go(func() error {
		for s := range queue {
			<-s.done
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			if err := yield(s.row); err != nil {
				return err
			}
		}
		return nil
	})
	err := group.Wait()
	if err != nil && caller.Err() != nil && errors.Is(err, caller.Err()) {
		return context.Cause(caller) // formats say that they were stopped, not why
	}
	return err
}

// decode fills the pixels of a row, or says why it cannot.
func (r *Reader) decode(row *Row) {
	if row.Fault != nil {
		return
	}
	defer func() {
		if p := recover(); p != nil { // a decoder's slip on hostile bytes costs the row, not the process
			row.RGB, row.Fault = nil, &shards.Fault{Reason: schemas.Undecodable, Detail: fmt.Sprintf("decoder panicked: %v", p)}
		}
	}()
	rgb := make([]byte, 3*r.Size*r.Size)
	if _, _, err := pixels.Prepare(rgb, row.Image, r.Size, r.Filter, r.Limits); err != nil {
		row.Fault = Fault(err)
		return
	}
	row.RGB, row.Image = rgb, nil
}

// Fault maps the decoder's kinds of failure to reasons.
func Fault(err error) *shards.Fault {
	f := &shards.Fault{Reason: schemas.Undecodable, Detail: err.Error()}
	switch {
	case errors.Is(err, pixels.ErrFormat):
		f.Reason = schemas.UnsupportedFormat
	case errors.Is(err, pixels.ErrTruncated):
		f.Reason = schemas.Truncated
	case errors.Is(err, pixels.ErrTooLarge):
		f.Reason = schemas.TooLarge
	}
	return f
}

// Ranges turns rows of a plan back into the ranges that they were made of.
func Ranges(rows []schemas.PlanRow) []shards.Range {
	out := make([]shards.Range, len(rows))
	for i, r := range rows {
		out[i] = shards.Range{Source: shards.Source{Name: r.Source, Size: r.Size, Tag: r.Tag}, Format: r.Format, Start: r.Start, End: r.End, FirstRow: r.FirstRow, Bytes: r.Bytes, Rows: r.Rows}
	}
	return out
}
