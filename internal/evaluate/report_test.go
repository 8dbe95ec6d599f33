package evaluate

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"sower/schemas"
)

// TestSSIM is 1 of a picture with itself, and falls with noise.
func TestSSIM(t *testing.T) {
	const size = 24
	r := rand.New(rand.NewPCG(2, 2))
	want, same, noisy := make([]byte, 3*size*size), make([]float32, 3*size*size), make([]float32, 3*size*size)
	for i := range want {
		want[i] = byte(80 + 3*(i/3%size) + r.IntN(30))
	}
	for ch := range 3 {
		for i := range size * size {
			v := float32(want[3*i+ch]) / 255
			same[ch*size*size+i], noisy[ch*size*size+i] = v, v+float32(r.NormFloat64()*0.1)
		}
	}
	if s := ssim(same, want, size); math.Abs(s-1) > 1e-9 {
		t.Errorf("of itself: %v", s)
	}
	if s := ssim(noisy, want, size); s > 0.9 || s < 0.05 {
		t.Errorf("with noise: %v", s)
	}
}

// TestUsage of codes that are known.
func TestUsage(t *testing.T) {
	var r Report
	rows := []schemas.EvaluationRow{{Codes: []uint16{0, 1}}, {Codes: []uint16{0, 2}}, {Codes: []uint16{0, 1}}, {Codes: []uint16{0, 3}}}
	r.usage(rows, 8, 2)
	u := r.Usage
	if u.Used != 4 || u.Dead != 4 || u.Distinct != 2 || math.Abs(u.Bits-0.75) > 1e-9 || math.Abs(u.BitsOfAll-(0.5*1+0.25*2+2*0.125*3)) > 1e-9 || math.Abs(u.Perplexity-math.Exp2(u.BitsOfAll)) > 1e-9 {
		t.Errorf("%+v", u)
	}
}

// TestGallery leaves out what cannot be told apart, what training saw, and what says too little.
func TestGallery(t *testing.T) {
	row := func(text string, words ...int32) schemas.EvaluationRow {
		return schemas.EvaluationRow{Text: &text, Words: words, TextVector: []float32{1}}
	}
	rows := []schemas.EvaluationRow{row("a b", 1, 2), row("a c b", 1, 2), row("a", 1), row("seen it", 3, 4), row("c d", 3, 4), {}, row("e f", 5, 6)}
	got := Gallery{Most: 10, MinWords: 2, Seen: map[string]bool{"seen it": true}}.Choose(rows)
	if len(got) != 3 || *got[0].Text != "a b" || *got[1].Text != "c d" || *got[2].Text != "e f" {
		t.Errorf("%d pairs", len(got))
	}
	if got := (Gallery{Most: 1, MinWords: 1}).Choose(rows); len(got) != 1 {
		t.Errorf("%d pairs, want 1", len(got))
	}
}

// TestRetrieval takes vectors apart by prefix; rows of earlier versions have none from before quantization.
func TestRetrieval(t *testing.T) {
	const width = 4
	axis := func(k int) []float32 {
		v := make([]float32, width)
		v[k] = 1
		return v
	}
	all := len(Prefixes(32))
	var rows []*schemas.EvaluationRow
	for i := range width {
		row := &schemas.EvaluationRow{TextVector: axis(i), DecodedZ: axis(i), Codes: make([]uint16, 32)}
		for k := range all {
			if right := axis(i); k == all-1 { // the last alone is right, by codes for half of the pictures
				row.Image = append(row.Image, right...)
				row.Decoded = append(row.Decoded, axis(i/2*2)...)
			} else {
				row.Image = append(row.Image, axis(0)...)
				row.Decoded = append(row.Decoded, axis(0)...)
			}
		}
		rows = append(rows, row)
	}
	var r Report
	for _, row := range rows {
		r.rows = append(r.rows, *row)
	}
	r.retrieval(rows, 32)
	got := r.Retrieval
	if got.Embedding.Mean != 100 || got.Decoded.ImageToText.At1 != 50 || got.DecodedZ == nil || got.DecodedZ.Mean != 100 || got.Prefixes[0].Embedding != 25 {
		t.Errorf("%+v", got)
	}
	if text := r.Lines(); !strings.Contains(text, "(before quantization 1.00)") {
		t.Error(text)
	}
	for _, row := range rows {
		row.DecodedZ = nil
	}
	if r.retrieval(rows, 32); r.Retrieval.DecodedZ != nil || strings.Contains(r.Lines(), "before quantization") {
		t.Errorf("without: %+v", r.Retrieval)
	}
}
