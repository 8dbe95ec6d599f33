package units

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"testing"

	"sower/internal/blob"
	_ "sower/internal/blob/all"
	"sower/internal/corpus"
	"sower/internal/plan"
	"sower/internal/progress"
	"sower/internal/shards"
	"sower/schemas"
)

// job is a run of two units over two tables of ten rows each, planned in a folder.
func job(t *testing.T) Job {
	t.Helper()
	ctx, dir := context.Background(), t.TempDir()
	j := Job{RunID: t.Name(), Input: filepath.Join(dir, "in"), Output: filepath.Join(dir, "out"), Identity: schemas.Identity{Tokenizer: "test", Codes: 8, CodesPerImage: 2}}
	t.Cleanup(func() { progress.Forget(j.RunID) })
	in, err := blob.OpenBucket(ctx, j.Input)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	for unit := range 2 {
		w, err := corpus.CreateUnit[schemas.CodeRow](ctx, in, j.Identity, unit, 2)
		if err != nil {
			t.Fatal(err)
		}
		for row := range 10 {
			if err := w.Row(schemas.CodeRow{Key: fmt.Sprint(10*unit + row), Source: "s", Row: int64(row), Codes: []uint16{1, 2}}, 10); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	parts, err := corpus.Parts(ctx, in, "data")
	if err != nil {
		t.Fatal(err)
	}
	var ranges iter.Seq2[shards.Range, error] = func(yield func(shards.Range, error) bool) {
		for _, p := range parts {
			if !yield(shards.Range{Source: shards.Source{Name: p.Name, Size: p.Size}, Format: "codes", End: -1, Bytes: p.Size}, nil) {
				return
			}
		}
	}
	pl, err := plan.Build(ranges, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := blob.OpenBucket(ctx, j.Output)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := pl.Write(ctx, out); err != nil {
		t.Fatal(err)
	}
	j.Plan, j.Units, j.Identity.Plan = pl.Name(), pl.Units, pl.Digest
	return j
}

// thirds rejects every third row.
func thirds(ctx context.Context, u *Unit[schemas.CodeRow]) error {
	n := 0
	return Each(ctx, u, func(r schemas.CodeRow) error {
		if n++; n%3 == 0 {
			return u.Reject(schemas.RejectRow{Key: r.Key, Source: r.Source, Row: r.Row, Reason: string(schemas.NoText), Detail: "third"})
		}
		return u.Row(r, 10)
	})
}

// TestDo does a unit once, counts its rows, and finds it the next time.
func TestDo(t *testing.T) {
	j, ctx := job(t), context.Background()
	if j.Units != 2 {
		t.Fatalf("%d units", j.Units)
	}
	calls := 0
	work := func(ctx context.Context, u *Unit[schemas.CodeRow]) error { calls++; return thirds(ctx, u) }
	var keys []string
	for range 2 {
		for unit := range j.Units {
			info, err := Do(ctx, j, unit, work)
			if err != nil {
				t.Fatal(err)
			}
			if info.Counts.Encoded != 7 || info.Counts.RejectedTotal() != 3 {
				t.Errorf("unit %d: %+v", unit, info.Counts)
			}
		}
	}
	if calls != 2 {
		t.Errorf("work was called %d times for 2 units", calls)
	}
	out, err := blob.OpenBucket(ctx, j.Output)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	parts, err := corpus.Parts(ctx, out, "data")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		if err := corpus.Read(ctx, out, p.Name, func(r schemas.CodeRow) error { keys = append(keys, r.Key); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"0", "1", "3", "4", "6", "7", "9", "10", "11", "13", "14", "16", "17", "19"}; !slices.Equal(keys, want) {
		t.Errorf("rows %v, want %v", keys, want)
	}
	if s := progress.Lookup(j.RunID).Snapshot(); s.Units != 4 {
		t.Errorf("%+v", s)
	}
}

// TestDoFails leaves nothing of a unit whose work fails or is cancelled, and says why.
func TestDoFails(t *testing.T) {
	j := job(t)
	broken := errors.New("broken")
	var cancel context.CancelCauseFunc
	for name, work := range map[string]func(context.Context, *Unit[schemas.CodeRow]) error{
		"before": func(context.Context, *Unit[schemas.CodeRow]) error {
			t.Error("work of a run that had ended before")
			return nil
		},
		"error": func(ctx context.Context, u *Unit[schemas.CodeRow]) error {
			return errors.Join(u.Row(schemas.CodeRow{Key: "x"}, 1), broken)
		},
		"context": func(ctx context.Context, u *Unit[schemas.CodeRow]) error {
			cancel(broken)
			return thirds(ctx, u)
		},
	} {
		ctx, end := context.WithCancelCause(context.Background())
		cancel = end
		if name == "before" {
			end(broken)
		}
		if _, err := Do(ctx, j, 0, work); !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	left, err := filepath.Glob(filepath.Join(j.Output, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range left {
		if filepath.Base(filepath.Dir(f)) != plan.Folder {
			t.Errorf("%s is left", f)
		}
	}
}
