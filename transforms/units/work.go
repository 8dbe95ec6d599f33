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

// Worker does one unit: it reads, computes, writes and commits, or finds it committed. config is the JSON of the kind's own
// configuration.
type Worker func(ctx context.Context, config []byte, unit int) (corpus.UnitInfo, error)

var workers = map[string]Worker{}

// Register makes a kind of work known, in the launcher and in worker processes alike; a kind taken twice panics.
func Register(kind string, w Worker) {
	if workers[kind] != nil {
		panic(fmt.Sprintf("units: two workers for %q", kind))
	}
	workers[kind] = w
}

// Work does every unit 0…units-1 of a kind of work, in n branches, and returns a PCollection<string> with one corpus.UnitInfo a
// unit, as JSON. Nothing else crosses a stage: a unit is read, done, written and committed in one call.
func Work(s beam.Scope, kind string, config any, units, n int) (beam.PCollection, error) {
	text, err := json.Marshal(config)
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
