package shards_test

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"

	"sower/internal/shards/shardtest"
	"sower/schemas"
)

// frames is a TIFF of several frames: files of one frame each, joined by moving their offsets.
func frames(t testing.TB, pictures ...image.Image) []byte {
	t.Helper()
	var out []byte
	link := 4 // where the offset of the next directory goes
	for i, m := range pictures {
		var b bytes.Buffer
		if err := tiff.Encode(&b, m, nil); err != nil {
			t.Fatal(err)
		}
		p := b.Bytes()
		base := uint32(len(out))
		if i == 0 {
			base = 0
		}
		le := leOrder{}
		ifd := le.get(p[4:])
		n := int(p[ifd]) | int(p[ifd+1])<<8
		for e := range n {
			entry := p[int(ifd)+2+12*e:]
			tag := int(entry[0]) | int(entry[1])<<8
			size := map[byte]uint32{1: 1, 2: 1, 3: 2, 4: 4, 5: 8}[entry[2]] * le.get(entry[4:])
			if size > 4 || tag == 273 { // values elsewhere in the file; strip offsets
				le.put(entry[8:], le.get(entry[8:])+base)
			}
		}
		out = append(out, p...)
		if i > 0 {
			le.put(out[link:], base+ifd)
		}
		link = int(base+ifd) + 2 + 12*n
	}
	return out
}

type leOrder struct{}

