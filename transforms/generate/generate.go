// Package generate is the Beam half of generating for the rows of a corpus. The work is in internal/generate, which has never heard of
// Beam.
package generate

import (
	"sower/internal/generate"
	"sower/transforms/units"
)

// Kind does the units of sower generate.
var Kind = units.New("generate", generate.Unit)
