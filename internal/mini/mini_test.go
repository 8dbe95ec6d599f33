package mini

import (
	"math"
	"testing"

	"sower/gpu"
	_ "sower/gpu/cpu"
	"sower/gpu/models/seed"
)

// TestOpen loads every part of the bundled model, and holds it to its size.
func TestOpen(t *testing.T) {
	c, src, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if c.Text == nil || c.Painter == nil || c.Queries != 32 {
		t.Fatalf("%+v", c)
	}
	dev, err := gpu.Open("cpu", gpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	m, err := seed.Load(dev, src, c, seed.Encode|seed.Detokenize|seed.Reconstruct|seed.Texts|seed.Painting)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, info := range src.Tensors() {
		v := make([]float32, info.Len())
		if err := src.Read(info.Name, 0, v); err != nil {
			t.Fatal(err)
		}
		for _, x := range v {
			if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
				t.Fatalf("%s has a value that is not finite", info.Name)
			}
		}
	}
	raw, err := files.ReadFile("model.safetensors")
	if err != nil || len(raw) > 8_000_000 {
		t.Errorf("model.safetensors has %d bytes, %v; at most 8 MB are bundled", len(raw), err)
	}
	if n := len(Vocabulary()); n < 1000 {
		t.Errorf("vocab.txt of %d bytes", n)
	}
}
