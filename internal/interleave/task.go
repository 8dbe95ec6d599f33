package interleave

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sower/internal/blob"
	"sower/internal/corpus"
	"sower/internal/plan"
	"sower/internal/progress"
	"sower/schemas"
)

// chunk is how many records a worker goroutine lays out at a time.
const chunk = 256

// placed is a sequence with its place in the order and its side of the split.
type placed struct {
	Sequence
	order      uint64
	validation bool
}

// Task is what a process keeps of a run: stores and the tokenizer.
type Task struct {
	cfg       Config
	run       *progress.Run
	inputs    []*blob.Bucket
	output    *blob.Bucket
	builder   Builder
	templates map[Kind]Template
}

// Unit does one unit: reads its ranges, lays out and cuts their records, orders, splits and packs the sequences, and commits
// one training and one validation file.
func (t *Task) Unit(ctx context.Context, unit int) (info corpus.UnitInfo, err error) {
	defer t.run.Working()()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(t.run.Ctx, func() { cancel(context.Cause(t.run.Ctx)) })()
	if ctx.Err() != nil {
		return info, context.Cause(ctx)
	}
	ranges, err := plan.ReadUnit(ctx, t.output, t.cfg.Plan, unit)
	if err != nil {
		return info, err
	}
	var size int64
	for _, r := range ranges {
		size += r.Bytes
	}
	done, err := corpus.Committed(ctx, t.output, t.cfg.Identity, corpus.SequenceLayout, unit, t.cfg.Units)
	if err != nil {
		return info, err
	}
	if done != nil {
		t.run.Unit(true, done.Counts, size)
		return *done, nil
	}
	u := corpus.NewUnit(unit)
	defer u.Abort()
	sequences, err := t.build(ctx, ranges, &u.Counts)
	if err != nil {
		return info, fmt.Errorf("interleave: unit %d: %w", unit, err)
	}
	began := time.Now()
	names := corpus.SequenceLayout.Names(unit, t.cfg.Units)
	for i, validation := range []bool{true, false} {
		if err := t.write(ctx, u, names[i], sequences, validation); err != nil {
			return info, fmt.Errorf("interleave: unit %d: %w", unit, err)
		}
	}
	if ctx.Err() != nil {
		return info, context.Cause(ctx)
	}
	info, err = u.Commit()
	t.run.Spend(progress.Write, began)
	if err == nil {
		t.run.Unit(false, info.Counts, size)
	}
	return info, err
}

// build reads the ranges and returns all their sequences in final order.
func (t *Task) build(ctx context.Context, ranges []schemas.PlanRow, counts *schemas.Counts) ([]placed, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	work := make(chan []Record, 2*runtime.GOMAXPROCS(0))
	var mu sync.Mutex
	var all []placed
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for records := range work {
				began := time.Now()
				out, tally := t.layOut(records)
				t.run.Spend(progress.Prepare, began)
				mu.Lock()
				all = append(all, out...)
				counts.Add(tally)
				mu.Unlock()
			}
		}()
	}
	err := t.read(ctx, ranges, counts, &mu, work)
	close(work)
	wg.Wait()
	if err != nil {
		return nil, err
	}
	counts.Encoded = counts.In - counts.RejectedTotal()
	slices.SortFunc(all, func(a, b placed) int {
		if c := cmp.Compare(a.order, b.order); c != 0 {
			return c
		}
		// Equal hashes are as good as impossible; equal sequences may change places.
		return cmp.Or(slices.Compare(a.IDs, b.IDs), slices.Compare(a.Keys, b.Keys))
	})
	return all, nil
}

