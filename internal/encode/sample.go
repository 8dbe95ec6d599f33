package encode

import (
	"context"
	"time"

	"sower/internal/blob"
	"sower/internal/pixels"
	"sower/internal/progress"
	"sower/internal/shards"
	"sower/schemas"
)

// Estimate is what a few rows of an input tell about all of them.
type Estimate struct {
	Rows int `json:"rows"`
	// Documents are those seen; Rows are their images.
	Documents int                      `json:"documents,omitempty"`
	Encoded   int                      `json:"encoded"`
	Rejected  map[schemas.Reason]int64 `json:"rejected"`
	// Seconds a row: Read and Prepare on one core, Encode with the whole device.
	Read    float64 `json:"read"`
	Prepare float64 `json:"prepare"`
	Encode  float64 `json:"encode"`
	// Bytes a row of the code table, without compression of texts.
	OutputBytes float64 `json:"output_bytes"`
	// InputBytes a row, what holds the image included.
	InputBytes float64 `json:"input_bytes"`
	Load       float64 `json:"load"` // seconds to load the model
	// Outside is the share of images that are files of their own beside their table.
	Outside float64 `json:"outside,omitempty"`
	// Units are what each unit of the sample gave, for telling how sure the means are: rows of one unit are alike.
	Units []UnitSample `json:"-"`

	wholeBytes, wholeRows int64 // of ranges that were read to their end
}

// UnitSample is what one unit of a sample gave, in seconds and bytes of all its rows.
type UnitSample struct {
	Rows                                           int
	Read, Prepare, Encode, OutputBytes, InputBytes float64
}

// memberOverhead is about what a tar adds to an image: three headers and padding.
const memberOverhead = 3*512 + 256

// Sample runs up to rows rows, spread over the plan's units, through everything but writing, for about limit after the
// model is loaded. It is how --dry-run knows what a run will cost.
func Sample(ctx context.Context, cfg Config, units [][]schemas.PlanRow, rows int, limit time.Duration) (*Estimate, error) {
	began := time.Now()
	w := &Worker{cfg: cfg, run: progress.Lookup(cfg.RunID), filter: pixels.Filter(cfg.Identity.Resize)}
	defer progress.Forget(cfg.RunID)
	var err error
	if w.input, err = blob.OpenBucket(ctx, cfg.Input); err != nil {
		return nil, err
	}
	defer w.input.Close()
	if w.engine, w.codes, err = engineOf(cfg); err != nil {
		return nil, err
	}
	e := &Estimate{Rejected: map[schemas.Reason]int64{}, Load: time.Since(began).Seconds()}
	deadline := time.Now().Add(limit)
	each := max(1, rows/max(1, len(units)))
	for _, unit := range units {
		n, before := 0, *e
		err := w.sampleUnit(ctx, e, unit, func(it *item, read, prepare, encode time.Duration) bool {
			n++
			e.add(it, read, prepare, encode)
			return n < each && time.Now().Before(deadline)
		})
		if err != nil {
			return nil, err
		}
		e.Units = append(e.Units, UnitSample{e.Rows - before.Rows, e.Read - before.Read, e.Prepare - before.Prepare, e.Encode - before.Encode,
			e.OutputBytes - before.OutputBytes, e.InputBytes - before.InputBytes})
		if time.Now().After(deadline) {
			break
		}
	}
	if e.Rows > 0 {
		k := float64(e.Rows)
		e.Outside /= k
		e.Read, e.Prepare, e.Encode, e.OutputBytes, e.InputBytes = e.Read/k, e.Prepare/k, e.Encode/k, e.OutputBytes/k, e.InputBytes/k
		if e.wholeRows > 0 {
			e.InputBytes = float64(e.wholeBytes) / float64(e.wholeRows)
		}
	}
	return e, nil
}

func (e *Estimate) add(it *item, read, prepare, encode time.Duration) {
	e.Read += read.Seconds()
	if it.isDocument() {
		e.Documents++
		e.OutputBytes += float64(documentBytes(&it.pair)) / 2
		return
	}
	e.Rows++
	if it.pair.Outside {
		e.Outside++
	}
	e.Prepare += prepare.Seconds()
	e.Encode += encode.Seconds()
	e.InputBytes += float64(it.bytes + memberOverhead)
	if it.fault != nil {
		e.Rejected[it.fault.Reason]++
		return
	}
	e.Encoded++
	e.OutputBytes += 90 + float64(len(it.pair.Key)+len(it.pair.Metadata))/3 // texts shrink to about a third
	if it.pair.Text != nil {
		e.OutputBytes += float64(len(*it.pair.Text)) / 2
	}
}

// sampleUnit runs rows one after another, so that each step's time is its own.
func (w *Worker) sampleUnit(ctx context.Context, e *Estimate, ranges []schemas.PlanRow, yield func(it *item, read, prepare, encode time.Duration) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	began := time.Now()
	for _, r := range ranges {
		format, rg, err := w.rangeOf(r)
		if err != nil {
			return err
		}
		rows := int64(0)
		for pair, err := range format.Read(ctx, w.readOptions(), rg) {
			if err != nil {
				return err
			}
			if pair.Position != shards.DocumentPosition {
				rows++
			}
			it := &item{pair: pair, fault: pair.Reject, bytes: int64(len(pair.Image)), prepared: make(chan struct{})}
			read := time.Since(began)
			w.filterText(it)
			var prepare, encode time.Duration
			if it.fault == nil && !it.isDocument() {
				began = time.Now()
				w.prepare(ctx, it)
				prepare = time.Since(began)
				if it.codes != nil {
					began = time.Now()
					if r := it.codes.Wait(ctx); r.Err != nil {
						return r.Err
					} else if !r.Finite {
						it.fault = &shards.Fault{Reason: schemas.NonFinite}
					}
					encode = time.Since(began)
				}
			}
			if !yield(it, read, prepare, encode) {
				return nil
			}
			began = time.Now()
		}
		e.wholeBytes += rg.Bytes
		e.wholeRows += rows
	}
	return nil
}
