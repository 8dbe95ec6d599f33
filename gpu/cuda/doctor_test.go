//go:build cuda && linux && cgo

package cuda

import (
	"strings"
	"testing"

	"sower/gpu/cuda/internal/fakecuda"
	"sower/gpu/driver"
)

// A machine where everything works has nothing to cure, and every precision was tried. A device that fails a copy is named.
func TestDoctor(t *testing.T) {
	fakecuda.Need(t)
	checks := examine()
	last := checks[len(checks)-1]
	if last.State != driver.Fine || last.Cure != "" || !strings.HasPrefix(last.Name, "cuda:") {
		t.Errorf("%+v", last)
	}
	for _, p := range []string{"float32", "float16", "bfloat16"} {
		if !strings.Contains(last.Detail, p+" works") {
			t.Errorf("%s was not tried: %s", p, last.Detail)
		}
	}
	t.Log(last.Detail)
	fakecuda.NeedFake(t)
	defer fakecuda.Reset()
	const illegalAddress = 700
	fakecuda.Fail("kernel", 0, illegalAddress)
	if c := tryDevice(0, driver.Found{Name: "cuda:0"}); c.State != driver.Broken || c.Cure == "" || !strings.Contains(c.Detail, "ILLEGAL_ADDRESS") {
		t.Errorf("%+v", c)
	}
}
