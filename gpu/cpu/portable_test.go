//go:build amd64 && !purego

package cpu

import (
	"testing"

	"sower/gpu/driver/drivertest"
)

// TestPortableDriver runs the path of machines without AVX2.
func TestPortableDriver(t *testing.T) {
	if !avx2 {
		t.Skip("TestDriver ran it: this machine has no AVX2")
	}
	avx2 = false
	defer func() { avx2 = true }()
	drivertest.Run(t, testDevice(t, 2))
}
