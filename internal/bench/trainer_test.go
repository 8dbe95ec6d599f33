package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	_ "sower/gpu/cpu"
	"sower/gpu/models/seed"
	"sower/internal/trainer"
)

// peerVariable makes the test binary a peer that takes this package's own steps: "true" ones, or "false" ones, whose losses are off.
const peerVariable = "SOWER_TEST_BENCH_PEER"

func TestMain(m *testing.M) {
	if how := os.Getenv(peerVariable); how != "" {
		if err := peer(how == "true"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// tinyRecipe trains in milliseconds.
func tinyRecipe() trainer.Recipe {
	r := trainer.Published()
	r.Model = seed.Config{ImageSize: 32, PatchSize: 8, ViTWidth: 16, ViTDepth: 1, ViTHeads: 2, ViTMLP: 32, Queries: 4, QFormerWidth: 16, QFormerDepth: 2, QFormerHeads: 2,
		QFormerMLP: 32, CrossEvery: 2, Codes: 16, CodeWidth: 8, DecodeDepth: 1, DecodeHeads: 2, DecodeMLP: 32, ImageEmbed: 8,
		Text: &seed.Text{Vocabulary: 50, Positions: 6, Embed: 8}, Painter: &seed.Painter{Depth: 1, Coarse: 4}}
	r.First.Batch, r.Second.Batch, r.First.Pictures, r.First.ViT = 6, 6, 3, true
	r.First.Picture, r.Second.Picture = 20, 20
	return r
}

func tinyOptions() TrainerOptions {
	return TrainerOptions{Options: Options{Device: "cpu", Threads: 1}, Config: "tiny.json", Recipe: tinyRecipe(), Vocabulary: 50, Rounds: 2}
}

func peer(honest bool) error {
	at := slices.Index(os.Args, "--step")
	o := tinyOptions()
	o.Threads = 3 // gives the same bits as one
	t, err := newStepper(o, os.Args[at+1], nil)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(Ready{Ready: true, Name: "itself", Version: "1", Precision: "f32", Threads: 1}); err != nil {
		return err
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		seconds, loss, err := t.step()
		if err != nil {
			return err
		}
		if !honest {
			loss *= 1.02
		}
		if err := out.Encode(Answer{Images: 6, Seconds: seconds, Loss: loss, Memory: 1}); err != nil {
			return err
		}
	}
	return t.close()
}

func TestTrainer(t *testing.T) {
	t.Setenv(peerVariable, "true")
	o := tinyOptions()
	o.Against = []string{os.Args[0]}
	r, err := Trainer(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Steps) != 3 {
		t.Fatalf("%d kinds of steps, want 3", len(r.Steps))
	}
	for _, s := range r.Steps {
		if len(s.Seconds) != o.Rounds || !(s.Median > 0) || !(s.FLOPs > 0) || len(s.Rivals) != 1 {
			t.Fatalf("%s: %+v", s.Step, s)
		}
		v := s.Rivals[0]
		if v.Apart != 0 || len(v.Seconds) != o.Rounds || !(v.Ratio > 0) || !strings.Contains(v.Command, "--step "+s.Step) {
			t.Errorf("%s: %+v: want the same losses", s.Step, v)
		}
	}
	t.Setenv(peerVariable, "false")
	if _, err := Trainer(t.Context(), o); err == nil || !strings.Contains(err.Error(), "not the same steps") {
		t.Errorf("losses 2 %% apart: %v", err)
	}
	o = tinyOptions()
	o.Recipe.Model.Painter = nil
	if _, err := Trainer(t.Context(), o); err == nil || !strings.Contains(err.Error(), "painter") {
		t.Errorf("no painter: %v", err)
	}
}
