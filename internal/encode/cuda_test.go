//go:build cuda && linux && cgo

package encode

import (
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"

	"sower/gpu"
	_ "sower/gpu/cuda"
	"sower/internal/golden"
	"sower/internal/weights"
	"sower/schemas"
)

// TestSeveralDevices encodes the same pictures on the CPU and on all GPUs at once, batch by batch. With the stand-in driver and
// FAKECUDA_DEVICES=3 there are three.
func TestSeveralDevices(t *testing.T) {
	if os.Getenv("SOWER_TEST_DEVICE") != "cuda" {
		t.Skip("SOWER_TEST_DEVICE=cuda runs it")
	}
	found, err := gpu.Probe("cuda")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(len(found), "devices")
	folder := golden.Fixtures(t, "seed2-tiny")
	m, err := weights.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	digest, err := m.Digest()
	if err != nil {
		t.Fatal(err)
	}
	const n = 12
	random := rand.New(rand.NewPCG(5, 6))
	rgb := make([]byte, n*m.Config.ImageBytes())
	for i := range rgb {
		rgb[i] = byte(random.Uint32())
	}
	encoded := func(device string) []uint16 {
		e, err := openModels(Config{Model: folder, Device: device, Identity: schemas.Identity{Weights: digest, Precision: "float32"}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		}()
		codes, finite := make([]uint16, n*m.Config.Queries), make([]bool, n)
		var all sync.WaitGroup
		for i := range n { // more batches at a time than there are devices
			all.Go(func() {
				size, q := m.Config.ImageBytes(), m.Config.Queries
				if err := e.Encode(rgb[i*size:(i+1)*size], 1, codes[i*q:(i+1)*q], finite[i:i+1]); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		return codes
	}
	if !slices.Equal(encoded("cuda"), encoded("cpu")) {
		t.Error("the devices give other codes than the CPU")
	}
}
