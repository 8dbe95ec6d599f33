package trainer

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"sower/internal/blob"
	"sower/internal/blob/memblob"
	"sower/internal/corpus"
	"sower/schemas"
)

// prepared writes parts of rows whose pictures are all of one byte, the row's number.
func prepared(t *testing.T, r *Recipe, sizes ...int) (*blob.Bucket, []schemas.File) {
	t.Helper()
	b := blob.New("memory", memblob.New())
	var files []schemas.File
	n := 0
	for i, size := range sizes {
		p, err := corpus.Create[schemas.PreparedRow](t.Context(), b, corpus.PartName("data", "part", i, len(sizes)), nil)
		if err != nil {
			t.Fatal(err)
		}
		for range size {
			text := fmt.Sprintf("word%d and some more", n%5)
			if err := p.Append(schemas.PreparedRow{Key: fmt.Sprint(n), Text: &text, RGB: bytes.Repeat([]byte{byte(n)}, 3*r.Source*r.Source)}, 100); err != nil {
				t.Fatal(err)
			}
			n++
		}
		f, err := p.Commit()
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	return b, files
}

// TestBatches takes epochs of batches: no row twice in an epoch, all but a group's remainder in each, another order in the next, and the
// same batch whichever was taken before.
func TestBatches(t *testing.T) {
	r := &Recipe{Source: 8, Seed: 3, Augment: Augment{MinArea: 0.9, Ratio: 1.1}}
	r.Model.ImageSize = 8
	b, files := prepared(t, r, 20, 7, 13, 11)
	texts, err := ParseTexts([]byte("[PAD]\n[CLS]\n[SEP]\n[UNK]\nand\nsome\nword0\nword1\nword2\n"), 16, true)
	if err != nil {
		t.Fatal(err)
	}
	for name, bytes := range map[string]int64{"one group": 1 << 30, "groups": 30 * (3*8*8 + 256)} {
		t.Run(name, func(t *testing.T) {
			r.ShuffleBytes = bytes
			d, err := newData(b, files, texts, r, 4)
			if err != nil {
				t.Fatal(err)
			}
			var epochs [][]byte
			step := 0
			for epoch := range 3 {
				var seen []byte
				for {
					e, _, _, err := d.find(step)
					if err != nil {
						t.Fatal(err)
					}
					if e != epoch {
						break
					}
					batch, err := d.take(t.Context(), step, true)
					if err != nil {
						t.Fatal(err)
					}
					for i := range 4 {
						seen = append(seen, batch.RGB[i*3*8*8])
					}
					step++
				}
				distinct := slices.Clone(seen)
				slices.Sort(distinct)
				if n := len(slices.Compact(distinct)); n != len(seen) || n < 51-3*len(d.groups(epoch)) {
					t.Errorf("epoch %d has %d rows of 51, %d of them distinct", epoch, len(seen), n)
				}
				epochs = append(epochs, seen)
			}
			if bytesEqual(epochs[0], epochs[1]) {
				t.Error("two epochs in one order")
			}
			fresh, err := newData(b, files, texts, r, 4)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range []int{step - 1, 3, 17} {
				x, err := d.take(t.Context(), s, true)
				if err != nil {
					t.Fatal(err)
				}
				y, err := fresh.take(t.Context(), s, true)
				if err != nil || !bytesEqual(x.RGB, y.RGB) || fmt.Sprint(x.Texts) != fmt.Sprint(y.Texts) {
					t.Errorf("step %d is another batch, %v", s, err)
				}
			}
		})
	}
	if _, err := newData(b, files, texts, r, 100); err == nil {
		t.Error("a batch of more rows than there are")
	}
}

func bytesEqual(a, b []byte) bool { return string(a) == string(b) }

// TestCrop wants the whole picture where nothing is drawn, and mirrors and parts where they should be.
func TestCrop(t *testing.T) {
	const size, source = 16, 16
	src := make([]byte, 3*source*source)
	for i := range src {
		src[i] = byte(i * 7)
	}
	dst := make([]byte, 3*size*size)
	crop(dst, src, size, source, Augment{MinArea: 1, Ratio: 1}, rand.New(rand.NewPCG(1, 1)))
	if !bytesEqual(dst, src) {
		t.Error("all of a picture in its own size is another picture")
	}
	mirrored := 0
	for s := range uint64(200) {
		crop(dst, src, size, source, Augment{MinArea: 1, Ratio: 1, Flip: true}, rand.New(rand.NewPCG(s, 1)))
		switch {
		case bytesEqual(dst, src):
		case dst[0] == src[3*(source-1)]:
			mirrored++
		default:
			t.Fatal("neither the picture nor its mirror")
		}
	}
	if mirrored < 70 || mirrored > 130 {
		t.Errorf("%d of 200 mirrored", mirrored)
	}
	// A part of a ramp is a ramp within its range.
	for x := range source {
		for y := range source {
			src[3*(y*source+x)] = byte(10 * x)
		}
	}
	for s := range uint64(50) {
		crop(dst, src, size, source, Augment{MinArea: 0.5, Ratio: 4.0 / 3}, rand.New(rand.NewPCG(s, 2)))
		for y := range size {
			for x := 1; x < size; x++ {
				if dst[3*(y*size+x)] < dst[3*(y*size+x-1)] || dst[3*(y*size+x)] != dst[3*x] {
					t.Fatalf("seed %d: pixel %d,%d of a ramp", s, x, y)
				}
			}
		}
	}
}

// TestDropWords keeps at least one word, and about as many as it should.
func TestDropWords(t *testing.T) {
	words := []int32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	r := rand.New(rand.NewPCG(1, 3))
	kept := 0
	for range 1000 {
		kept += len(dropWords(words, 0.3, r))
	}
	if kept < 6700 || kept > 7300 {
		t.Errorf("%d of 10000 kept", kept)
	}
	if got := dropWords([]int32{5}, 0.99, r); len(got) != 1 {
		t.Errorf("%v", got)
	}
	if got := dropWords(nil, 0.5, r); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

// TestLearn counts a word once a caption, and reads it back as a tokenizer does.
func TestLearn(t *testing.T) {
	r := &Recipe{Source: 2}
	b, files := prepared(t, r, 10)
	words, err := Learn(t.Context(), b, files, 3)
	if err != nil || !slices.Equal(words, []string{"[PAD]", "[CLS]", "[SEP]", "[UNK]", "and", "more", "some"}) {
		t.Errorf("%v, %v", words, err)
	}
	if _, err := Learn(t.Context(), b, files, 11); err == nil {
		t.Error("no word occurs so often")
	}
	if err := WriteVocabulary(t.Context(), b, words); err != nil {
		t.Fatal(err)
	}
	texts, err := OpenTexts(t.Context(), b, 5, true)
	if err != nil {
		t.Fatal(err)
	}
	if got := texts.Frame(texts.Words("Some THINGS, and more and more")); !slices.Equal(got, []int32{1, 6, 4, 5, 2}) {
		t.Errorf("%v", got)
	}
	if texts.Size() != 7 {
		t.Errorf("%d words", texts.Size())
	}
}
