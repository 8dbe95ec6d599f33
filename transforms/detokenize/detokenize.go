// Package detokenize is the Beam half of de-tokenizing: codes to image embeddings. The work is in internal/detokenize, which has never heard of
// Beam.
package detokenize

import (
	"sower/internal/detokenize"
	"sower/transforms/units"
)

// Kind does the units of sower detokenize.
var Kind = units.New("detokenize", detokenize.Unit)
