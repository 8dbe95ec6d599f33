package training

import (
	"math"
	"math/rand/v2"
	"testing"

	"sower/gpu/models/seed"
)

// TestContrast compares gradients with differences, and the loss of perfect pairs with the entropy of smoothed labels.
func TestContrast(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	const b = 7
	s := make([]float32, b*b)
	for i := range s {
		s[i] = float32(2*r.Float64() - 1)
	}
	at := func(s []float32, temp float64) float64 {
		l, _, err := contrast(append([]float32(nil), s...), b, temp, 0.1)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	ds := append([]float32(nil), s...)
	_, dtemp, err := contrast(ds, b, 0.2, 0.1)
	if err != nil {
		t.Fatal(err)
	}
	const h = 1e-3
	for i := range s {
		up, down := append([]float32(nil), s...), append([]float32(nil), s...)
		up[i], down[i] = up[i]+h, down[i]-h
		want := (at(up, 0.2) - at(down, 0.2)) / float64(up[i]-down[i])
		if d := math.Abs(float64(ds[i]) - want); d > 1e-4 {
			t.Errorf("gradient of product %d is %v, want %v", i, ds[i], want)
		}
	}
	if want := (at(s, 0.2+1e-5) - at(s, 0.2-1e-5)) / 2e-5; math.Abs(dtemp-want) > 1e-4*math.Abs(want) {
		t.Errorf("gradient of the temperature is %v, want %v", dtemp, want)
	}
	// With labels of 0.1 spread over b the loss has a floor: their entropy.
	perfect := make([]float32, b*b)
	for i := range b {
		perfect[i*b+i] = 1
	}
	least := math.Inf(1)
	for temp := 0.05; temp < 1; temp += 0.01 {
		least = min(least, at(perfect, temp))
	}
	own, other := 0.9+0.1/b, 0.1/b
	if floor := -own*math.Log(own) - (b-1)*other*math.Log(other); math.Abs(least-floor) > 1e-3 {
		t.Errorf("least loss %v, want %v", least, floor)
	}
	if _, _, err := contrast(make([]float32, 1), 1, 0.07, 0.1); err == nil {
		t.Error("one pair has nothing to be told from")
	}
}

// TestPictureLoss compares the gradients to both parts of the painter with differences.
func TestPictureLoss(t *testing.T) {
	c := seed.Tiny()
	c.ImageSize, c.PatchSize, c.Painter = 12, 4, &seed.Painter{Coarse: 5}
	v := seed.NewCanvas(c)
	r := rand.New(rand.NewPCG(2, 2))
	draw := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(r.NormFloat64() * 0.3)
		}
		return x
	}
	const n, weight = 2, 3.0
	want := make([]byte, n*v.Pixels())
	for i := range want {
		want[i] = byte(r.Uint32())
	}
	coarse, patches := draw(n*3*25), draw(n*9*48)
	at := func(coarse, patches []float32) float64 {
		return pictureLoss(v, c.ImageSize, append([]float32(nil), coarse...), append([]float32(nil), patches...), want, weight)
	}
	dc, dp := append([]float32(nil), coarse...), append([]float32(nil), patches...)
	pictureLoss(v, c.ImageSize, dc, dp, want, weight)
	const h = 1e-2 // the loss is a square: differences are exact but for rounding
	for _, part := range []struct {
		name    string
		x, grad []float32
	}{{"coarse", coarse, dc}, {"patches", patches, dp}} {
		for i := 0; i < len(part.x); i += 7 {
			old := part.x[i]
			part.x[i] = old + h
			up := at(coarse, patches)
			part.x[i] = old - h
			down := at(coarse, patches)
			part.x[i] = old
			if wanted := weight * (up - down) / (2 * h); math.Abs(float64(part.grad[i])-wanted) > 1e-5+1e-4*math.Abs(wanted) {
				t.Fatalf("%s %d: %v, want %v", part.name, i, part.grad[i], wanted)
			}
		}
	}
}

// TestInitial looks at what the rule says of each kind of tensor.
func TestInitial(t *testing.T) {
	c := seed.Tiny()
	c.Text, c.Painter = &seed.Text{Vocabulary: 50, Positions: 16, Embed: 8}, &seed.Painter{Depth: 1, Coarse: 8}
	src := Initial(c, 5)
	stats := func(name string) (mean, deviation float64) {
		info, ok := src.Find(name)
		if !ok {
			t.Fatalf("no %s", name)
		}
		v := make([]float32, info.Len())
		if err := src.Read(name, 0, v); err != nil {
			t.Fatal(err)
		}
		for _, x := range v {
			mean += float64(x) / float64(len(v))
		}
		for _, x := range v {
			deviation += (float64(x) - mean) * (float64(x) - mean) / float64(len(v))
		}
		return mean, math.Sqrt(deviation)
	}
	for name, want := range map[string][2]float64{
		"ln_vision.weight": {1, 0},
		"ln_vision.bias":   {0, 0},
		"Qformer.bert.encoder.layer.0.attention.self.key.weight": {0, 1 / math.Sqrt(48)},
		"blocks.0.mlp.fc2.weight":                                {0, 0.5 / math.Sqrt(192)},
		"visual_encoder.patch_embed.proj.weight":                 {0, 1 / math.Sqrt(3*14*14)},
		"query_tokens":                                           {0, 1},
		seed.CodebookName:                                        {0, 1 / math.Sqrt(3) / 512},
		"pixel.out.weight":                                       {0, 0.1 / math.Sqrt(48)},
		"Qformer.bert.embeddings.word_embeddings.weight":         {0, 0.02},
	} {
		mean, deviation := stats(name)
		if scale := max(want[1], 1e-9); math.Abs(mean-want[0]) > 0.1*scale || math.Abs(deviation-want[1]) > 0.08*scale+1e-9 {
			t.Errorf("%s: mean %.4g, deviation %.4g, want %.4g and %.4g", name, mean, deviation, want[0], want[1])
		}
	}
	// Any part is the same as the part of the whole.
	whole, part := make([]float32, 100), make([]float32, 30)
	const name = "query_tokens"
	if err := src.Read(name, 0, whole); err != nil {
		t.Fatal(err)
	}
	if err := src.Read(name, 60, part); err != nil {
		t.Fatal(err)
	}
	for i, v := range part {
		if v != whole[60+i] {
			t.Fatalf("element %d differs by where reading begins", 60+i)
		}
	}
	if err := src.Read(name, 1<<20, part); err == nil {
		t.Error("beyond the end")
	}
}
