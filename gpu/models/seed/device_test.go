package seed_test

import (
	"os"
	"path/filepath"
	"testing"

	"sower/gpu"
	_ "sower/gpu/cuda"
	"sower/gpu/models/seed"
	"sower/internal/golden"
)

// chosen opens the device that SOWER_TEST_DEVICE names (cuda, cuda:1) in the precision of SOWER_TEST_PRECISION (fp32), for a run
// on a machine that has one, and skips the test where it names none. Nothing takes the place of a device that is missing.
func chosen(t *testing.T) (*gpu.Device, gpu.Precision) {
	t.Helper()
	name, precision := os.Getenv("SOWER_TEST_DEVICE"), os.Getenv("SOWER_TEST_PRECISION")
	if name == "" {
		t.Skip("SOWER_TEST_DEVICE names no device")
	}
	if precision == "" {
		precision = "fp32"
	}
	p, err := gpu.ParsePrecision(precision)
	if err != nil {
		t.Fatal("SOWER_TEST_PRECISION: ", err)
	}
	dev := open(t, name, gpu.Options{Precision: p})
	t.Log(dev, p)
	return dev, p
}

// TestDeviceTiny holds a chosen device to the tiny fixture: in float32 in all that it holds, in 16 bits in most codes.
func TestDeviceTiny(t *testing.T) {
	dev, p := chosen(t)
	folder, c, src := tiny(t)
	want := golden.Open(t, filepath.Join(folder, "expected.safetensors"))
	m := load(t, dev, src, c, seed.Encode|seed.Detokenize)
	if p == gpu.FP32 {
		checkFixture(t, m, taps(dev), want, false)
		return
	}
	agreement(t, m, want, 0.8)
}

// TestDeviceFull does so at the published size, on stand-in weights.
func TestDeviceFull(t *testing.T) {
	if testing.Short() || os.Getenv("SOWER_FAKE_KERNELS") != "" {
		t.Skip("a model of the published size, in short mode or on the stand-in driver, which would take hours")
	}
	dev, p := chosen(t)
	want := golden.Open(t, filepath.Join(golden.Fixtures(t, "seed2-full"), "expected.safetensors"))
	c := seed.Published()
	m := load(t, dev, seed.StandIn(c, 0), c, seed.Encode|seed.Detokenize)
	if p == gpu.FP32 {
		checkFixture(t, m, taps(dev), want, true)
		return
	}
	agreement(t, m, want, 0.8)
}