func (leOrder) get(p []byte) uint32 {
	return uint32(p[0]) | uint32(p[1])<<8 | uint32(p[2])<<16 | uint32(p[3])<<24
}
func (leOrder) put(p []byte, v uint32) {
	p[0], p[1], p[2], p[3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
}

func TestMINT1T(t *testing.T) {
	j := func(stem, texts, images string) member {
		return file(stem+".json", []byte(fmt.Sprintf(`{"texts":[%s],"images":[%s],"pdf_name":"p"}`, texts, images)))
	}
	c := func(name string, p []byte, want ...shardtest.Want) shardtest.Case {
		return shardtest.Case{Name: name, Objects: map[string][]byte{"a.tar": p}, Want: want}
	}
	plain := tarOf(t, j("x/k1", `"a",null,"b",null`, `null,"page_0_image_1",null,"page_0_image_2"`), file("x/k1.page_0_image_2.png", png1), file("x/k1.page_0_image_1.jpg", jpg1), file("x/k1.log", nil),
		file("k2_1.jpg", jpg2), file("k2_0.jpg", jpg1), j("k2", `null,"t",null`, `"u","","v"`),
		j("k3", `null`, `"only"`), file("k3.png", png1), j("k4", `"text"`, `null`), j("1_5", `null,null`, `"p","q"`), file("1_5/q.jpg", jpg2), file("1_5/p.jpg", jpg1))
	last := doc("x/k1", `interleaved "a" 0 "b" 1`)
	last.Metadata = `{"_skipped":["x/k1.log"],"pdf_name":"p"}`
	rows := []shardtest.Want{img("x/k1", 0, jpg1), img("x/k1", 1, png1), last, img("k2", 0, jpg1), img("k2", 1, jpg2), doc("k2", `interleaved 0 "t" 1`),
		img("k3", 0, png1), doc("k3", `interleaved 0`), doc("k4", `interleaved "text"`), img("1_5", 0, jpg1), img("1_5", 1, jpg2), doc("1_5", `interleaved 0 1`)}
	hostile := tarOf(t, j("a", `"x"`, `"y"`), j("b", `null`, `null`), j("c", `"x","y"`, `null`), file("d.jpg", jpg1), file("e.json", []byte("{")), file("f.json", []byte("7")),
		j("g", `null,null,null`, `"p","q",7`), j("h", `null,null`, `"p","q"`), file("h.p.jpg", nil), j("../i", `null`, `"p"`), j("k", `"ok"`, `null`))
	shardtest.Run(t, format(t, "mint1t"), []shardtest.Case{
		c("plain", plain, rows...),
		{Name: "gzip", Objects: map[string][]byte{"a.tar.gz": shardtest.Gzip(plain)}, Want: rows},
		c("hostile", hostile, badDoc("a", schemas.UnreadableSource, "both"), badDoc("b", schemas.UnreadableSource, "neither"), badDoc("c", schemas.UnreadableSource, "2 texts beside 1"),
			badDoc("d", schemas.MissingColumn, "d.json"), badDoc("e", schemas.UnreadableSource, "not JSON"), badDoc("f", schemas.MissingColumn, "texts"),
			badDoc("g", schemas.UnreadableSource, "index 2"), noImg("h", 0, schemas.NoImage, "0 bytes"), noImg("h", 1, schemas.NoImage, `"q"`), doc("h", "interleaved 0 1"),
			badDoc("../i", schemas.UnsafeName, "leaves"), doc("k", `interleaved "ok"`)),
		c("cut off", plain[:3*512+50], badDoc("x/k1", schemas.UnreadableSource, "lost")),
		c("no tar", bytes.Repeat([]byte("no tar "), 500), badDoc("", schemas.UnreadableSource, "")),
		c("empty", nil, badDoc("", schemas.UnreadableSource, "empty")),
		c("no documents", tarOf(t)),
	})
}

// TestMINT1TFrames holds the frames of a TIFF to the pictures it was made of.
func TestMINT1TFrames(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	gray, rgb, deep := image.NewGray(image.Rect(0, 0, 5, 3)), image.NewNRGBA(image.Rect(0, 0, 7, 2)), image.NewGray16(image.Rect(0, 0, 2, 2))
	palette := image.NewPaletted(image.Rect(0, 0, 4, 4), color.Palette{color.RGBA{1, 2, 3, 255}, color.RGBA{200, 100, 50, 255}})
	for i := range gray.Pix {
		gray.Pix[i] = byte(rng.Uint32())
	}
	for i := range rgb.Pix {
		rgb.Pix[i] = byte(rng.Uint32()) | byte(i%4/3*128) // alpha is dropped, not applied
	}
	for i := range palette.Pix {
		palette.Pix[i] = byte(i % 2)
	}
	p := frames(t, gray, rgb, palette, deep)
	list := func(n int) (nulls, names string) {
		return strings.Repeat("null,", n-1) + "null", strings.Repeat(`"f",`, n-1) + `"f"`
	}
	nulls, names := list(5)
	tar := func(tiff []byte) []byte {
		return tarOf(t, file("k.json", []byte(fmt.Sprintf(`{"texts":[%s],"images":[%s]}`, nulls, names))), file("k.tiff", tiff))
	}
	got := fuzzRead(t, "mint1t", "a.tar", tar(p))
	if len(got) != 6 {
		t.Fatalf("%d pairs", len(got))
	}
	for i, m := range []image.Image{gray, rgb, palette} {
		if got[i].Reject != nil {
			t.Fatalf("frame %d: %+v", i, got[i].Reject)
		}
		b := m.Bounds()
		d, err := bmp.Decode(bytes.NewReader(got[i].Image))
		if err != nil || d.Bounds() != b {
			t.Fatalf("frame %d: %v, %v", i, d, err)
		}
		for at := range b.Dx() * b.Dy() {
			want, have := color.NRGBAModel.Convert(m.At(at%b.Dx(), at/b.Dx())).(color.NRGBA), color.NRGBAModel.Convert(d.At(at%b.Dx(), at/b.Dx()))
			if want.A = 255; have != want {
				t.Fatalf("frame %d pixel %d: %v, want %v", i, at, have, want)
			}
		}
	}
	for i, want := range map[int]schemas.Reason{3: schemas.UnsupportedFormat, 4: schemas.NoImage} {
		if got[i].Reject == nil || got[i].Reject.Reason != want {
			t.Errorf("frame %d: %s", i, shardtest.Describe(got[i]))
		}
	}
	loop := bytes.Clone(p)
	copy(loop[int(leOrder{}.get(loop[4:]))+2+12*int(loop[leOrder{}.get(loop[4:])]):], loop[4:8])
	for _, broken := range [][]byte{nil, p[:7], p[:60], bytes.Repeat([]byte{7}, 100), loop} {
		for i, g := range fuzzRead(t, "mint1t", "a.tar", tar(broken)) {
			if i < 5 && g.Reject == nil && !bytes.Equal(broken, loop) {
				t.Errorf("a broken TIFF gives frame %d", i)
			}
		}
	}
}

func FuzzMINT1T(f *testing.F) {
	f.Add(tarOf(f, file("k.json", []byte(`{"texts":["x",null,null],"images":[null,"a","b"]}`)), file("k.tiff", frames(f, image.NewGray(image.Rect(0, 0, 2, 2)), image.NewGray(image.Rect(0, 0, 3, 1)))), file("k_1.jpg", []byte("x"))))
	f.Add(tarOf(f, file("k_0.jpg", []byte("x")), file("k.json", []byte(`{"texts":[null],"images":["a"]}`)), file("l.jpg", []byte("y"))))
	f.Fuzz(func(t *testing.T, p []byte) { fuzzDocuments(t, "mint1t", "a.tar", p) })
}
