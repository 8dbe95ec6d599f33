package training_test

import (
	"math/rand/v2"
	"testing"

	"sower/gpu"
	"sower/gpu/models/seed"
	"sower/gpu/models/seed/training"
	"sower/gpu/optim"
)

// mini is the sizes that train on a laptop in minutes (docs/recipes/mini).
func mini() seed.Config {
	return seed.Config{ImageSize: 64, PatchSize: 8, ViTWidth: 128, ViTDepth: 4, ViTHeads: 4, ViTMLP: 512, Queries: 32, QFormerWidth: 128, QFormerDepth: 4, QFormerHeads: 4,
		QFormerMLP: 512, CrossEvery: 2, Codes: 1024, CodeWidth: 16, DecodeDepth: 2, DecodeHeads: 4, DecodeMLP: 512, ImageEmbed: 64,
		Text: &seed.Text{Vocabulary: 1078, Positions: 16, Embed: 64}, Painter: &seed.Painter{Depth: 1, Coarse: 16}}
}

// inputs are n random pictures with texts.
func inputs(c seed.Config, n int) training.Batch {
	r := rand.New(rand.NewPCG(1, 2))
	b := training.Batch{RGB: make([]byte, n*c.ImageBytes()), Pictures: 0}
	for i := range b.RGB {
		b.RGB[i] = byte(r.Uint32())
	}
	for range n {
		ids := make([]int32, 2+r.IntN(c.Text.Positions-1))
		for i := range ids {
			ids[i] = int32(r.IntN(c.Text.Vocabulary))
		}
		b.Texts = append(b.Texts, ids)
	}
	return b
}

// BenchmarkStep times a step of 128 with its update, of each stage, with the vision transformer trained in the first.
func BenchmarkStep(b *testing.B) {
	c := mini()
	for _, of := range []struct {
		name     string
		stage    int
		picture  float64
		pictures int
	}{{"contrast", 1, 0, 0}, {"contrast and pictures", 1, 20, 64}, {"codes", 2, 0, 0}, {"codes and pictures", 2, 20, 128}} {
		b.Run(of.name, func(b *testing.B) {
			prof := &gpu.Profile{}
			dev, err := gpu.Open("cpu", gpu.Options{Profile: prof})
			if err != nil {
				b.Fatal(err)
			}
			defer dev.Close()
			w := training.Published()
			w.Picture = of.picture
			s, err := training.Open(dev, seed.StandIn(c, 1), c, of.stage, w, true, 0.07)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			opt, err := optim.New(dev, s.Parameters(), optim.Config{Beta1: 0.9, Beta2: 0.98, Eps: 1e-8, Decay: 0.05, Decayed: optim.Tokenizer, Clip: 1})
			if err != nil {
				b.Fatal(err)
			}
			defer opt.Close()
			in := inputs(c, 128)
			in.Pictures = of.pictures
			if of.stage == 2 {
				if in.Causal, err = s.Embed(in.RGB); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				if of.stage == 1 {
					_, err = s.First(&in)
				} else {
					_, _, err = s.Second(&in)
				}
				if err == nil {
					_, err = opt.Step(1e-4)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			for _, row := range prof.Table() {
				b.Logf("%-16s %6d calls %9.3f s %7.1f GFLOP/s", row.Op, row.Calls, row.Time.Seconds(), row.FLOPs/max(row.Time.Seconds(), 1e-9)/1e9)
			}
		})
	}
}
