// Package retry is the Beam half of sower retry: the units of a corpus that are done again. The work is in internal/retry, which has never heard of
// Beam.
package retry

import (
	"sower/internal/retry"
	"sower/transforms/units"
)

// Kind does the units of sower retry.
var Kind = units.New("retry", retry.Unit)
