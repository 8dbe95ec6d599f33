package blob

import "sower/internal/blob/wire"

// TroubleCount counts the requests of this process to object stores, their retries and the time lost by them.
type TroubleCount = wire.Trouble

// Trouble is the count so far; a run's own is the difference of two (Sub).
func Trouble() TroubleCount { return wire.Snapshot() }
