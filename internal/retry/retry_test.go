package retry

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"sower/internal/blob"
	_ "sower/internal/blob/all"
	"sower/internal/blob/driver"
	"sower/internal/corpus"
	"sower/internal/encode"
	"sower/internal/launch"
	"sower/internal/plan"
	"sower/internal/shards"
	"sower/schemas"
)

func open(t *testing.T, url string) *blob.Bucket {
	t.Helper()
	b, err := blob.OpenBucket(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

var stores atomic.Int64

// fresh is a store in memory.
func fresh(t *testing.T) *blob.Bucket { return open(t, fmt.Sprintf("mem://retry-%d", stores.Add(1))) }

// file is an input file of so many rows, cut into ranges of at most each.
type file struct {
	name string
	rows int64
	tag  string
}

const each = 10

func planOf(t *testing.T, files []file, unitBytes int64) *plan.Plan {
	t.Helper()
	p, err := plan.Build(func(yield func(shards.Range, error) bool) {
		for _, f := range files {
			s := shards.Source{Name: f.name, Size: f.rows, Tag: f.tag}
			for at := int64(0); at == 0 || at < f.rows; at += each {
				n := min(each, f.rows-at)
				if !yield(shards.Range{Source: s, Format: "jsonl", Start: at, End: at + n, FirstRow: at, Bytes: n, Rows: n}, nil) {
					return
				}
			}
		}
	}, unitBytes, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

type rowName struct {
	source string
	row    int64
}

// write makes a corpus of a plan in which some rows are rejected.
func write(t *testing.T, b *blob.Bucket, p *plan.Plan, id schemas.Identity, rejected map[rowName]schemas.RejectRow) *schemas.Manifest {
	t.Helper()
	ctx := context.Background()
	id.Plan = p.Digest
	m := &schemas.Manifest{Version: schemas.ManifestVersion, Pipeline: "encode", Identity: id, Units: p.Units, Counts: schemas.Counts{Rejected: map[string]int64{}}}
	if err := p.Write(ctx, b); err != nil {
		t.Fatal(err)
	}
	for u := range p.Units {
		w, err := corpus.CreateUnit[schemas.CodeRow](ctx, b, id, u, p.Units, "key")
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range p.Rows {
			for n := r.FirstRow; int(r.Unit) == u && n < r.FirstRow+r.Rows; n++ {
				if bad, ok := rejected[rowName{r.Source, n}]; ok {
					bad.Source, bad.Row = r.Source, n
					err = w.Reject(bad)
				} else {
					err = w.Row(schemas.CodeRow{Key: fmt.Sprint(r.Source, n), Source: r.Source, Row: n, Codes: make([]uint16, 32)}, 100)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		info, err := w.Commit()
		if err != nil {
			t.Fatal(err)
		}
		m.Counts.Add(info.Counts)
		m.Files = append(m.Files, info.Files...)
	}
	commit(t, b, m)
	return m
}

func commit(t *testing.T, b *blob.Bucket, m *schemas.Manifest) {
	t.Helper()
	p, err := m.Marshal()
	if err == nil {
		err = errors.Join(b.WriteAll(context.Background(), "README.md", []byte(m.Identity.Plan)), b.WriteAll(context.Background(), schemas.ManifestName, p))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestChoose holds the choice to its definition on random inputs: a range is read if its file changed or a chosen row lies in it; every
// row that is taken over lies in a part that is named; units without anything to read are left alone where the plan is the same.
func TestChoose(t *testing.T) {
	ctx := context.Background()
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		var before, after []file
		for i := range 2 + r.IntN(8) {
			f := file{fmt.Sprintf("f%d", i), 1 + r.Int64N(45), "t"}
			before = append(before, f)
			switch r.IntN(6) {
			case 0:
				f.rows = 1 + r.Int64N(45)
			case 1:
				f.tag = "later"
			}
			after = append(after, f)
		}
		unitBytes := 5 + r.Int64N(40)
		old, now := planOf(t, before, unitBytes), planOf(t, after, unitBytes)
		rejected := map[rowName]schemas.RejectRow{}
		for _, f := range before {
			for n := range f.rows {
				if r.IntN(30) == 0 {
					reason := []schemas.Reason{schemas.NoImage, schemas.Truncated, schemas.TooSmall}[r.IntN(3)]
					rejected[rowName{f.name, n}] = schemas.RejectRow{Reason: string(reason), Retryable: reason == schemas.NoImage, Detail: "d"}
				}
			}
		}
		id := schemas.Identity{Options: map[string]string{}}
		if seed%4 == 0 {
			id.Options["dedup"] = "true"
		}
		choice := Choice{}
		if seed%3 == 0 {
			choice.Reasons = []schemas.Reason{schemas.Truncated}
		}
		b := fresh(t)
		m := write(t, b, old, id, rejected)
		task, err := Choose(ctx, b, m, corpus.CodeLayout, old, now, choice)
		if err != nil {
			t.Fatal(err)
		}
		tags := map[string]file{}
		for _, f := range before {
			tags[f.name] = f
		}
		work := map[int32]schemas.RetryRow{}
		for i, w := range task.Rows {
			if int(w.Work) != i {
				t.Errorf("row %d has number %d", i, w.Work)
			}
			work[w.Unit] = w
		}
		for u := range now.Units {
			rows := slices.DeleteFunc(slices.Clone(now.Rows), func(p schemas.PlanRow) bool { return int(p.Unit) != u })
			any := false
			var reads []bool
			for _, p := range rows {
				f := tags[p.Source]
				read := f.rows != p.Size || f.tag != p.Tag
				for n := p.FirstRow; n < p.FirstRow+p.Rows; n++ {
					bad, ok := rejected[rowName{p.Source, n}]
					read = read || ok && (len(choice.Reasons) == 0 && bad.Retryable || len(choice.Reasons) > 0 && bad.Reason == string(schemas.Truncated))
				}
				reads = append(reads, read)
				any = any || read
			}
			w, done := work[int32(u)]
			if task.Same && done != any || !task.Same && !done {
				t.Fatalf("seed %d: unit %d: done again: %v, has ranges to read: %v, same plan: %v", seed, u, done, any, task.Same)
			}
			if !done {
				continue
			}
			if (w.Replaces >= 0) != task.Same || task.Same && int(w.Replaces) != u {
				t.Errorf("seed %d: unit %d replaces %d", seed, u, w.Replaces)
			}
			have := map[rowName]bool{}
			for _, p := range w.Parts {
				if strings.HasPrefix(p.Path, "rejects/") {
					for k, bad := range rejectsOf(t, b, p.Path) {
						have[k] = bad
					}
					continue
				}
				if err := corpus.Read(ctx, b, p.Path, func(c schemas.CodeRow) error { have[rowName{c.Source, c.Row}] = true; return nil }); err != nil {
					t.Fatal(err)
				}
			}
			for i, p := range rows {
				switch read := w.Ranges[i].Read; {
				case id.Options["dedup"] == "" && read != reads[i], reads[i] && !read:
					t.Errorf("seed %d: unit %d range %d: read %v, want %v", seed, u, i, read, reads[i])
				case !read:
					for n := p.FirstRow; n < p.FirstRow+p.Rows; n++ {
						if !have[rowName{p.Source, n}] {
							t.Errorf("seed %d: unit %d: %s row %d is in no part that is named", seed, u, p.Source, n)
						}
					}
				}
			}
		}
	}
}

func rejectsOf(t *testing.T, b *blob.Bucket, name string) map[rowName]bool {
	t.Helper()
	out := map[rowName]bool{}
	if err := corpus.Read(context.Background(), b, name, func(r schemas.RejectRow) error { out[rowName{r.Source, r.Row}] = true; return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestChooseNamesFilesThatCameOrWent(t *testing.T) {
	b := fresh(t)
	old := planOf(t, []file{{"a", 5, ""}, {"b", 5, ""}}, 5)
	m := write(t, b, old, schemas.Identity{}, nil)
	_, err := Choose(context.Background(), b, m, corpus.CodeLayout, old, planOf(t, []file{{"b", 5, ""}, {"c", 5, ""}}, 5), Choice{})
	if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), "gone: a") || !strings.Contains(err.Error(), "new: c") {
		t.Errorf("%v", err)
	}
}

// failing lets so many changes through and then fails, as a store does under a process that is killed.
type failing struct {
	driver.Bucket
	left *atomic.Int64
}

var errKilled = errors.New("killed")

func (f failing) change() error {
	if f.left.Add(-1) < 0 {
		return errKilled
	}
	return nil
}

func (f failing) Delete(ctx context.Context, name string) error {
	if err := f.change(); err != nil {
		return err
	}
	return f.Bucket.Delete(ctx, name)
}

func (f failing) Create(ctx context.Context, name string) (driver.Writer, error) {
	if err := f.change(); err != nil {
		return nil, err
	}
	return f.Bucket.Create(ctx, name)
}

// under opens a bucket as a driver: what it adds to messages does not matter here.
type under struct{ b *blob.Bucket }

func (u under) List(ctx context.Context, prefix string) iter.Seq2[driver.Info, error] {
	return u.b.List(ctx, prefix)
}
func (u under) Stat(ctx context.Context, name string) (driver.Info, error) {
	return u.b.Stat(ctx, name)
}
func (u under) Open(ctx context.Context, name string) (driver.Reader, error) {
	return u.b.Open(ctx, name)
}
func (u under) Create(ctx context.Context, name string) (driver.Writer, error) {
	return u.b.Create(ctx, name)
}
func (u under) Delete(ctx context.Context, name string) error         { return u.b.Delete(ctx, name) }
func (u under) Sweep(ctx context.Context, prefix string) (int, error) { return u.b.Sweep(ctx, prefix) }
func (u under) Close() error                                          { return nil }

// TestInstallAfterEveryKill puts a staged corpus in place with a store that fails at the n-th change, for every n, and then again: the
// result is always the staged corpus and nothing else, and at no time does a manifest stand beside files that it does not describe.
func TestInstallAfterEveryKill(t *testing.T) {
	ctx := context.Background()
	bad := map[rowName]schemas.RejectRow{{"b", 3}: {Reason: "no_image", Detail: "d", Retryable: true}}
	for _, c := range []struct {
		name  string
		after []file // another number of units, or the same plan
	}{{"other plan", []file{{"a", 30, ""}, {"b", 25, ""}}}, {"same plan", []file{{"a", 30, ""}, {"b", 5, ""}}}} {
		old, now := planOf(t, []file{{"a", 30, ""}, {"b", 5, ""}}, 12), planOf(t, c.after, 12)
		finished := false
		for n := 0; !finished; n++ {
			b := fresh(t)
			write(t, b, old, schemas.Identity{Weights: "w"}, bad)
			staging := open(t, blob.Join(b.URL(), launch.RetryFolder))
			m := write(t, staging, now, schemas.Identity{Weights: "w"}, nil)
			if c.name == "same plan" { // units that stay are not staged
				if err := staging.Delete(ctx, m.Files[0].Path); err != nil {
					t.Fatal(err)
				}
			}
			var left atomic.Int64
			left.Store(int64(n))
			_, err := Install(ctx, blob.New("store", failing{under{b}, &left}), blob.New("staging", failing{under{staging}, &left}), false)
			if finished = err == nil; !finished && !errors.Is(err, errKilled) {
				t.Fatalf("%s: after %d changes: %v", c.name, n, err)
			}
			if said, err := launch.ReadManifest(ctx, b); err == nil {
				if err := launch.Whole(ctx, b, said); err != nil {
					t.Errorf("%s: after %d changes: a manifest beside %v", c.name, n, err)
				}
			}
			staged, err := Staged(ctx, staging)
			if err != nil {
				t.Fatal(err)
			}
			if staged != nil {
				if _, err := Install(ctx, b, staging, false); err != nil {
					t.Fatalf("%s: again after %d changes: %v", c.name, n, err)
				}
			} else if err := Discard(ctx, staging); err != nil {
				t.Fatal(err)
			}
			got, err := launch.ReadManifest(ctx, b)
			if err != nil || !reflect.DeepEqual(got.Files, m.Files) || !reflect.DeepEqual(got.Counts, m.Counts) {
				t.Fatalf("%s: after %d changes: %v, %+v", c.name, n, err, got)
			}
			listed := map[string]bool{schemas.ManifestName: true, "README.md": true, now.Name(): true}
			for _, f := range m.Files {
				listed[f.Path] = true
				if sum, err := corpus.Digest(ctx, b, f.Path); err != nil || sum != f.SHA256 {
					t.Errorf("%s: after %d changes: %s has digest %s, want %s (%v)", c.name, n, f.Path, sum, f.SHA256, err)
				}
			}
			for info, err := range b.List(ctx, "") {
				if err != nil || !listed[info.Name] {
					t.Errorf("%s: after %d changes: %s lies about (%v)", c.name, n, info.Name, err)
				}
			}
		}
	}
}

func TestInstallThrowsAwayWhatLosesRows(t *testing.T) {
	ctx := context.Background()
	b := fresh(t)
	p := planOf(t, []file{{"a", 30, ""}}, 12)
	m := write(t, b, p, schemas.Identity{}, nil)
	staging := open(t, blob.Join(b.URL(), launch.RetryFolder))
	write(t, staging, p, schemas.Identity{}, map[rowName]schemas.RejectRow{{"a", 3}: {Reason: "no_image", Detail: "d"}})
	if _, err := Install(ctx, b, staging, false); !errors.Is(err, encode.ErrLoss) {
		t.Errorf("%v", err)
	}
	if staged, err := Staged(ctx, staging); staged != nil || err != nil {
		t.Errorf("what was refused is still staged (%v)", err)
	}
	if got, err := launch.ReadManifest(ctx, b); err != nil || !reflect.DeepEqual(got.Files, m.Files) {
		t.Errorf("%v", err)
	}
}

// TestDamagedPartIsNotCopied checks that rows of a part which is not what the manifest says are not taken over.
func TestDamagedPartIsNotCopied(t *testing.T) {
	ctx := context.Background()
	b, staging := fresh(t), fresh(t)
	p := planOf(t, []file{{"a", 30, ""}}, 12)
	m := write(t, b, p, schemas.Identity{}, nil)
	if err := p.Write(ctx, staging); err != nil {
		t.Fatal(err)
	}
	row := schemas.RetryRow{Unit: 0, Ranges: []schemas.RetryRange{{End: 10}}, Replaces: 0}
	for _, f := range m.Files {
		if unit, _ := corpus.PartUnit(f.Path); unit == 0 {
			row.Parts = append(row.Parts, schemas.RetryPart{Path: f.Path, SHA256: f.SHA256})
		}
	}
	got, err := pieces(ctx, b, staging, p.Name(), row)
	if err != nil || len(got) != 1 || len(got[0].Rows.Codes) != 10 {
		t.Fatalf("%+v, %v", got, err)
	}
	row.Parts[1].SHA256 = strings.Repeat("0", 64)
	if _, err := pieces(ctx, b, staging, p.Name(), row); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("%v", err)
	}
}
