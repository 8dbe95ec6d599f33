//go:build cuda && linux && cgo

package cuda

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"sower/gpu"
	"sower/gpu/checkpoint"
	"sower/gpu/cuda/internal/fakecuda"
	"sower/gpu/driver"
	"sower/gpu/models/seed"
	"sower/internal/golden"
)

// tiny loads the tiny tokenizer on the first device, with the fixture's pictures and codes.
func tiny(t testing.TB, o gpu.Options) (m *seed.Model, rgb []byte, want []int32) {
	t.Helper()
	fakecuda.Need(t)
	folder := golden.Fixtures(t, "seed2-tiny")
	text, err := os.ReadFile(filepath.Join(folder, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := seed.ParseConfig(text)
	if err != nil {
		t.Fatal(err)
	}
	quantizer, err := checkpoint.OpenTorch(filepath.Join(folder, "seed_quantizer.pt"))
	if err != nil {
		t.Fatal(err)
	}
	vit, err := checkpoint.OpenTorch(filepath.Join(folder, "eva_vit_g.pth"))
	if err != nil {
		t.Fatal(err)
	}
	src := checkpoint.Union(checkpoint.Prefixed{Source: quantizer}, checkpoint.Prefixed{Source: vit, Prefix: "visual_encoder."})
	defer src.Close()
	dev, err := gpu.Open("cuda", o)
	if err != nil {
		t.Fatal(err)
	}
	if m, err = seed.Load(dev, src, c, seed.Encode|seed.Detokenize); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !fakecuda.Real() {
			fakecuda.Reset()
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
	file := golden.Open(t, filepath.Join(folder, "expected.safetensors"))
	return m, file.Bytes("pixels"), file.Int32s("codes")
}

func encode(t testing.TB, m *seed.Model, rgb []byte) []uint16 {
	t.Helper()
	n := len(rgb) / m.Config().ImageBytes()
	codes, finite := make([]uint16, n*m.Config().Queries), make([]bool, n)
	if err := m.Encode(rgb, n, codes, finite); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(finite, false) {
		t.Fatal("numbers that are not finite")
	}
	return codes
}

func share(codes []uint16, want []int32) float64 {
	same := 0
	for i, c := range codes {
		if int32(c) == want[i] {
			same++
		}
	}
	return float64(same) / float64(len(want))
}

// TestCodes holds the tiny tokenizer to the codes of PyTorch: all of them in float32, most in 16 bits, whose margins are thin here
// (random weights make nearly equal distances).
func TestCodes(t *testing.T) {
	for _, c := range []struct {
		precision gpu.Precision
		least     float64
	}{{gpu.FP32, 1}, {gpu.FP16, 0.95}, {gpu.BF16, 0.8}, {gpu.FP8, 0.85}} {
		t.Run(c.precision.String(), func(t *testing.T) {
			m, rgb, want := tiny(t, gpu.Options{Precision: c.precision})
			got := share(encode(t, m, rgb), want)
			t.Logf("%.2f %% of the codes", 100*got)
			if got < c.least {
				t.Errorf("%.2f %% of the codes are PyTorch's, want %.0f", 100*got, 100*c.least)
			}
		})
	}
}

// TestBatches encodes pictures alone, in several batches, twice (recorded, then replayed), and by several goroutines.
func TestBatches(t *testing.T) {
	for _, precision := range []gpu.Precision{gpu.FP32, gpu.FP16, gpu.BF16, gpu.FP8} {
		t.Run(precision.String(), func(t *testing.T) {
			m, rgb, _ := tiny(t, gpu.Options{Precision: precision})
			all := encode(t, m, rgb)
			size, q := m.Config().ImageBytes(), m.Config().Queries
			check := func(first, n int) {
				if !slices.Equal(encode(t, m, rgb[first*size:(first+n)*size]), all[first*q:(first+n)*q]) {
					t.Errorf("%s: other codes for pictures %d to %d than among all", precision, first, first+n-1)
				}
			}
			n := len(rgb) / size
			for _, batch := range []int{1, 3, n} {
				for first := 0; first+batch <= n; first += batch {
					check(first, batch)
				}
			}
			var several sync.WaitGroup
			for range 3 {
				several.Go(func() { check(1, n-1) })
			}
			several.Wait()
		})
	}
}

// TestOutOfMemory halves the batch until it fits, and loses no picture.
func TestOutOfMemory(t *testing.T) {
	m, rgb, _ := tiny(t, gpu.Options{})
	fakecuda.NeedFake(t)
	before := fakecuda.Count("memory")
	want := encode(t, m, rgb)
	taken := fakecuda.Count("memory") - before
	m, _, _ = tiny(t, gpu.Options{})
	const outOfMemory = 2
	fakecuda.Fail("cuMemAlloc", taken-2, outOfMemory) // near the end of what a whole batch takes
	if got := encode(t, m, rgb); !slices.Equal(got, want) {
		t.Error("other codes after the memory ran out")
	}
}

// TestLostDevice fails with a cause that callers can tell, at once from then on.
func TestLostDevice(t *testing.T) {
	m, rgb, _ := tiny(t, gpu.Options{})
	fakecuda.NeedFake(t)
	encode(t, m, rgb)
	const illegalAddress = 700
	fakecuda.Fail("cuGraphLaunch", 0, illegalAddress)
	c := m.Config()
	codes, finite := make([]uint16, len(rgb)/c.ImageBytes()*c.Queries), make([]bool, len(rgb)/c.ImageBytes())
	for range 2 {
		err := m.Encode(rgb, len(finite), codes, finite)
		if err == nil || !strings.Contains(err.Error(), driver.ErrDeviceLost.Error()) || !strings.Contains(err.Error(), "started again") {
			t.Fatalf("a lost device is %v", err)
		}
		fakecuda.Reset()
	}
}

func TestNoSuchDevice(t *testing.T) {
	fakecuda.Need(t)
	if _, err := gpu.Open("cuda:99", gpu.Options{}); err == nil || !strings.Contains(err.Error(), "no device 99") {
		t.Error(err)
	}
	found, err := gpu.Probe("cuda")
	if err != nil || len(found) == 0 || found[0].Name != "cuda:0" {
		t.Errorf("%v %v", found, err)
	}
	if name, why := gpu.Auto(); name != "cuda" || why != found[0].Detail {
		t.Errorf("auto is %s (%s)", name, why)
	}
}
