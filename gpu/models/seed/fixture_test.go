package seed_test

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"sower/gpu"
	"sower/gpu/checkpoint"
	_ "sower/gpu/cpu"
	"sower/gpu/models/seed"
	"sower/internal/golden"
)

// bar is the relative error that a fixture allows: largest difference over largest value.
const bar = 1e-4

func open(t testing.TB, backEnd string, o gpu.Options) *gpu.Device {
	t.Helper()
	dev, err := gpu.Open(backEnd, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
	return dev
}

func load(t testing.TB, dev *gpu.Device, src checkpoint.Source, c seed.Config, parts seed.Parts) *seed.Model {
	t.Helper()
	m, err := seed.Load(dev, src, c, parts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// tiny opens the published pair of files of the tiny fixture.
func tiny(t testing.TB) (folder string, c seed.Config, src checkpoint.Source) {
	t.Helper()
	folder = golden.Fixtures(t, "seed2-tiny")
	text, err := os.ReadFile(filepath.Join(folder, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	if c, err = seed.ParseConfig(text); err != nil {
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
	src = checkpoint.Union(checkpoint.Prefixed{Source: quantizer}, checkpoint.Prefixed{Source: vit, Prefix: "visual_encoder."})
	t.Cleanup(func() { src.Close() })
	return folder, c, src
}

// taps collects the intermediates of a device's passes, of one pass after another.
func taps(dev *gpu.Device) map[string][]float32 {
	seen := map[string][]float32{}
	dev.SetTap(func(p *gpu.Pass, name string, t *gpu.Tensor) {
		values := make([]float32, t.Len())
		switch t.DType() {
		case gpu.F32:
			p.ReadF32(t, values)
		case gpu.U8:
			raw := make([]byte, t.Len())
			p.ReadU8(t, raw)
			for i, v := range raw {
				values[i] = float32(v)
			}
		case gpu.I32:
			raw := make([]int32, t.Len())
			p.ReadI32(t, raw)
			for i, v := range raw {
				values[i] = float32(v)
			}
		}
		seen[name] = append(seen[name], values...)
	})
	return seen
}

func TestTinyFixture(t *testing.T) {
	for _, backEnd := range []struct {
		name string
		gpu.Options
	}{
		{"cpu", gpu.Options{}},
		{"cpu", gpu.Options{Threads: 1, Composed: true}},
		{"plain", gpu.Options{}},
	} {
		t.Run(backEnd.name, func(t *testing.T) {
			folder, c, src := tiny(t)
			want := golden.Open(t, filepath.Join(folder, "expected.safetensors"))
			dev := open(t, backEnd.name, backEnd.Options)
			m := load(t, dev, src, c, seed.Encode|seed.Detokenize)
			checkFixture(t, m, taps(dev), want, false)
		})
	}
}

// checkFixture encodes and de-tokenizes a fixture's images and compares everything that it holds. sliced: the fixture
// keeps only the first channels of the long intermediates.
func checkFixture(t *testing.T, m *seed.Model, seen map[string][]float32, want *golden.File, sliced bool) {
	c := m.Config()
	rgb := want.Bytes("pixels")
	n := len(rgb) / c.ImageBytes()
	codes, finite := make([]uint16, n*c.Queries), make([]bool, n)
	if err := m.Encode(rgb, n, codes, finite); err != nil {
		t.Fatal(err)
	}
	for i, f := range finite {
		if !f {
			t.Errorf("image %d is not finite", i)
		}
	}
	expected, margin := want.Int32s("codes"), want.Floats("margin")
	near := 0
	for i := range codes {
		if sliced && margin[i] <= 1e-3 { // a near tie at the full size, where summation order may decide
			near++
		} else if int32(codes[i]) != expected[i] {
			t.Errorf("image %d, code %d is %d, want %d (margin %g)", i/c.Queries, i%c.Queries, codes[i], expected[i], margin[i])
		}
	}
	t.Logf("%d codes of %d images compared, %d near ties left out", len(codes)-near, n, near)

	given := make([]uint16, len(expected))
	for i, code := range expected {
		given[i] = uint16(code)
	}
	if err := m.Detokenize(given, n, make([]float32, n*c.ImageEmbed)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"vit", "ln_vision", "causal", "z", "image_embed"} {
		got, wanted := seen[name], want.Floats(name)
		if sliced && len(got) > len(wanted) {
			got = firstChannels(got, c.ViTWidth, want.Shape(name)[2])
		}
		if e := golden.Relative(got, wanted); !(e <= bar) {
			t.Errorf("%s: relative error %.2g, want %.2g at most", name, e, bar)
		} else {
			t.Logf("%s: relative error %.2g", name, e)
		}
	}
	if got := len(seen["pixels"]); got != len(rgb) {
		t.Errorf("tap pixels saw %d values, want %d", got, len(rgb))
	}
	if got := len(seen["codes"]); got != len(codes) {
		t.Errorf("tap codes saw %d values, want %d", got, len(codes))
	}
}

func firstChannels(x []float32, width, n int) []float32 {
	var y []float32
	for ; len(x) > 0; x = x[width:] {
		y = append(y, x[:n]...)
	}
	return y
}

// TestFullFixture runs the published sizes on stand-in weights, about 5 GB of memory.
func TestFullFixture(t *testing.T) {
	needsFull(t)
	folder := golden.Fixtures(t, "seed2-full")
	want := golden.Open(t, filepath.Join(folder, "expected.safetensors"))
	dev := open(t, "cpu", gpu.Options{})
	c := seed.Published()
	m := load(t, dev, seed.StandIn(c, 0), c, seed.Encode|seed.Detokenize)
	checkFixture(t, m, taps(dev), want, true)
}

func bits(x []float32) []uint32 {
	b := make([]uint32, len(x))
	for i, v := range x {
		b[i] = math.Float32bits(v)
	}
	return b
}
