// Package detokenize is the Beam half of de-tokenizing: units in, committed parts out.
package detokenize

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"sower/internal/detokenize"
)

func init() {
	register.DoFn3x1[context.Context, int64, func(string), error](&unitFn{})
	register.Emitter1[string]()
}

// Units de-tokenizes every unit of a PCollection<int64> and returns a PCollection<string> with one corpus.UnitInfo a
// unit, as JSON.
func Units(s beam.Scope, cfg detokenize.Config, units beam.PCollection) beam.PCollection {
	s = s.Scope("detokenize.Units")
	return beam.ParDo(s, &unitFn{Config: cfg}, units)
}

type unitFn struct{ Config detokenize.Config }

func (f *unitFn) ProcessElement(ctx context.Context, unit int64, emit func(string)) error {
	info, err := detokenize.Unit(ctx, f.Config, int(unit))
	if err != nil {
		return err
	}
	p, err := json.Marshal(info)
	if err != nil {
		return fmt.Errorf("detokenize: unit %d: %w", unit, err)
	}
	emit(string(p))
	return nil
}
