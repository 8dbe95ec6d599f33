// Package encode is the Beam half of encoding: units in, committed parts out. The work is in internal/encode, which has
// never heard of Beam.
package encode

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"sower/internal/encode"
)

func init() {
	register.DoFn3x1[context.Context, int64, func(string), error](&unitFn{})
	register.Emitter1[string]()
}

// Units encodes every unit of a PCollection<int64> and returns a PCollection<string> with one corpus.UnitInfo a unit, as
// JSON. No image crosses a stage: a unit is read, encoded, written and committed in one call.
func Units(s beam.Scope, cfg encode.Config, units beam.PCollection) beam.PCollection {
	s = s.Scope("encode.Units")
	return beam.ParDo(s, &unitFn{Config: cfg}, units)
}

type unitFn struct {
	Config encode.Config

	units, rows, encoded, rejected beam.Counter
}

func (f *unitFn) Setup() {
	const namespace = "sower"
	f.units = beam.NewCounter(namespace, "units")
	f.rows = beam.NewCounter(namespace, "rows")
	f.encoded = beam.NewCounter(namespace, "encoded")
	f.rejected = beam.NewCounter(namespace, "rejected")
}

func (f *unitFn) ProcessElement(ctx context.Context, unit int64, emit func(string)) error {
	w, err := encode.GetWorker(ctx, f.Config)
	if err != nil {
		return err
	}
	info, err := w.Unit(ctx, int(unit))
	if err != nil {
		return err
	}
	f.units.Inc(ctx, 1)
	f.rows.Inc(ctx, info.Counts.In)
	f.encoded.Inc(ctx, info.Counts.Encoded)
	f.rejected.Inc(ctx, info.Counts.RejectedTotal())
	p, err := json.Marshal(info)
	if err != nil {
		return fmt.Errorf("encode: unit %d: %w", unit, err)
	}
	emit(string(p))
	return nil
}
