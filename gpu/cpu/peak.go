package cpu

import (
	"sync"
	"time"

	"sower/gpu"
)

// Peak measures how many floating point operations a second the processor does at best with so many threads: chains of
// multiply-adds on registers, the best of several short runs, about 0.2 s in all. It is what benchmarks compare products
// with, and 0 where there are no kernels in assembly for the precision.
func Peak(threads int, precision gpu.Precision) float64 {
	run, perRound := peakKernel(precision)
	if run == nil {
		return 0
	}
	const rounds, times = 400_000, 10
	best := 0.0
	for range times {
		var wait sync.WaitGroup
		start := time.Now()
		for range threads {
			wait.Go(func() {
				x := []float32{0.5, 0}
				run(rounds, &x[0])
			})
		}
		wait.Wait()
		best = max(best, float64(threads)*rounds*perRound/time.Since(start).Seconds())
	}
	return best
}
