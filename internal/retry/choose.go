// Package retry does rejected rows of a finished corpus again, so that the corpus becomes what a clean run on today's input would
// have written, byte for byte. It knows nothing of Beam.
//
// The launcher compares the plan of the corpus with a new one and chooses the ranges to read (Choose). Workers make the parts of the
// units concerned in a staging folder inside of the corpus (Worker.Unit): rows of ranges that are not read are taken over, and images whose
// bytes did not change keep their codes, so that the model sees only what is new. When all is there, Install puts it in place. Until
// then the corpus is whole and its manifest true; from then on nothing is computed any more, and the next retry finishes what a kill
// left.
package retry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"sower/internal/blob"
	"sower/internal/corpus"
	"sower/internal/plan"
	"sower/schemas"
)

// ErrInput marks an input that is not the corpus's own: files that came or went.
var ErrInput = errors.New("the input is another than the corpus was made from")

// Choice says what is done again, beside files that changed.
type Choice struct {
	// Reasons of rejected rows; none means those that are marked retryable.
	Reasons []schemas.Reason
	// All reads everything again, which finds images that changed behind a path without a trace in the input's own files.
	All bool
}

// Validate refuses reasons that the same settings would give again.
func (c *Choice) Validate() error {
	var errs []error
	for _, r := range c.Reasons {
		switch {
		case !slices.Contains(schemas.Reasons, r):
			errs = append(errs, fmt.Errorf("retry: no reason %q (have: %s)", r, joined(schemas.Reasons)))
		case r.Filter():
			errs = append(errs, fmt.Errorf("retry: %s is the verdict of a filter, which a corpus keeps: encode with other filters into another folder, or read everything again with --all if images were replaced", r))
		}
	}
	return errors.Join(errs...)
}

func joined(reasons []schemas.Reason) string {
	var s []string
	for _, r := range reasons {
		if !r.Filter() {
			s = append(s, string(r))
		}
	}
	return strings.Join(s, ", ")
}

func (c *Choice) chosen(reason schemas.Reason, retryable bool) bool {
	if len(c.Reasons) == 0 {
		return retryable
	}
	return slices.Contains(c.Reasons, reason)
}

// Task is what a retry has to do.
type Task struct {
	Rows []schemas.RetryRow
	// Same says that the new plan has the digest of the old one: units that are not in Rows stay as they are.
	Same bool
	// Changed are the input files that changed, Chosen the rejected rows that are done again, by reason.
	Changed []string
	Chosen  map[schemas.Reason]int64
	// Read is the number of ranges and their bytes that are read.
	Read      int
	ReadBytes int64
}

// Choose compares a corpus with today's input.
func Choose(ctx context.Context, b *blob.Bucket, m *schemas.Manifest, layout corpus.Layout, old, now *plan.Plan, choice Choice) (*Task, error) {
	t := &Task{Same: old.Digest == now.Digest, Chosen: map[schemas.Reason]int64{}}
	was, is := newRanges(old), newRanges(now)
	var err error
	if t.Changed, err = sameFiles(was, is); err != nil {
		return nil, err
	}
	marked, err := t.rejected(ctx, b, m, was, choice)
	if err != nil {
		return nil, err
	}
	files := map[string]schemas.File{}
	for _, f := range m.Files {
		files[f.Path] = f
	}
	dedup := m.Identity.Options["dedup"] == "true"
	for first := 0; first < len(now.Rows); {
		next := first
		for next < len(now.Rows) && now.Rows[next].Unit == now.Rows[first].Unit {
			next++
		}
		row := schemas.RetryRow{Work: int32(len(t.Rows)), Unit: now.Rows[first].Unit, Replaces: -1}
		any := false
		for i := first; i < next; i++ {
			at, same := was.counterpart(is, i)
			read := choice.All || !same || marked[at]
			any = any || read
			row.Ranges = append(row.Ranges, schemas.RetryRange{Read: read, End: is.end[i]})
		}
		// What is a duplicate depends on all rows of a unit.
		if dedup && (any || !was.sameUnit(is, first, next)) {
			any = true
			for i := range row.Ranges {
				row.Ranges[i].Read = true
			}
		}
		if any || !t.Same {
			if t.Same {
				row.Replaces = row.Unit
			}
			for _, u := range was.units(is, first, next) {
				for _, name := range layout.Names(int(u), old.Units) {
					f, ok := files[name]
					if !ok {
						return nil, fmt.Errorf("retry: %s does not list %s: it is not of this corpus", schemas.ManifestName, name)
					}
					row.Parts = append(row.Parts, schemas.RetryPart{Path: name, SHA256: f.SHA256})
				}
			}
			t.Rows = append(t.Rows, row)
			for i, r := range row.Ranges {
				if r.Read {
					t.Read++
					t.ReadBytes += now.Rows[first+i].Bytes
				}
			}
		}
		first = next
	}
	return t, nil
}

