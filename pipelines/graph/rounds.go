package graph

import (
	"errors"
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"sower/schemas"
	"sower/transforms/rounds"
)

// MaxRounds bounds the rounds of a graph: its size grows with them. Longer runs are several graphs, one after the other, over the same commits.
const MaxRounds = 50

// RoundsOptions are all that the graph of some rounds needs, with the configuration C of its kind of training.
type RoundsOptions[C any] struct {
	Config   C
	From, To int // rounds [From, To)
	Manifest schemas.Manifest
}

// Training is what a configuration says of its rounds.
type Training struct {
	Rounds, Workers int
	Results         bool // follow the last round
}

// BuildRounds adds the graph to a pipeline, unless something cannot work: then it names all of it, valid, the configuration's own errors, among
// them.
func BuildRounds[C any](s beam.Scope, kind rounds.Kind[C], o RoundsOptions[C], t Training, valid error) error {
	if o.From < 0 || o.From > o.To || o.To > t.Rounds || o.To-o.From > MaxRounds {
		valid = errors.Join(valid, fmt.Errorf("graph: rounds %d to %d of %d, want at most %d", o.From, o.To, t.Rounds, MaxRounds))
	}
	if valid != nil {
		return valid
	}
	g, err := kind.Begin(s, o.Config)
	if err != nil {
		return err
	}
	for r := o.From; r < o.To; r++ {
		g.Round(r, t.Workers)
	}
	if !t.Results || o.To < t.Rounds {
		return nil
	}
	return g.Finish(o.Manifest)
}
