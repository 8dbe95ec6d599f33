package units

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"sower/internal/corpus"
)

func init() {
	register.DoFn3x1[context.Context, int64, func(string), error](&workFn{})
	register.Emitter1[string]()
}

// Kind is a kind of work on units, each by the run's configuration C.
type Kind[C any] struct{ name string }

// New makes a kind known, in the launcher and in worker processes alike; a name taken twice panics. do does one unit: it reads, computes,
// writes and commits, or finds it committed.
func New[C any](name string, do func(ctx context.Context, cfg C, unit int) (corpus.UnitInfo, error)) Kind[C] {
	if workers[name] != nil {
		panic(fmt.Sprintf("units: two workers for %q", name))
	}
	workers[name] = func(ctx context.Context, config []byte, unit int) (corpus.UnitInfo, error) {
		var cfg C
		if err := json.Unmarshal(config, &cfg); err != nil {
			return corpus.UnitInfo{}, fmt.Errorf("%s: configuration: %w", name, err)
		}
		return do(ctx, cfg, unit)
	}
	return Kind[C]{name}
}

// workers are the kinds of this program, by the name that travels.
var workers = map[string]func(ctx context.Context, config []byte, unit int) (corpus.UnitInfo, error){}

// Work does every unit 0…units-1, in n branches, and returns a PCollection<string> with one corpus.UnitInfo a unit, as JSON. Nothing else
// crosses a stage: a unit is read, done, written and committed in one call.
func (k Kind[C]) Work(s beam.Scope, cfg C, units, n int) (beam.PCollection, error) {
	kind := k.name
	text, err := json.Marshal(cfg)
	if err != nil {
		return beam.PCollection{}, fmt.Errorf("units: configuration of %s: %w", kind, err)
	}
	s = s.Scope(kind)
	var infos []beam.PCollection
	for _, numbers := range branches(s, units, n) {
		infos = append(infos, beam.ParDo(s, &workFn{Kind: kind, Config: text}, numbers))
	}
	if len(infos) == 1 {
		return infos[0], nil
	}
	return beam.Flatten(s, infos...), nil
}

// workFn carries all it needs in exported fields: a worker process has nothing else.
type workFn struct {
	Kind   string
	Config []byte

	units, rows, used, rejected beam.Counter
}

func (f *workFn) Setup() {
	const namespace = "sower"
	f.units = beam.NewCounter(namespace, "units")
	f.rows = beam.NewCounter(namespace, "rows")
	f.used = beam.NewCounter(namespace, "used")
	f.rejected = beam.NewCounter(namespace, "rejected")
}

func (f *workFn) ProcessElement(ctx context.Context, unit int64, emit func(string)) error {
	work := workers[f.Kind]
	if work == nil {
		return fmt.Errorf("units: this worker does not know %q: it is another binary than the launcher", f.Kind)
	}
	info, err := work(ctx, f.Config, int(unit))
	if err != nil {
		return err
	}
	f.units.Inc(ctx, 1)
	f.rows.Inc(ctx, info.Counts.In)
	f.used.Inc(ctx, info.Counts.Encoded)
	f.rejected.Inc(ctx, info.Counts.RejectedTotal())
	p, err := json.Marshal(info)
	if err != nil {
		return fmt.Errorf("%s: unit %d: %w", f.Kind, unit, err)
	}
	emit(string(p))
	return nil
}
