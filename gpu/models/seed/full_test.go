//go:build !race

package seed_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// needsFull skips what needs a model of the published size.
func needsFull(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("a model of the published size, in short mode")
	}
	const need = 7 << 30
	if free, ok := availableMemory(); ok && free < need {
		t.Skipf("a model of the published size needs 7 GB of memory, %.1f GB are available", float64(free)/(1<<30))
	}
}

// availableMemory is the bytes that can be had without swapping, where Linux tells.
func availableMemory() (int64, bool) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		var kB int64
		if n, _ := fmt.Sscanf(line, "MemAvailable: %d kB", &kB); n == 1 {
			return kB << 10, true
		}
	}
	return 0, false
}
