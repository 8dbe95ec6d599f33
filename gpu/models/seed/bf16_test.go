package seed_test

import (
	"path/filepath"
	"strings"
	"testing"

	"sower/gpu"
	"sower/gpu/models/seed"
	"sower/internal/golden"
)

// TestBFloat16 says how many codes of the fixtures' pictures stay the same when products are of bfloat16, and holds that to
// what docs/numerics.md states. Stand-in weights make codes of nearly equal distances, which is the hardest case.
func TestBFloat16(t *testing.T) {
	t.Run("tiny", func(t *testing.T) {
		folder, c, src := tiny(t)
		want := golden.Open(t, filepath.Join(folder, "expected.safetensors"))
		for _, name := range []string{"plain", "cpu"} {
			dev := openBFloat16(t, name)
			if dev == nil {
				continue
			}
			agreement(t, load(t, dev, src, c, seed.Encode), want, 0.93)
		}
	})
	t.Run("full", func(t *testing.T) {
		needsFull(t)
		dev := openBFloat16(t, "cpu")
		if dev == nil {
			t.Skip("this processor has no instructions for bfloat16")
		}
		c := seed.Published()
		want := golden.Open(t, filepath.Join(golden.Fixtures(t, "seed2-full"), "expected.safetensors"))
		agreement(t, load(t, dev, seed.StandIn(c, 0), c, seed.Encode), want, 0.85)
	})
}

// openBFloat16 opens a back end for bfloat16, or returns nil where the processor cannot.
func openBFloat16(t *testing.T, name string) *gpu.Device {
	t.Helper()
	dev, err := gpu.Open(name, gpu.Options{Precision: gpu.BF16})
	if err != nil {
		if !strings.Contains(err.Error(), "AVX512_BF16") {
			t.Errorf("the error does not say what is missing: %v", err)
		}
		return nil
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}

func agreement(t *testing.T, m *seed.Model, want *golden.File, least float64) {
	t.Helper()
	c := m.Config()
	rgb := want.Bytes("pixels")
	n := len(rgb) / c.ImageBytes()
	codes, finite := make([]uint16, n*c.Queries), make([]bool, n)
	if err := m.Encode(rgb, n, codes, finite); err != nil {
		t.Fatal(err)
	}
	same := 0
	for i, code := range want.Int32s("codes") {
		if int32(codes[i]) == code {
			same++
		}
	}
	share := float64(same) / float64(len(codes))
	t.Logf("%d of %d codes are those of float32, %.1f %%", same, len(codes), 100*share)
	if share < least {
		t.Errorf("%.1f %% of the codes are those of float32, want %.0f %%", 100*share, 100*least)
	}
}
