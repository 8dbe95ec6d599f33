package units

import "fmt"

// What one element may take on its way out of a stage, bytes: a unit's number, and its corpus.UnitInfo as JSON.
const (
	maxNumber = 32
	maxInfo   = 2 << 10
)

// Fits makes sure that no stage of Work emits more than limit bytes for one bundle, on a runner that deals a stage's elements to so many
// bundles. More would not fail there: it would hang.
func Fits(units, bundles int, limit int64) error {
	if n := int64(units) * maxNumber; n > limit {
		return fmt.Errorf("units: the numbers of %d units are up to %d MiB in one bundle, and this runner hangs above %d MiB: make units larger (--unit-bytes)", units, n>>20, limit>>20)
	}
	most := (int64(units) + int64(bundles) - 1) / int64(max(bundles, 1))
	if n := most * maxInfo; n > limit {
		return fmt.Errorf("units: %d units in %d bundles emit up to %d MiB a bundle, and this runner hangs above %d MiB: make units larger (--unit-bytes), or --parallelism at least %d",
			units, bundles, n>>20, limit>>20, (int64(units)*maxInfo+limit-1)/limit)
	}
	return nil
}
