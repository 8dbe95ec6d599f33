package interleave

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// fakeWords has a word an id: text "a b" is 100+'a', 100+'b' and so on by first letter, with 1 before and 2 after where an image
// is the neighbour, so that tests see the seams. BOS 10, EOS 11, <img> 20, </img> 21, code i is 1000+i.
type fakeWords struct{}

func (fakeWords) Text(dst []int32, s string, after, before bool) []int32 {
	if after {
		dst = append(dst, 1)
	}
	for _, w := range strings.Fields(s) {
		dst = append(dst, 100+int32(w[0]))
	}
	if before {
		dst = append(dst, 2)
	}
	return dst
}

func (fakeWords) Image(dst []int32, codes []uint16) []int32 {
	dst = append(dst, 20)
	for _, c := range codes {
		dst = append(dst, 1000+int32(c))
	}
	return append(dst, 21)
}

func (fakeWords) BOS() int32 { return 10 }
func (fakeWords) EOS() int32 { return 11 }

func builder() Builder {
	return Builder{Words: fakeWords{}, ImageFirst: 1, Seed: 7, BOS: true, EOS: true}
}

// show writes a sequence as a person reads it: labels without loss in brackets.
func show(s Sequence) string {
	labels := s.labels(nil)
	var out []string
	for i, id := range s.IDs {
		w := fmt.Sprint(id)
		switch {
		case id == 10:
			w = "BOS"
		case id == 11:
			w = "EOS"
		case id == 20:
			w = "<img>"
		case id == 21:
			w = "</img>"
		case id == 1, id == 2:
			w = map[int32]string{1: "~", 2: "~"}[id]
		case id >= 1000:
			w = fmt.Sprint(id - 1000)
		case id > 100:
			w = string(rune(id - 100))
		}
		if labels[i] == Ignore {
			w = "[" + w + "]"
		} else if labels[i] != id {
			w = "wrong label"
		}
		out = append(out, w)
	}
	return strings.Join(out, " ")
}

var (
	imageA = Element{Codes: []uint16{1, 2}, Key: "A"}
	imageB = Element{Codes: []uint16{3, 4}, Key: "B"}
)

func role(e Element, r string) Element { e.Role = r; return e }

func words(s string) Element { return Element{Text: s} }

