package nn_test

import (
	"math"
	"strings"
	"testing"

	"sower/gpu"
	"sower/gpu/checkpoint"
	_ "sower/gpu/cpu"
	"sower/gpu/nn"
)

func open(t *testing.T, name string) *gpu.Device {
	t.Helper()
	dev, err := gpu.Open(name, gpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}

// source has a layer that is read in several parts, whose last is no whole panel.
func source() checkpoint.Source {
	return checkpoint.NewStandIn([]checkpoint.Info{
		{Name: "fc.weight", Shape: []int{203, 3001}}, {Name: "fc.bias", Shape: []int{203}},
		{Name: "norm.weight", Shape: []int{3001}}, {Name: "norm.bias", Shape: []int{3001}},
	}, 5)
}

// TestLayers loads layers on both back ends and compares what they compute.
func TestLayers(t *testing.T) {
	const rows, in, out = 7, 3001, 203
	x := make([]float32, rows*in)
	for i := range x {
		x[i] = float32(math.Sin(float64(i)))
	}
	run := func(backEnd string) []float32 {
		dev := open(t, backEnd)
		l := nn.NewLoader(dev, source())
		norm, fc := l.LayerNorm("norm", in, 1e-6), l.Linear("fc", out, in)
		if err := l.Load(); err != nil {
			t.Fatal(err)
		}
		residual, err := dev.FromSlice(x[:rows*out], rows, out)
		if err != nil {
			t.Fatal(err)
		}
		input, err := dev.FromSlice(x, rows, in)
		if err != nil {
			t.Fatal(err)
		}
		y := make([]float32, 5*rows*out)
		p := dev.NewPass(gpu.Inference)
		h := norm.Forward(p, input)
		for i, result := range []*gpu.Tensor{fc.Forward(p, h), fc.GELU(p, h), fc.Tanh(p, h), fc.ReLU(p, h), fc.Add(p, h, residual)} {
			p.ReadF32(result, y[i*rows*out:(i+1)*rows*out])
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		return y
	}
	got, want := run("cpu"), run("plain")
	for i, w := range want {
		if d := math.Abs(float64(got[i] - w)); !(d <= 2e-5) {
			t.Fatalf("element %d is %g, want %g", i, got[i], w)
		}
	}
}

func TestLoaderReportsEverything(t *testing.T) {
	l := nn.NewLoader(open(t, "cpu"), source())
	l.Linear("fc", 203, 3000)
	l.LayerNorm("gone", 8, 1e-5)
	l.LayerNorm("norm", 3001, 1e-5)
	err := l.Load()
	want := `load "fc.weight": shape [203 3001], want [203 3000]
load "gone.weight": the checkpoint has no such tensor
load "gone.bias": the checkpoint has no such tensor`
	if err == nil || strings.TrimSpace(err.Error()) != want {
		t.Errorf("error is\n%v\nwant\n%s", err, want)
	}
}