// read yields the records of the ranges into work, in chunks.
func (t *Task) read(ctx context.Context, ranges []schemas.PlanRow, counts *schemas.Counts, mu *sync.Mutex, work chan<- []Record) error {
	records := make([]Record, 0, chunk)
	flush := func() error {
		if len(records) == 0 {
			return nil
		}
		select {
		case work <- records:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		records = make([]Record, 0, chunk)
		return nil
	}
	for _, r := range ranges {
		index, name, err := t.source(r)
		if err != nil {
			return err
		}
		input := t.cfg.Inputs[index]
		began := time.Now()
		err = readRange(ctx, t.inputs[index], input, r, name, func(rec Record, drop Drop) error {
			rec.Repeat, rec.Input = int(r.Repeat), index
			if drop == "" && !chosen(input.Weight, t.cfg.Seed, &rec) {
				drop = NotSampled
			}
			mu.Lock()
			counts.In++
			if drop != "" {
				counts.Rejected[string(drop)]++
			}
			mu.Unlock()
			t.run.Row(schemas.Reason(drop))
			if drop != "" {
				return nil
			}
			records = append(records, rec)
			if len(records) < chunk {
				return nil
			}
			t.run.Spend(progress.Read, began)
			err := flush()
			began = time.Now()
			return err
		})
		if err != nil {
			return err
		}
		t.run.Spend(progress.Read, began)
		t.run.Bytes(r.Bytes)
	}
	return flush()
}

// chosen says whether a record is used at this reading of it.
func chosen(weight float64, seed uint64, r *Record) bool {
	return r.Repeat < times(weight, seed, r.Identity)
}

// source splits a plan row's source "2/data/part-…" into the input's index and the name below it.
func (t *Task) source(r schemas.PlanRow) (int, string, error) {
	index, name, ok := strings.Cut(r.Source, "/")
	n, err := strconv.Atoi(index)
	if !ok || err != nil || n < 0 || n >= len(t.inputs) {
		return 0, "", fmt.Errorf("interleave: plan names source %q", r.Source)
	}
	return n, name, nil
}

// SourceName is the name of an input's file in the plan.
func SourceName(input int, name string) string { return fmt.Sprintf("%d/%s", input, name) }

// layOut turns records into sequences, and counts those that it drops or cuts.
func (t *Task) layOut(records []Record) ([]placed, schemas.Counts) {
	out := make([]placed, 0, len(records))
	tally := schemas.Counts{Rejected: map[string]int64{}}
	drop := func(reason Drop) { tally.Rejected[string(reason)]++ }
	for i := range records {
		r := &records[i]
		template := t.templates[r.Kind]
		if template == nil {
			drop(NotComplete)
			continue
		}
		pieces, reason := template.Lay(&t.builder, r)
		if reason != "" {
			drop(reason)
			continue
		}
		if !teaches(pieces) { // one id without BOS and EOS
			drop(NoText)
			continue
		}
		mode := t.cfg.Overlong
		if mode == "" {
			mode = template.Overlong()
		}
		parts := fit(pieces, t.cfg.Context, mode)
		if len(parts) == 0 {
			drop(TooLong)
			continue
		}
		if size(pieces) > t.cfg.Context {
			switch mode {
			case Split:
				tally.Split++
			case Truncate:
				tally.Truncated++
			}
		}
		validation := unit(hash(0, "validation", r.Identity, 0)) < t.cfg.Validation
		for k, p := range parts {
			s := join(p)
			if len(s.Keys) == 0 {
				s.Keys = []string{r.Key}
			}
			// Rows of two inputs may have the same identity (00000.tar, row 0), but should not stand side by side.
			out = append(out, placed{s, hash(t.cfg.Seed, "order", r.Identity, r.Input<<32|r.Repeat<<20|k), validation})
		}
	}
	return out, tally
}

// write adds one side of the split to the unit.
func (t *Task) write(ctx context.Context, u *corpus.Unit, name string, all []placed, validation bool) error {
	side := make([]*placed, 0, len(all))
	for i := range all {
		if all[i].validation == validation {
			side = append(side, &all[i])
		}
	}
	vocabulary, err := json.Marshal(t.cfg.Vocabulary)
	if err != nil {
		return err
	}
	if !t.cfg.Pack {
		part, err := corpus.AddPart[schemas.SequenceRow](ctx, u, t.output, t.cfg.Identity, name)
		if err != nil {
			return err
		}
		part.SetFooter(schemas.VocabularyKey, string(vocabulary))
		for _, s := range side {
			row := schemas.SequenceRow{InputIDs: s.IDs, Labels: s.labels(nil), Images: s.Images, Keys: s.Keys, Length: int32(len(s.IDs))}
			if err := part.Append(row, 8*len(s.IDs)+64); err != nil {
				return err
			}
		}
		return nil
	}
	part, err := corpus.AddPart[schemas.PackedRow](ctx, u, t.output, t.cfg.Identity, name)
	if err != nil {
		return err
	}
	part.SetFooter(schemas.VocabularyKey, string(vocabulary))
	lengths := make([]int, len(side))
	for i, s := range side {
		lengths[i] = len(s.IDs)
	}
	for _, members := range pack(lengths, t.cfg.Context) {
		row := packed(side, members)
		if err := part.Append(row, 12*len(row.InputIDs)+64); err != nil {
			return err
		}
	}
	return nil
}

// packed joins sequences into one row.
func packed(side []*placed, members []int) schemas.PackedRow {
	n := 0
	for _, i := range members {
		n += len(side[i].IDs)
	}
	row := schemas.PackedRow{InputIDs: make([]int32, 0, n), Labels: make([]int32, 0, n), PositionIDs: make([]int32, 0, n), Length: int32(n)}
	for _, i := range members {
		s := side[i]
		at := int32(len(row.InputIDs))
		row.InputIDs = append(row.InputIDs, s.IDs...)
		row.Labels = s.labels(row.Labels)
		for k := range s.IDs {
			row.PositionIDs = append(row.PositionIDs, int32(k))
		}
		for _, im := range s.Images {
			row.Images = append(row.Images, at+im)
		}
		row.Keys = append(row.Keys, s.Keys...)
		row.SequenceLengths = append(row.SequenceLengths, int32(len(s.IDs)))
	}
	return row
}
