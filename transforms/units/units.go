// Package units is what the pipelines have in common: the units of a plan as elements, and the work on each as one call. A kind
// of work (encode, detokenize, interleave) is a package beside this one that registers a function.
package units

import (
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
)

func init() {
	register.DoFn2x0[[]byte, func(int64)](&expandFn{})
	register.Emitter1[int64]()
}

// branches returns n collections that share the unit numbers 0…units-1 among them, each behind a Reshuffle. The graph's size
// does not depend on the number of units. A runner that works one bundle of a stage at a time (Prism, when elements are quick)
// gets its parallelism from the branches; others need one.
func branches(s beam.Scope, units, n int) []beam.PCollection {
	n = max(1, min(n, units))
	out := make([]beam.PCollection, n)
	for i := range out {
		numbers := beam.ParDo(s, &expandFn{Units: int64(units), First: int64(i), Step: int64(n)}, beam.Impulse(s))
		out[i] = beam.Reshuffle(s, numbers)
	}
	return out
}

type expandFn struct{ Units, First, Step int64 }

func (f *expandFn) ProcessElement(_ []byte, emit func(int64)) {
	for u := f.First; u < f.Units; u += f.Step {
		emit(u)
	}
}