// rejected finds the ranges of the old plan that hold a chosen row.
func (t *Task) rejected(ctx context.Context, b *blob.Bucket, m *schemas.Manifest, was *ranges, choice Choice) (map[int]bool, error) {
	type columns struct {
		Source    string `parquet:"source,dict"`
		Row       int64  `parquet:"row,delta"`
		Reason    string `parquet:"reason,dict"`
		Retryable bool   `parquet:"retryable"`
	}
	marked := map[int]bool{}
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(transfers)
	for _, f := range m.Files {
		if !strings.HasPrefix(f.Path, "rejects/") || f.Rows == 0 {
			continue
		}
		g.Go(func() error {
			return corpus.Read(ctx, b, f.Path, func(r columns) error {
				if !choice.chosen(schemas.Reason(r.Reason), r.Retryable) {
					return nil
				}
				at := was.find(r.Source, r.Row)
				if at < 0 {
					return fmt.Errorf("retry: %s rejects %s row %d, which the plan does not have", f.Path, r.Source, r.Row)
				}
				mu.Lock()
				defer mu.Unlock()
				marked[at] = true
				t.Chosen[schemas.Reason(r.Reason)]++
				return nil
			})
		})
	}
	return marked, g.Wait()
}

// ranges are a plan's rows by source. The ranges of a source follow each other in a plan.
type ranges struct {
	rows   []schemas.PlanRow
	source map[string][2]int // from, to
	end    []int64           // row number before which each range ends, -1 at the end of its source
}

func newRanges(p *plan.Plan) *ranges {
	r := &ranges{rows: p.Rows, source: map[string][2]int{}, end: make([]int64, len(p.Rows))}
	for i, row := range p.Rows {
		at, ok := r.source[row.Source]
		if !ok {
			at[0] = i
		}
		at[1] = i + 1
		r.source[row.Source] = at
		r.end[i] = -1
		if ok {
			r.end[i-1] = row.FirstRow
		}
	}
	return r
}

// find is the range that holds a row of a source, -1 for none.
func (r *ranges) find(source string, row int64) int {
	at, ok := r.source[source]
	if !ok {
		return -1
	}
	n := sort.Search(at[1]-at[0], func(i int) bool { return r.rows[at[0]+i].FirstRow > row })
	if n == 0 {
		return -1
	}
	return at[0] + n - 1
}

// counterpart is the range of r that is range i of now, if its file is as it was.
func (r *ranges) counterpart(now *ranges, i int) (at int, same bool) {
	n := now.rows[i]
	if at = r.find(n.Source, n.FirstRow); at < 0 {
		return at, false
	}
	o := r.rows[at]
	o.Unit, n.Unit = 0, 0
	return at, o == n && r.end[at] == now.end[i]
}

// sameUnit says whether the ranges [from, to) of now, which are a unit, are a unit of r.
func (r *ranges) sameUnit(now *ranges, from, to int) bool {
	first, ok := r.counterpart(now, from)
	if !ok || first+to-from > len(r.rows) {
		return false
	}
	unit := r.rows[first].Unit
	if first > 0 && r.rows[first-1].Unit == unit || first+to-from < len(r.rows) && r.rows[first+to-from].Unit == unit {
		return false
	}
	for i := from; i < to; i++ {
		if at, same := r.counterpart(now, i); !same || at != first+i-from || r.rows[at].Unit != unit {
			return false
		}
	}
	return true
}

// units are those of r that hold rows of the ranges [from, to) of now, in order.
func (r *ranges) units(now *ranges, from, to int) []int32 {
	var out []int32
	for i := from; i < to; i++ {
		n := now.rows[i]
		at := r.source[n.Source]
		for k := max(r.find(n.Source, n.FirstRow), at[0]); k < at[1] && (now.end[i] < 0 || r.rows[k].FirstRow < now.end[i]); k++ {
			out = append(out, r.rows[k].Unit)
		}
	}
	return slices.Compact(out)
}

// sameFiles lists the files that changed. Files that came or went are an error: a retry repairs a corpus, it neither extends it nor
// takes the absence of a folder for a wish to drop its rows.
func sameFiles(was, is *ranges) (changed []string, err error) {
	var gone, came []string
	for name, at := range was.source {
		now, ok := is.source[name]
		if !ok {
			gone = append(gone, name)
			continue
		}
		a, b := was.rows[at[0]], is.rows[now[0]]
		if a.Size != b.Size || a.Tag != b.Tag || a.Format != b.Format {
			changed = append(changed, name)
		}
	}
	for name := range is.source {
		if _, ok := was.source[name]; !ok {
			came = append(came, name)
		}
	}
	slices.Sort(changed)
	if len(gone)+len(came) == 0 {
		return changed, nil
	}
	slices.Sort(gone)
	slices.Sort(came)
	say := func(what string, names []string) string {
		if len(names) == 0 {
			return ""
		}
		more := ""
		if n := len(names); n > 5 {
			names, more = names[:5], fmt.Sprintf(" and %d more", n-5)
		}
		return fmt.Sprintf("; %s: %s%s", what, strings.Join(names, ", "), more)
	}
	return nil, fmt.Errorf("retry: %w%s%s. Put missing files back; encode new ones into a folder of their own", ErrInput, say("gone", gone), say("new", came))
}
