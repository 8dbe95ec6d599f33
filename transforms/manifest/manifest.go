// Package manifest ends a run: when every unit is committed it checks the accounts and writes the card and, last of all,
// the manifest, which alone proves success.
package manifest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"sower/internal/blob"
	"sower/internal/card"
	"sower/internal/corpus"
	"sower/internal/launch"
	"sower/internal/progress"
	"sower/schemas"
)

func init() {
	register.DoFn3x1[context.Context, int, func(*string) bool, error](&writeFn{})
	register.Iter1[string]()
}

// Options are what the manifest says beside the units' own facts.
type Options struct {
	RunID    string
	Output   string
	Manifest schemas.Manifest // all but counts, files and times
	// MaxFailureRate refuses to call a run a success when a larger share of all its rows failed (filters are no failures).
	MaxFailureRate float64
	// Base is the folder of a corpus that a retry makes new parts of: what its manifest lists and no unit replaces stays. Work is then
	// the number of units to report; 0 means all of the plan.
	Base string
	Work int
	// Stages says that all units are worked on in the process that writes the manifest, so that it knows their times.
	Stages bool
}

// Validate names what does not fit between a graph's configuration and its manifest.
func (o *Options) Validate(output, plan string, units, branches int) error {
	var errs []error
	if branches < 1 {
		errs = append(errs, fmt.Errorf("%s: %d branches, want at least 1", o.Manifest.Pipeline, branches))
	}
	if units < 1 || units != o.Manifest.Units {
		errs = append(errs, fmt.Errorf("%s: %d units in the plan, %d in the manifest", o.Manifest.Pipeline, units, o.Manifest.Units))
	}
	if plan == "" || output != o.Output {
		errs = append(errs, fmt.Errorf("%s: plan %q, output %q and %q", o.Manifest.Pipeline, plan, output, o.Output))
	}
	return errors.Join(errs...)
}

// Write takes the units' infos (PCollection<string>, corpus.UnitInfo as JSON) and writes the manifest.
func Write(s beam.Scope, o Options, infos beam.PCollection) {
	s = s.Scope("manifest.Write")
	grouped := beam.GroupByKey(s, beam.AddFixedKey(s, infos))
	beam.ParDo0(s, &writeFn{Options: o}, grouped)
}

type writeFn struct{ Options Options }

func (f *writeFn) ProcessElement(ctx context.Context, _ int, next func(*string) bool) error {
	var infos []corpus.UnitInfo
	var text string
	for next(&text) {
		var info corpus.UnitInfo
		if err := json.Unmarshal([]byte(text), &info); err != nil {
			return fmt.Errorf("manifest: unit info: %w", err)
		}
		infos = append(infos, info)
	}
	b, err := blob.OpenBucket(ctx, f.Options.Output)
	if err != nil {
		return err
	}
	defer b.Close()
	return Commit(ctx, b, f.Options, infos)
}

// ErrFailures means that the run did all its units, but most rows failed.
var ErrFailures = errors.New("too many rows failed")

// Commit checks that every unit reported once and that no row is missing, and writes card and manifest.
func Commit(ctx context.Context, b *blob.Bucket, o Options, infos []corpus.UnitInfo) error {
	m := o.Manifest
	seen, reported := make([]bool, m.Units), 0
	m.Files, m.Counts, m.Resumed, m.Reused = nil, schemas.Counts{Rejected: map[string]int64{}}, 0, 0
	for _, info := range infos {
		if info.Unit < 0 || info.Unit >= m.Units {
			return fmt.Errorf("manifest: unit %d of %d", info.Unit, m.Units)
		}
		if seen[info.Unit] { // a runner that tried a unit twice: equal files, so once is enough
			continue
		}
		seen[info.Unit] = true
		reported++
		m.Counts.Add(info.Counts)
		m.Files = append(m.Files, info.Files...)
		m.Reused += info.Reused
		if info.Resumed {
			m.Resumed++
		}
	}
	if o.Base != "" {
		if reported != o.Work {
			return fmt.Errorf("manifest: %d units reported, want %d: run again to finish them", reported, o.Work)
		}
		if err := keep(ctx, &m, o.Base, infos); err != nil {
			return err
		}
	} else if u := slices.Index(seen, false); u >= 0 {
		return fmt.Errorf("manifest: unit %d of %d did not report: run again to finish it", u, m.Units)
	}
	if err := m.Counts.Check(); err != nil {
		return err
	}
	if err := tooMany(m.Counts, o.MaxFailureRate); err != nil {
		return err
	}
	if o.Stages {
		m.Stages = progress.Lookup(o.RunID).Snapshot().Stages
	}
	finished := time.Now().UTC()
	m.Finished = finished.Format(time.RFC3339)
	if began, err := time.Parse(time.RFC3339Nano, m.Started); err == nil {
		m.Seconds = float64(finished.Sub(began).Milliseconds()) / 1000
	}
	p, err := m.Marshal()
	if err != nil {
		return err
	}
	descriptions, err := card.Files(&m)
	if err != nil {
		return err
	}
	// A worker that was killed while the run went on without it left its temporary files.
	if _, err := b.Sweep(ctx, ""); err != nil {
		return err
	}
	for name, text := range descriptions {
		if err := b.WriteAll(ctx, name, text); err != nil {
			return err
		}
	}
	return b.WriteAll(ctx, schemas.ManifestName, p)
}

// keep adds the files and counts of a corpus whose other units were done again.
func keep(ctx context.Context, m *schemas.Manifest, folder string, infos []corpus.UnitInfo) error {
	b, err := blob.OpenBucket(ctx, folder)
	if err != nil {
		return err
	}
	defer b.Close()
	base, err := launch.ReadManifest(ctx, b)
	if err != nil {
		return err
	}
	replaced, gone := map[string]bool{}, map[int]bool{}
	for _, f := range m.Files {
		replaced[f.Path] = true
	}
	kept := base.Counts
	for _, info := range infos {
		if gone[info.Unit] {
			continue
		}
		gone[info.Unit] = true
		if info.Replaces == nil {
			return fmt.Errorf("manifest: unit %d does not say what it replaces", info.Unit)
		}
		if err := kept.Subtract(*info.Replaces); err != nil {
			return err
		}
	}
	m.Counts.Add(kept)
	for _, f := range base.Files {
		if !replaced[f.Path] {
			m.Files = append(m.Files, f)
		}
	}
	return nil
}

// tooMany applies the failure limit to the whole run. Runs of many rows were watched while they ran; this catches the
// small ones, too.
func tooMany(c schemas.Counts, limit float64) error {
	if err := tooManyOf("", c.Rejected, c.In, limit); err != nil || c.Documents == nil {
		return err
	}
	// Documents that lack images were counted by their images; those that cannot be read at all have none.
	return tooManyOf(" documents", c.Documents.Rejected, c.Documents.In, limit)
}

func tooManyOf(what string, rejected map[string]int64, in int64, limit float64) error {
	var failed int64
	worst := schemas.Reason("")
	for _, r := range schemas.Reasons {
		if n := rejected[string(r)]; n > 0 && !r.Filter() {
			failed += n
			if worst == "" || n > rejected[string(worst)] {
				worst = r
			}
		}
	}
	if limit <= 0 || in == 0 || float64(failed) <= limit*float64(in) {
		return nil
	}
	return fmt.Errorf("manifest: %w: %d of %d%s, most of them %s. See rejects/ for each one; if that is the state of the input, run again with --max-failure-rate 1 (nothing is encoded twice)",
		ErrFailures, failed, in, what, worst)
}