// TestTemplates is the golden table of id layouts.
func TestTemplates(t *testing.T) {
	conversation := []Element{role(imageA, "user"), {Text: "what", Role: "user"}, {Text: "cat", Role: "assistant"}, {Text: "sure", Role: "user"}, {Text: "yes", Role: "assistant"}}
	for _, c := range []struct {
		template string
		change   func(*Builder)
		elements []Element
		want     string
		drop     Drop
	}{
		{"caption", nil, []Element{imageA, words("red fox")}, "[BOS] <img> 1 2 </img> ~ r f EOS", ""},
		{"caption", func(b *Builder) { b.ImageFirst = 0 }, []Element{imageA, words("red fox")}, "[BOS] r f ~ <img> 1 2 </img> EOS", ""},
		{"caption", func(b *Builder) { b.BOS, b.EOS = false, false }, []Element{imageA, words("red fox")}, "[<img>] 1 2 </img> ~ r f", ""},
		{"caption", nil, []Element{imageA, words(" \n")}, "", NoText},
		{"caption", nil, []Element{words("alone")}, "", NoImage},
		{"seed1", nil, []Element{imageA, words("fox")}, "[BOS] [<img>] [1] [2] [</img>] [~] [A] [p] [o] f EOS", ""},
		{"seed1", func(b *Builder) { b.ImageFirst = 0 }, []Element{imageA, words("fox")}, "[BOS] [G] [a] [i] [f] [~] <img> 1 2 </img> EOS", ""},
		{"document", nil, []Element{words("one"), imageA, imageB, words("two"), words("three")}, "[BOS] o ~ <img> 1 2 </img> <img> 3 4 </img> ~ t t EOS", ""},
		{"document", func(b *Builder) { b.MaxImages = 1 }, []Element{words("one"), imageA, words("two"), words("no"), imageB}, "[BOS] o ~ <img> 1 2 </img> ~ t EOS", ""},
		{"document", func(b *Builder) { b.MaxImages = 1 }, []Element{imageA, imageB, words("two")}, "[BOS] <img> 1 2 </img> EOS", ""},
		{"document", func(b *Builder) { b.Swap = 1 }, []Element{imageA, words("two"), imageB, words("x")}, "[BOS] t ~ <img> 1 2 </img> ~ x ~ <img> 3 4 </img> EOS", ""},
		{"document", nil, nil, "", NoText},
		{"conversation", nil, conversation, "[BOS] [U] [~] [<img>] [1] [2] [</img>] [~] [w] [A] c [U] [s] [A] y EOS", ""},
		{"conversation", nil, conversation[:2], "", NotComplete},
		{"conversation", nil, conversation[2:3], "", NotComplete},
		{"edit", nil, []Element{role(imageA, "source"), {Text: "bluer", Role: "instruction"}, role(imageB, "target")},
			"[BOS] [U] [~] [<img>] [1] [2] [</img>] [~] [b] [A] [~] <img> 3 4 </img> EOS", ""},
		{"edit", nil, []Element{role(imageA, "source"), {Text: "bluer"}}, "", NotComplete},
		{"text", nil, []Element{words("just words")}, "[BOS] j w EOS", ""},
		{"text", nil, []Element{words("")}, "", NoText},
	} {
		template, err := Lookup(c.template)
		if err != nil {
			t.Fatal(err)
		}
		b := builder()
		if c.change != nil {
			c.change(&b)
		}
		pieces, drop := template.Lay(&b, &Record{Identity: "x", Elements: c.elements})
		got := ""
		if drop == "" {
			got = show(join(pieces))
		}
		if got != c.want || drop != c.drop {
			t.Errorf("%s: %s %q\nwant %s %q", c.template, got, drop, c.want, c.drop)
		}
	}
	b := builder()
	pieces, _ := templates["generate"].Lay(&b, &Record{Identity: "x", Elements: []Element{imageA, words("fox")}})
	if got := show(join(pieces)); !strings.HasPrefix(got, "[BOS] [U]") || !strings.HasSuffix(got, "[f] [A] [~] <img> 1 2 </img> EOS") {
		t.Errorf("generate: %s", got)
	}
}

func TestImageFirstIsAShareOfRecords(t *testing.T) {
	b := builder()
	b.ImageFirst = 0.3
	first := 0
	for i := range 4000 {
		pieces, _ := templates["caption"].Lay(&b, &Record{Identity: fmt.Sprintf("a.tar\x00%d", i), Elements: []Element{imageA, words("x")}})
		if pieces[1].Image {
			first++
		}
	}
	if first < 1080 || first > 1320 {
		t.Errorf("%d of 4000 have the image first, want about 1200", first)
	}
}

// joined is a tokenizer that puts a space of its own before a text, as SentencePiece does: ids are bytes.
type joined struct{ fakeWords }

func (joined) Text(dst []int32, s string, _, _ bool) []int32 {
	for _, c := range []byte(" " + s) {
		dst = append(dst, int32(c))
	}
	return dst
}

// TestOnePrompt looks for spaces that a tokenizer makes in the middle of what a model will be asked in one piece.
func TestOnePrompt(t *testing.T) {
	b := builder()
	b.Words, b.BOS, b.EOS = joined{}, false, false
	read := func(s Sequence) string {
		var text strings.Builder
		for _, id := range s.IDs {
			if id < 128 {
				text.WriteByte(byte(id))
			}
		}
		return text.String()
	}
	for _, c := range []struct {
		template, want string
		masked         int
		elements       []Element
	}{
		{"seed1", " A photo of fox", 4 + len(" A photo of"), []Element{imageA, words("fox")}},
		{"conversation", " USER: what\nASSISTANT: cat", len(" USER: what\nASSISTANT:"), []Element{role(words("what"), "user"), role(words("cat"), "assistant")}},
	} {
		pieces, drop := templates[c.template].Lay(&b, &Record{Identity: "x", Elements: c.elements})
		s := join(pieces)
		got := strings.ReplaceAll(read(s), "\x14\x15", "") // <img> and </img>
		if drop != "" || got != c.want || len(s.Masked) != 1 || s.Masked[0] != [2]int32{0, int32(c.masked)} {
			t.Errorf("%s: %q, masked %v %s; want %q, masked to %d", c.template, got, s.Masked, drop, c.want, c.masked)
		}
	}
}

