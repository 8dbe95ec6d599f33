// Package tune is the Beam half of tuning: rounds as stages, each of which begins with the commit of the one before. The work is in
// internal/tune. Elements are the numbers of workers, reports and commits; adapters travel as files.
package tune

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"sower/internal/tune"
	"sower/schemas"
)

func init() {
	register.DoFn2x0[string, func(int64)](&dealFn{})
	register.DoFn2x2[context.Context, int64, string, error](&trainFn{})
	register.DoFn3x2[context.Context, int, func(*string) bool, string, error](&commitFn{})
	register.DoFn2x1[context.Context, string, error](&finishFn{})
	register.Emitter1[int64]()
	register.Iter1[string]()
	register.Function1x1(begin)
}

// begin makes the first element of a graph.
func begin([]byte) string { return "" }

// Begin is where the first round of a graph begins: one element, PCollection<string>.
func Begin(s beam.Scope) beam.PCollection { return beam.ParDo(s, begin, beam.Impulse(s)) }

// Round adds a round: after what came before (one element), every worker trains its share, and one bundle makes them a commit,
// PCollection<string> of one element.
func Round(s beam.Scope, c tune.Config, round int, before beam.PCollection) (beam.PCollection, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return beam.PCollection{}, fmt.Errorf("tune: configuration: %w", err)
	}
	s = s.Scope(fmt.Sprintf("round %d", round))
	workers := beam.Reshuffle(s, beam.ParDo(s, &dealFn{Workers: int64(c.Workers)}, before))
	reports := beam.ParDo(s, &trainFn{Config: text, Round: round}, workers)
	return beam.ParDo(s, &commitFn{Config: text, Round: round}, beam.GroupByKey(s, beam.AddFixedKey(s, reports))), nil
}

// Finish writes the results once the last round is committed.
func Finish(s beam.Scope, c tune.Config, m schemas.Manifest, last beam.PCollection) error {
	config, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("tune: configuration: %w", err)
	}
	manifest, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("tune: manifest: %w", err)
	}
	beam.ParDo0(s.Scope("finish"), &finishFn{Config: config, Manifest: manifest}, last)
	return nil
}

type dealFn struct{ Workers int64 }

func (f *dealFn) ProcessElement(_ string, emit func(int64)) {
	for w := range f.Workers {
		emit(w)
	}
}

func parse(config []byte) (c tune.Config, err error) {
	if err = json.Unmarshal(config, &c); err != nil {
		err = fmt.Errorf("tune: configuration: %w", err)
	}
	return c, err
}

type trainFn struct {
	Config []byte
	Round  int
}

func (f *trainFn) ProcessElement(ctx context.Context, worker int64) (string, error) {
	c, err := parse(f.Config)
	if err != nil {
		return "", err
	}
	r, err := tune.Round(ctx, c, f.Round, int(worker))
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(r)
	return string(text), err
}

type commitFn struct {
	Config []byte
	Round  int
}

func (f *commitFn) ProcessElement(ctx context.Context, _ int, next func(*string) bool) (string, error) {
	c, err := parse(f.Config)
	if err != nil {
		return "", err
	}
	var reports []tune.Report
	var text string
	for next(&text) {
		var r tune.Report
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			return "", fmt.Errorf("tune: report: %w", err)
		}
		reports = append(reports, r)
	}
	m, err := tune.End(ctx, c, f.Round, reports)
	if err != nil {
		return "", err
	}
	return m.SHA256, nil
}

type finishFn struct{ Config, Manifest []byte }

func (f *finishFn) ProcessElement(ctx context.Context, _ string) error {
	c, err := parse(f.Config)
	if err != nil {
		return err
	}
	var m schemas.Manifest
	if err := json.Unmarshal(f.Manifest, &m); err != nil {
		return fmt.Errorf("tune: manifest: %w", err)
	}
	return tune.Finish(ctx, c, m)
}
