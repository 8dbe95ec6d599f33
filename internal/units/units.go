// Package units is the frame of one unit of a run that makes a data table and its rejects: it finds out whether the unit is done, has the
// work done, counts the rows, and commits the parts.
package units

import (
	"context"
	"errors"

	"sower/internal/blob"
	"sower/internal/corpus"
	"sower/internal/plan"
	"sower/internal/progress"
	"sower/schemas"
)

// Job is what a unit has to know of its run.
type Job struct {
	RunID         string
	Input, Output string // folders or URLs
	Plan          string // file in Output
	Units         int
	Identity      schemas.Identity
	Bloom         []string // columns of the data table that get a bloom filter
}

// Unit is one at work.
type Unit[T any] struct {
	Input *blob.Bucket
	Plan  []schemas.PlanRow
	Run   *progress.Run
	out   *corpus.UnitWriter[T]
}

// Row writes a row that has a result, about so many bytes of it, and counts it.
func (u *Unit[T]) Row(row T, bytes int) error {
	if err := u.out.Row(row, bytes); err != nil {
		return err
	}
	u.Run.Row("")
	return nil
}

// Reject writes a row that has none, and counts it.
func (u *Unit[T]) Reject(row schemas.RejectRow) error {
	if err := u.out.Reject(row); err != nil {
		return err
	}
	u.Run.Row(schemas.Reason(row.Reason))
	return nil
}

// Do finds that a unit is committed, or opens what it reads and writes, calls work, and commits what that wrote. The context that work
// gets ends with ctx and with the run. Where work fails, nothing is left of the unit.
func Do[T any](ctx context.Context, j Job, unit int, work func(ctx context.Context, u *Unit[T]) error) (info corpus.UnitInfo, err error) {
	run := progress.Lookup(j.RunID)
	defer run.Working()()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(run.Ctx, func() { cancel(context.Cause(run.Ctx)) })()
	defer func() { // why it was cancelled, wherever that was noticed
		if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
			err = errors.Join(err, cause)
		}
	}()
	out, err := blob.OpenBucket(ctx, j.Output)
	if err != nil {
		return info, err
	}
	defer out.Close()
	planned, err := plan.ReadUnit(ctx, out, j.Plan, unit)
	if err != nil {
		return info, err
	}
	done, err := corpus.Committed(ctx, out, j.Identity, corpus.CodeLayout, unit, j.Units)
	if err != nil {
		return info, err
	}
	if done != nil {
		run.Unit(true, done.Counts, 0)
		return *done, nil
	}
	in, err := blob.OpenBucket(ctx, j.Input)
	if err != nil {
		return info, err
	}
	defer in.Close()
	w, err := corpus.CreateUnit[T](ctx, out, j.Identity, unit, j.Units, j.Bloom...)
	if err != nil {
		return info, err
	}
	defer w.Abort()
	if err := work(ctx, &Unit[T]{Input: in, Plan: planned, Run: run, out: w}); err != nil {
		return info, err
	}
	if info, err = w.Commit(); err == nil {
		run.Unit(false, info.Counts, 0)
	}
	return info, err
}

// Each reads the rows R of the tables that a unit's plan names, in order.
func Each[R, T any](ctx context.Context, u *Unit[T], each func(R) error) error {
	for _, p := range u.Plan {
		err := corpus.Read(ctx, u.Input, p.Source, func(row R) error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return each(row)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
