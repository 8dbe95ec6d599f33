package cpu

import (
	"testing"

	"sower/gpu"
	"sower/gpu/driver"
	"sower/gpu/driver/drivertest"
)

func testDevice(t testing.TB, threads int) *device {
	t.Helper()
	d := open(gpu.Options{Threads: threads})
	t.Cleanup(func() { d.Close() })
	return d
}

func TestDriver(t *testing.T) {
	for _, threads := range []int{1, 2, 8} {
		t.Run(map[int]string{1: "one thread", 2: "two threads", 8: "eight threads"}[threads], func(t *testing.T) {
			drivertest.Run(t, testDevice(t, threads))
		})
	}
}

func TestPlainDriver(t *testing.T) { drivertest.Run(t, plainDevice{}) }

// floatsOn makes a buffer of values.
func floatsOn(t testing.TB, d driver.Device, v []float32) driver.View {
	t.Helper()
	b, err := d.Alloc(driver.F32, len(v))
	if err != nil {
		t.Fatal(err)
	}
	view := driver.View{Buf: b, N: len(v)}
	copy(floats(view), v)
	return view
}
