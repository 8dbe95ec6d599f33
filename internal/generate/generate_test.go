package generate

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"sower/gpu"
	_ "sower/gpu/cpu"
	"sower/internal/interleave"
	"sower/internal/text"
	"sower/schemas"
)

func TestGreedyTakesTheLowestBest(t *testing.T) {
	inf := float32(math.Inf(-1))
	if id, err := (Sampler{}).choose([]float32{inf, 1, 3, 3}, 0, 0); err != nil || id != 2 {
		t.Errorf("token %d, %v", id, err)
	}
	for _, bad := range [][]float32{{inf, inf}, {1, float32(math.NaN())}, {float32(math.Inf(1)), 0}, {}} {
		if _, err := (Sampler{}).choose(bad, 0, 0); err == nil {
			t.Errorf("%v: no error", bad)
		}
	}
}

// TestDrawsFollowProbabilities compares frequencies with probabilities, and with those of a nucleus.
func TestDrawsFollowProbabilities(t *testing.T) {
	p := []float64{0.1, 0, 0.45, 0.05, 0.4}
	scores := make([]float32, len(p))
	for i, v := range p {
		scores[i] = float32(2 * math.Log(v)) // for a temperature of 2
	}
	const n = 40000
	for topP, want := range map[float64][]float64{
		0: p, 1: p, 0.5: {0, 0, 0.45 / 0.85, 0, 0.4 / 0.85}, 0.3: {0, 0, 1, 0, 0}, 0.9: {0.1 / 0.95, 0, 0.45 / 0.95, 0, 0.4 / 0.95}, 0.999: p,
	} {
		counts := make([]float64, len(p))
		for i := range n {
			id, err := Sampler{Temperature: 2, TopP: topP, Seed: 3}.choose(slices.Clone(scores), uint64(i/100), uint64(i%100))
			if err != nil {
				t.Fatal(err)
			}
			counts[id]++
		}
		for i, w := range want {
			if sigma := math.Sqrt(w * (1 - w) / n); math.Abs(counts[i]/n-w) > 5*sigma {
				t.Errorf("top-p %v: token %d with %.4f, want %.4f", topP, i, counts[i]/n, w)
			}
		}
	}
}

// TestNucleusNeedsNoSort compares with sorting everything.
func TestNucleusNeedsNoSort(t *testing.T) {
	s := Sampler{Seed: 9}
	for n := range uint64(300) {
		weights := make([]float64, 1+int(200*s.uniform(n, 0)))
		total := 0.0
		for i := range weights {
			weights[i] = math.Pow(s.uniform(n, uint64(i+10)), 8)
			total += weights[i]
		}
		p, u := s.uniform(n, 1), s.uniform(n, 2)
		ids := make([]int, len(weights))
		for i := range ids {
			ids[i] = i
		}
		slices.SortStableFunc(ids, func(a, b int) int {
			if weights[a] > weights[b] {
				return -1
			} else if weights[a] < weights[b] {
				return 1
			}
			return 0
		})
		sum, k := 0.0, 0
		for ; k == 0 || sum < p*total; k++ {
			sum += weights[ids[k]]
		}
		x, want := u*sum, ids[k-1]
		for _, id := range ids[:k] {
			if x -= weights[id]; x < 0 {
				want = id
				break
			}
		}
		if got := nucleus(weights, total, p, u, len(weights)); int(got) != want {
			t.Errorf("%d: token %d, want %d", n, got, want)
		}
	}
}

// TestGrammar walks at random through what may follow.
func TestGrammar(t *testing.T) {
	v := &schemas.Vocabulary{Offset: 10, K: 5, Begin: 15, End: 16, ImageLength: 6, Length: 18}
	for seed := range uint64(200) {
		g := newGrammar(Mixed, v, []int32{2}, 23)
		s := Sampler{Temperature: 1, Seed: seed}
		var ids []int32
		for finish := Finish(""); finish == ""; {
			scores := make([]float32, 18)
			scores[15] = 2
			g.mask(scores)
			id, err := s.choose(scores, 0, uint64(len(ids)))
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
			finish = g.accept(id)
		}
		if len(ids) > 23 {
			t.Errorf("%d tokens", len(ids))
		}
		for i := 0; i < len(ids); i++ {
			if ids[i] == 15 && i+5 < len(ids) && ids[i+5] == 16 && slices.Min(ids[i+1:i+5]) >= 10 && slices.Max(ids[i+1:i+5]) < 15 {
				i += 5
			} else if ids[i] >= 10 && ids[i] <= 16 {
				t.Fatalf("broken image at %d of %v", i, ids)
			}
		}
	}
}

