// Package rounds is the Beam half of training: rounds as stages, each of which begins with the commit of the one before. A kind of
// training is a package beside this one that registers its functions. Elements are the numbers of workers, reports and digests of
// commits; what is trained travels as files.
package rounds

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

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

// Kind is a kind of training by the run's configuration C.
type Kind[C any] struct{ name string }

// New makes a kind known, in the launcher and in worker processes alike; a name taken twice panics. train does a worker's share of a round
// and reports, end commits a round of such reports and returns the digest of the commit, finish writes what a finished run leaves.
func New[C, R any](name string, train func(ctx context.Context, cfg C, round, worker int) (*R, error), end func(ctx context.Context, cfg C, round int, reports []R) (digest string, err error),
	finish func(ctx context.Context, cfg C, m schemas.Manifest) error) Kind[C] {
	if kinds[name].train != nil {
		panic(fmt.Sprintf("rounds: two kinds %q", name))
	}
	parse := func(text []byte, to any, what string) error {
		if err := json.Unmarshal(text, to); err != nil {
			return fmt.Errorf("%s: %s: %w", name, what, err)
		}
		return nil
	}
	kinds[name] = functions{
		train: func(ctx context.Context, config []byte, round, worker int) ([]byte, error) {
			var c C
			if err := parse(config, &c, "configuration"); err != nil {
				return nil, err
			}
			r, err := train(ctx, c, round, worker)
			if err != nil {
				return nil, err
			}
			return json.Marshal(r)
		},
		end: func(ctx context.Context, config []byte, round int, texts [][]byte) (string, error) {
			var c C
			if err := parse(config, &c, "configuration"); err != nil {
				return "", err
			}
			reports := make([]R, len(texts))
			for i, text := range texts {
				if err := parse(text, &reports[i], "report"); err != nil {
					return "", err
				}
			}
			return end(ctx, c, round, reports)
		},
		finish: func(ctx context.Context, config []byte, m schemas.Manifest) error {
			var c C
			if err := parse(config, &c, "configuration"); err != nil {
				return err
			}
			return finish(ctx, c, m)
		},
	}
	return Kind[C]{name}
}

// functions are those of a kind, with what travels as JSON.
type functions struct {
	train  func(ctx context.Context, config []byte, round, worker int) (report []byte, err error)
	end    func(ctx context.Context, config []byte, round int, reports [][]byte) (digest string, err error)
	finish func(ctx context.Context, config []byte, m schemas.Manifest) error
}

// kinds are those of this program, by the name that travels.
var kinds = map[string]functions{}

// lookup finds a kind in this process.
func lookup(name string) (functions, error) {
	k, ok := kinds[name]
	if !ok {
		return k, fmt.Errorf("rounds: this worker does not know %q: it is another binary than the launcher", name)
	}
	return k, nil
}

// Training adds rounds to a graph.
type Training struct {
	kind   string
	config []byte
	scope  beam.Scope
	at     beam.PCollection // one element, once what came before is done
}

// begin makes the first element of a graph.
func begin([]byte) string { return "" }

// Begin is where the first round of a graph begins.
func (k Kind[C]) Begin(s beam.Scope, cfg C) (*Training, error) {
	kind := k.name
	text, err := json.Marshal(cfg)
	if err != nil {
		return nil, fmt.Errorf("rounds: configuration of %s: %w", kind, err)
	}
	s = s.Scope(kind)
	return &Training{kind: kind, config: text, scope: s, at: beam.ParDo(s, begin, beam.Impulse(s))}, nil
}

// Round adds a round: after what came before, every worker trains its share, and one bundle makes them a commit.
func (t *Training) Round(round, workers int) {
	s := t.scope.Scope(fmt.Sprintf("round %d", round))
	dealt := beam.Reshuffle(s, beam.ParDo(s, &dealFn{Workers: int64(workers)}, t.at))
	reports := beam.ParDo(s, &trainFn{Kind: t.kind, Config: t.config, Round: round}, dealt)
	t.at = beam.ParDo(s, &commitFn{Kind: t.kind, Config: t.config, Round: round}, beam.GroupByKey(s, beam.AddFixedKey(s, reports)))
}

// Finish writes the results once the last round is committed.
func (t *Training) Finish(m schemas.Manifest) error {
	manifest, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("rounds: manifest: %w", err)
	}
	beam.ParDo0(t.scope.Scope("finish"), &finishFn{Kind: t.kind, Config: t.config, Manifest: manifest}, t.at)
	return nil
}

type dealFn struct{ Workers int64 }

func (f *dealFn) ProcessElement(_ string, emit func(int64)) {
	for w := range f.Workers {
		emit(w)
	}
}

type trainFn struct {
	Kind   string
	Config []byte
	Round  int
}

func (f *trainFn) ProcessElement(ctx context.Context, worker int64) (string, error) {
	k, err := lookup(f.Kind)
	if err != nil {
		return "", err
	}
	report, err := k.train(ctx, f.Config, f.Round, int(worker))
	return string(report), err
}

type commitFn struct {
	Kind   string
	Config []byte
	Round  int
}

func (f *commitFn) ProcessElement(ctx context.Context, _ int, next func(*string) bool) (string, error) {
	k, err := lookup(f.Kind)
	if err != nil {
		return "", err
	}
	var reports [][]byte
	var text string
	for next(&text) {
		reports = append(reports, []byte(text))
	}
	return k.end(ctx, f.Config, f.Round, reports)
}

type finishFn struct {
	Kind             string
	Config, Manifest []byte
}

func (f *finishFn) ProcessElement(ctx context.Context, _ string) error {
	k, err := lookup(f.Kind)
	if err != nil {
		return err
	}
	var m schemas.Manifest
	if err := json.Unmarshal(f.Manifest, &m); err != nil {
		return fmt.Errorf("rounds: manifest: %w", err)
	}
	return k.finish(ctx, f.Config, m)
}
