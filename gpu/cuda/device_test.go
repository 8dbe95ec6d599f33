//go:build cuda && linux && cgo

package cuda

import (
	"testing"

	"sower/gpu"
	"sower/gpu/cuda/internal/fakecuda"
	"sower/gpu/driver/drivertest"
)

func TestMain(m *testing.M) { fakecuda.Main(m) }

func opened(t testing.TB, p gpu.Precision) *device {
	t.Helper()
	fakecuda.Need(t)
	d, err := open(gpu.Options{Precision: p})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestDriver(t *testing.T) {
	t.Run("fp32", func(t *testing.T) { drivertest.Run(t, opened(t, gpu.FP32)) })
	t.Run("bf16", func(t *testing.T) { drivertest.RunBFloat16(t, opened(t, gpu.BF16)) })
	t.Run("fp16", func(t *testing.T) { drivertest.RunFloat16(t, opened(t, gpu.FP16)) })
	t.Run("fp32 activations", func(t *testing.T) { drivertest.Run(t, opened(t, gpu.FP32), drivertest.Activations) })
	t.Run("bf16 activations", func(t *testing.T) { drivertest.RunBFloat16(t, opened(t, gpu.BF16), drivertest.Activations) })
	t.Run("fp16 activations", func(t *testing.T) { drivertest.RunFloat16(t, opened(t, gpu.FP16), drivertest.Activations) })
}