func TestWords(t *testing.T) {
	decode := func(ids []int32) string { return text.Bytes().Decode(ids) }
	all := "one é two STOP three"
	ids := text.Bytes().Encode(nil, all)
	for _, c := range []struct {
		stops []string
		want  string
	}{{nil, all}, {[]string{"STOP"}, "one é two "}, {[]string{"three", "STO"}, "one é two "}, {[]string{"STOPPED"}, all}, {[]string{"é"}, "one "}} {
		w := NewWords(decode, []int32{1}, c.stops)
		shown := ""
		for i, id := range ids {
			stop := w.Add(id)
			shown += w.Fresh(i == len(ids)-1)
			if !strings.HasPrefix(c.want, shown) || strings.Contains(shown, "\ufffd") {
				t.Fatalf("stops %q: showed %q, which is no beginning of %q", c.stops, shown, c.want)
			}
			if stop {
				break
			}
		}
		if w.Text() != c.want || shown != c.want {
			t.Errorf("stops %q: text %q, shown %q, want %q", c.stops, w.Text(), shown, c.want)
		}
	}
}

// TestPromptsAreThoseOfTheCorpus checks that a prompt and its answer are, id for id, what a template of interleave lays out.
func TestPromptsAreThoseOfTheCorpus(t *testing.T) {
	words, err := interleave.OpenWords("bytes", "", 64, 32)
	if err != nil {
		t.Fatal(err)
	}
	g := &Generator{words: words, Vocabulary: &words.Vocabulary, Tokenizer: text.Bytes(), prefix: []int32{words.BOS()}}
	codes := make([]uint16, 32)
	for i := range codes {
		codes[i] = uint16(i * 2)
	}
	image := words.Image(nil, codes)
	eos := []int32{words.EOS()}
	for _, name := range Templates {
		template, err := interleave.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, first := range []bool{false, true} {
			r := &interleave.Record{Kind: interleave.Pair, Elements: []interleave.Element{{Text: "a red bird", Role: "user"}, {Codes: codes, Role: "assistant"}}}
			if first {
				r.Elements = []interleave.Element{{Codes: codes, Role: "user"}, {Text: "a red bird", Role: "assistant"}}
			}
			if name == "conversation" {
				r.Kind = interleave.Conversation
			}
			b := &interleave.Builder{Words: words, BOS: true, EOS: true}
			if first {
				b.ImageFirst = 1
			}
			pieces, _ := template.Lay(b, r)
			var trained []int32
			for _, p := range pieces {
				trained = append(trained, p.IDs...)
			}
			var prompt []int32
			if first {
				if name == "generate" {
					if _, err := g.CaptionPrompt(name, codes, ""); err == nil || !strings.Contains(err.Error(), "--template") {
						t.Errorf("generate describes images: %v", err)
					}
					continue
				}
				prompt, err = g.CaptionPrompt(name, codes, "")
				answer := "a red bird"
				if name == "seed1" {
					answer = " a red bird"
				}
				prompt = slices.Concat(prompt, words.Text(nil, answer, false, false), eos)
			} else {
				prompt, err = g.ImagePrompt(name, " a red bird ")
				prompt = slices.Concat(prompt, image[1:], eos)
			}
			if err != nil || !slices.Equal(prompt, trained) {
				t.Errorf("%s, image first %v: %v\n got %v\nwant %v", name, first, err, prompt, trained)
			}
		}
	}
	if ids, err := g.ImagePrompt("caption", ""); err != nil || !slices.Equal(ids, []int32{words.BOS(), words.Vocabulary.Begin}) {
		t.Errorf("an image of nothing: %v, %v", ids, err)
	}
	codes[3] = 64
	if _, err := g.CaptionPrompt("caption", codes, ""); err == nil || !strings.Contains(err.Error(), "code 64") {
		t.Errorf("code 64 of 64: %v", err)
	}
}

// TestRowsAreIndependent checks that a row is the same alone, beside rows of other lengths, and with other rows ending early.
func TestRowsAreIndependent(t *testing.T) {
	dev, err := gpu.Open("cpu", gpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	g, err := Open(dev, Config{Base: "standin:tiny:3"})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	g.EOS = nil
	var rows []Row
	for i, s := range []string{"a", "some longer text", "and one that is longer still"} {
		rows = append(rows, Row{Prompt: g.TextPrompt(s), Stream: uint64(i)})
	}
	run := Run{Sampler: Sampler{Temperature: 1.5, TopP: 0.95, Seed: 4}, Tokens: 20}
	want := make([]Result, len(rows))
	for i := range rows {
		r, err := g.Generate(context.Background(), rows[i:i+1], run)
		if err != nil {
			t.Fatal(err)
		}
		want[i] = r[0]
	}
	run.Token = func(row int, id int32) bool { return row == 1 && id == want[1].IDs[4] }
	got, err := g.Generate(context.Background(), rows, run)
	if err != nil {
		t.Fatal(err)
	}
	if at := slices.Index(want[1].IDs, want[1].IDs[4]); len(got[1].IDs) != at+1 || got[1].Finish != AtStop {
		t.Errorf("stopped row: %+v", got[1])
	}
	for _, i := range []int{0, 2} {
		if fmt.Sprint(got[i]) != fmt.Sprint(want[i]) {
			t.Errorf("row %d: beside others %v, alone %v", i, got[i], want[i])
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	run.Token = func(int, int32) bool { cancel(); return false }
	if _, err := g.Generate(ctx, rows, run); err != context.Canceled {
		t.Errorf("interrupted: %v", err)
	}
}
