//go:build !(cuda && linux && cgo)

package cuda

import (
	"errors"

	"sower/gpu"
	"sower/gpu/driver"
)

func init() {
	gpu.Register("cuda", func(gpu.Options) (driver.Device, error) { return nil, errNotBuilt })
	gpu.RegisterDoctor("cuda", func() []driver.Check {
		return []driver.Check{{Name: "build", State: driver.Broken, Detail: "this program was built without CUDA",
			Cure: "build it with: make cuda (needs Linux and a C compiler, no CUDA toolkit), which makes bin/sower-cuda"}}
	})
	gpu.RegisterProbe("cuda", func() ([]driver.Found, error) { return nil, errNotBuilt })
}

var errNotBuilt = errors.New("this program was built without CUDA; build it with: make cuda (needs Linux and a C compiler, no CUDA toolkit)")