func TestFit(t *testing.T) {
	b := builder()
	lay := func(template string, e ...Element) []Piece {
		p, drop := templates[template].Lay(&b, &Record{Identity: "x", Elements: e})
		if drop != "" {
			t.Fatal(drop)
		}
		return p
	}
	long := strings.Repeat("w ", 10)
	for _, c := range []struct {
		name    string
		pieces  []Piece
		context int
		mode    Overlong
		want    []string
	}{
		{"fits", lay("caption", imageA, words("a")), 8, DropLong, []string{"[BOS] <img> 1 2 </img> ~ a EOS"}},
		{"dropped", lay("caption", imageA, words("a")), 7, DropLong, nil},
		{"text shortened", lay("caption", imageA, words("a b c d")), 9, Truncate, []string{"[BOS] <img> 1 2 </img> ~ a b EOS"}},
		{"image does not fit", lay("document", words("a"), imageA, words("b")), 5, Truncate, []string{"[BOS] a ~ ~ EOS"}},
		{"text gives way to the image", lay("document", words("a b c d e"), imageA), 9, Truncate, []string{"[BOS] a b c <img> 1 2 </img> EOS"}},
		{"at element edges", lay("document", words("a b c"), imageA, words("d e")), 8, Split, []string{"[BOS] a b c ~", "[<img>] 1 2 </img> ~ d e EOS"}},
		{"EOS alone is nothing", lay("document", words("a b"), imageA), 4, Split, []string{"[BOS] a b ~", "[<img>] 1 2 </img>"}},
		{"BOS alone is nothing", lay("document", imageA, words("a b")), 4, Split, []string{"[<img>] 1 2 </img>", "[~] a b EOS"}},
		{"a long text in contexts", lay("text", words(long)), 4, Split, []string{"[BOS] w w w", "[w] w w w", "[w] w w EOS"}},
		{"BOS and a text of the context", lay("text", words("a b c d")), 4, Split, []string{"[BOS] a b c", "[d] EOS"}},
		{"an answer that is gone", lay("conversation", role(words("a b c d"), "user"), role(words("e"), "assistant")), 5, Truncate, nil},
		{"no image fits", lay("document", imageA, words("a")), 3, Split, nil},
	} {
		var got []string
		for _, p := range fit(c.pieces, c.context, c.mode) {
			s := join(p)
			got = append(got, show(s))
			if len(s.IDs) > c.context {
				t.Errorf("%s: %d ids in a context of %d", c.name, len(s.IDs), c.context)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestFitProperties cuts random documents: no image is ever cut, order is kept, every sequence fits and teaches.
func TestFitProperties(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	b := builder()
	for range 3000 {
		var elements []Element
		for range 1 + r.IntN(12) {
			if r.IntN(3) == 0 {
				elements = append(elements, Element{Codes: []uint16{uint16(r.IntN(50)), uint16(r.IntN(50)), uint16(r.IntN(50))}, Key: "k"})
			} else {
				elements = append(elements, words(strings.Repeat("abcdefgh "[:2+2*r.IntN(4)], 1+r.IntN(6))))
			}
		}
		pieces, drop := templates["document"].Lay(&b, &Record{Identity: "x", Elements: elements})
		if drop != "" {
			continue
		}
		whole := join(pieces)
		context := 6 + r.IntN(30)
		for _, mode := range []Overlong{Split, Truncate, DropLong} {
			var ids []int32
			for _, p := range fit(pieces, context, mode) {
				s := join(p)
				if len(s.IDs) > context || !teaches(p) {
					t.Fatalf("%s in %d: %s", mode, context, show(s))
				}
				if s.labels(nil)[0] != Ignore {
					t.Fatalf("first label of %s", show(s))
				}
				for _, at := range s.Images {
					if s.IDs[at] != 20 || s.IDs[at+4] != 21 {
						t.Fatalf("a cut image in %s", show(s))
					}
				}
				if n := strings.Count(show(s), "<img>"); n != len(s.Images) || n != strings.Count(show(s), "</img>") {
					t.Fatalf("%d images in %s", len(s.Images), show(s))
				}
				ids = append(ids, s.IDs...)
			}
			if mode == Split && len(ids) > 0 && !isSubsequence(ids, whole.IDs) {
				t.Fatalf("order is lost")
			}
		}
	}
}

func isSubsequence(sub, of []int32) bool {
	i := 0
	for _, v := range of {
		if i < len(sub) && sub[i] == v {
			i++
		}
	}
	return i == len(sub)
}

func TestPack(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, context := range []int{8, 64, 1024, 2048} {
		for range 40 {
			lengths := make([]int, r.IntN(800))
			total := 0
			for i := range lengths {
				lengths[i] = 1 + r.IntN(context)
				if r.IntN(3) > 0 {
					lengths[i] = 1 + r.IntN(context/4+1)
				}
				total += lengths[i]
			}
			rows := pack(lengths, context)
			seen := make([]bool, len(lengths))
			for k, row := range rows {
				used := 0
				for j, i := range row {
					if seen[i] || j > 0 && row[j-1] >= i {
						t.Fatal("a sequence twice, or out of order")
					}
					seen[i] = true
					used += lengths[i]
				}
				if used > context || used == 0 {
					t.Fatalf("row of %d in a context of %d", used, context)
				}
				if k > 0 && rows[k-1][0] >= row[0] {
					t.Fatal("rows out of order")
				}
			}
			if slices.Contains(seen, false) {
				t.Fatal("a sequence is missing")
			}
			if !reflect.DeepEqual(rows, pack(lengths, context)) {
				t.Fatal("not a function of the lengths")
			}
		}
	}
	// A COCO-like mix: 34 ids of an image, a caption of 8 to 20 words and BOS and EOS.
	lengths := make([]int, 20000)
	total := 0
	for i := range lengths {
		lengths[i] = 36 + 8 + int(6+4*r.NormFloat64())
		total += lengths[i]
	}
	rows := pack(lengths, 1024)
	if fill := float64(total) / float64(1024*len(rows)); fill < 0.98 {
		t.Errorf("fill %.4f", fill)
	}
}

func TestTimes(t *testing.T) {
	sum := 0
	for i := range 10000 {
		n := times(2.3, 5, fmt.Sprint(i))
		if n != 2 && n != 3 {
			t.Fatal(n)
		}
		sum += n
	}
	if sum < 22700 || sum > 23300 {
		t.Errorf("%d uses of 10000 records at weight 2.3", sum)
	}
	if times(1, 5, "x") != 1 || times(3, 5, "x") != 3 {
		t.Error("a whole weight is not whole")
	}
}

// TestHashOfManyRepetitions: repetitions stand above other bits, and all must count.
func TestHashOfManyRepetitions(t *testing.T) {
	seen := map[uint64]int{}
	for repeat := range 1000 {
		h := hash(1, "order", "x", repeat<<20)
		if before, twice := seen[h]; twice {
			t.Fatalf("repetition %d has the place of %d", repeat, before)
		}
		seen[h] = repeat
	}
}

func TestChoose(t *testing.T) {
	got, err := Choose([]string{"generate"})
	if err != nil || got[Pair].Name() != "generate" || got[Interleaved].Name() != "document" {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := Choose([]string{"caption", "seed1"}); err == nil || !strings.Contains(err.Error(), "both") {
		t.Errorf("%v", err)
	}
	if _, err := Choose([]string{"haiku"}); err == nil || !strings.Contains(err.Error(), "have: caption") {
		t.Errorf("%v", err)
	}
}

func TestParseInput(t *testing.T) {
	for arg, want := range map[string]struct {
		path   string
		weight float64
	}{"corpus": {"corpus", 1}, "corpus:0.25": {"corpus", 0.25}, "wiki/*.jsonl:3": {"wiki/*.jsonl", 3}, "gs://b/x": {"gs://b/x", 1}, "gs://b/x:2": {"gs://b/x", 2}, "a:b": {"a:b", 1}} {
		path, weight, err := ParseInput(arg)
		if err != nil || path != want.path || weight != want.weight {
			t.Errorf("%s: %s %v %v", arg, path, weight, err)
		}
	}
	if _, _, err := ParseInput("corpus:0"); err == nil {
		t.Error("weight 0")
	}
}
