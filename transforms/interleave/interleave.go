// Package interleave is the Beam half of interleaving: units in, committed parts out.
package interleave

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"sower/internal/interleave"
)

func init() {
	register.DoFn3x1[context.Context, int64, func(string), error](&unitFn{})
	register.Emitter1[string]()
}

// Units builds the sequences of every unit of a PCollection<int64> and returns a PCollection<string> with one corpus.UnitInfo a
// unit, as JSON.
func Units(s beam.Scope, cfg interleave.Config, units beam.PCollection) beam.PCollection {
	s = s.Scope("interleave.Units")
	return beam.ParDo(s, &unitFn{Config: cfg}, units)
}

type unitFn struct{ Config interleave.Config }

func (f *unitFn) ProcessElement(ctx context.Context, unit int64, emit func(string)) error {
	t, err := interleave.GetTask(ctx, f.Config)
	if err != nil {
		return err
	}
	info, err := t.Unit(ctx, int(unit))
	if err != nil {
		return err
	}
	p, err := json.Marshal(info)
	if err != nil {
		return fmt.Errorf("interleave: unit %d: %w", unit, err)
	}
	emit(string(p))
	return nil
}
