package shards_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"testing"

	"github.com/parquet-go/parquet-go"

	"sower/internal/shards"
	"sower/internal/shards/shardtest"
	"sower/schemas"
)

func ptr[T any](v T) *T { return &v }

func TestParquet(t *testing.T) {
	file := func(p []byte) map[string][]byte { return map[string][]byte{"d/a.parquet": p, "d/1.jpg": jpg1} }
	c := func(name string, p []byte, want ...shardtest.Want) shardtest.Case {
		return shardtest.Case{Name: name, Objects: file(p), Source: "d/a.parquet", Want: want}
	}
	opt := func(c shardtest.Case, o shards.Options) shardtest.Case { c.Options = o; return c }
	key := func(n int) string { return fmt.Sprintf("d/a/%09d", n) }

	var rows []shardtest.Img2DatasetRow
	var want []shardtest.Want
	for i := range 25 {
		r := shardtest.Img2DatasetRow{URL: fmt.Sprintf("http://x/%d", i), Caption: ptr("c"), Key: fmt.Sprintf("%09d", i), Status: "success",
			Width: ptr(int32(i)), JPG: shardtest.JPEG(8, 8, uint32(i)), TXT: ptr("c")}
		w := shardtest.Want{Key: r.Key, Image: r.JPG, Text: "c", Metadata: fmt.Sprintf(`{"status":"success","url":"http://x/%d","width":%d}`, i, i)}
		if i%7 == 3 {
			r.JPG, r.Status, r.ErrorMessage = nil, "failed_to_download", ptr("HTTP 404")
			w = shardtest.Want{Key: r.Key, Reject: schemas.NoImage, Detail: "failed_to_download: HTTP 404"}
		}
		rows, want = append(rows, r), append(want, w)
	}
	whole := shardtest.Parquet(10, rows...)

	type plain struct {
		ID    uint64  `parquet:"id"`
		Blob  []byte  `parquet:"pixels"`
		Score float64 `parquet:"score"`
		F32   float32 `parquet:"f32"`
		Flag  bool    `parquet:"flag"`
		Neg   int64   `parquet:"neg,decimal(2:18)"`
		Many  []int32 `parquet:"many"`
	}
	type captions struct {
		Image   []byte   `parquet:"image"`
		Caption []string `parquet:"caption,list"`
	}
	type packed struct {
		Image []byte `parquet:"image,lz4"`
	}
	var lz4 bytes.Buffer
	if err := parquet.Write(&lz4, []packed{{jpg1}}); err != nil {
		t.Fatal(err)
	}
	type paths struct {
		Image string `parquet:"image"`
		Text  []byte `parquet:"text"`
	}
	type urls struct {
		URL string `parquet:"url"`
		Key string `parquet:"key"`
	}
	type odd struct {
		A   []byte  `parquet:"a"`
		B   []byte  `parquet:"b"`
		Alt *string `parquet:"alt,optional"`
	}
	hf := shardtest.Parquet(0, shardtest.HuggingFace(jpg1, "a.jpg", "one", 3), shardtest.HuggingFace(nil, "gone.jpg", "two", 4))

	badFooter := bytes.Clone(whole)
	for i := len(badFooter) - 200; i < len(badFooter)-8; i++ {
		badFooter[i] ^= 0x5a
	}
	longFooter := bytes.Clone(whole)
	binary.LittleEndian.PutUint32(longFooter[len(longFooter)-8:], math.MaxUint32)

	shardtest.Run(t, format(t, "parquet"), []shardtest.Case{
		c("img2dataset", whole, want...),
		c("hugging face", hf, shardtest.Want{Key: key(0), Image: jpg1, Text: "one", Metadata: `{"label":3,"path":"a.jpg"}`},
			shardtest.Want{Key: key(1), Reject: schemas.NoImage, Detail: "gone.jpg"}),
		c("scalars", shardtest.Parquet(1, plain{math.MaxUint64, jpg1, 0.1, 1.5, true, -5, []int32{1}}, plain{1, png1, math.NaN(), 1e30, false, 12345, nil}),
			shardtest.Want{Key: "18446744073709551615", Image: jpg1, Metadata: `{"f32":1.5,"flag":true,"neg":-0.05,"score":0.1}`},
			shardtest.Want{Key: "1", Image: png1, Metadata: `{"f32":1e+30,"flag":false,"neg":123.45,"score":"NaN"}`}),
		c("list of captions", shardtest.Parquet(0, captions{jpg1, []string{"a", "b"}}, captions{jpg2, nil}, captions{png1, []string{"c"}}),
			shardtest.Want{Key: key(0), Image: jpg1, Text: "a", Metadata: `{"caption":["a","b"]}`}, shardtest.Want{Key: key(1), Image: jpg2}, shardtest.Want{Key: key(2), Image: png1, Text: "c"}),
		c("paths and base64", shardtest.Parquet(0, paths{"1.jpg", []byte("x")}, paths{"../x.jpg", []byte("y")}, paths{base64.StdEncoding.EncodeToString(jpg2), nil}, paths{"1.jpg", []byte("\xff")}),
			shardtest.Want{Key: key(0), Image: jpg1, Text: "x"}, shardtest.Want{Key: key(1), Reject: schemas.UnsafeName}, shardtest.Want{Key: key(2), Image: jpg2},
			shardtest.Want{Key: key(3), Reject: schemas.TextNotUTF8, Detail: "text"}),
		c("no image column", shardtest.Parquet(1, urls{"u", "k1"}, urls{"v", "k2"}), shardtest.Want{Key: "k1", Reject: schemas.MissingColumn, Detail: "url, key"}, shardtest.Want{Key: "k2", Reject: schemas.MissingColumn}),
		c("two binary columns", shardtest.Parquet(0, odd{A: jpg1, B: jpg2}), shardtest.Want{Key: key(0), Reject: schemas.MissingColumn}),
		opt(c("image column", shardtest.Parquet(0, odd{jpg1, jpg2, ptr("t")}, odd{jpg1, jpg2, nil}), shardtest.Want{Key: key(0), Image: jpg2, Text: "t"}, shardtest.Want{Key: key(1), Image: jpg2}),
			shards.Options{ImageColumn: "b", TextColumn: "alt"}),
		opt(c("image column of a struct", hf, shardtest.Want{Key: key(0), Image: jpg1, Text: "one"}, shardtest.Want{Key: key(1), Reject: schemas.NoImage}), shards.Options{ImageColumn: "image.bytes"}),
		opt(c("column asked for", hf, shardtest.Want{Key: key(0), Reject: schemas.MissingColumn, Detail: `"pic"`}, shardtest.Want{Key: key(1), Reject: schemas.MissingColumn}), shards.Options{ImageColumn: "pic"}),
		opt(c("text column asked for", hf, shardtest.Want{Key: key(0), Reject: schemas.MissingColumn, Detail: `"alt"`}, shardtest.Want{Key: key(1), Reject: schemas.MissingColumn}), shards.Options{TextColumn: "alt"}),
		opt(c("large", hf, shardtest.Want{Key: key(0), Reject: schemas.TooLarge}, shardtest.Want{Key: key(1), Reject: schemas.NoImage}), shards.Options{MaxImageBytes: 100}),
		c("empty image", shardtest.Parquet(0, odd{Alt: ptr("x")}), shardtest.Want{Key: key(0), Reject: schemas.MissingColumn}),
		c("no rows", shardtest.Parquet[urls](0)),
		c("LZ4", lz4.Bytes(), shardtest.Want{Key: key(0), Reject: schemas.UnreadableSource, Detail: "write the file with zstd"}),
		c("not parquet", bytes.Repeat([]byte("hello "), 50), shardtest.Want{Reject: schemas.UnreadableSource}),
		c("nothing", nil, shardtest.Want{Reject: schemas.UnreadableSource, Detail: "0 bytes"}),
		c("cut", whole[:len(whole)-100], shardtest.Want{Reject: schemas.UnreadableSource}),
		c("footer damaged", badFooter, shardtest.Want{Reject: schemas.UnreadableSource}),
		c("footer of 4 GiB", longFooter, shardtest.Want{Reject: schemas.UnreadableSource, Detail: "4294967295"}),
	})
}

// TestParquetDamagedPages overwrites the middle of a file: every row still comes out once, as it was or as a reject.
func TestParquetDamagedPages(t *testing.T) {
	type row struct {
		Key   string `parquet:"key"`
		Image []byte `parquet:"image"`
		Text  string `parquet:"text"`
	}
	var rows []row
	for i := range 60 {
		rows = append(rows, row{fmt.Sprint(i), shardtest.JPEG(16, 16, uint32(i)), fmt.Sprint("text ", i)})
	}
	whole := shardtest.Parquet(20, rows...)
	f, err := parquet.OpenFile(bytes.NewReader(whole), int64(len(whole)))
	if err != nil {
		t.Fatal(err)
	}
	image := f.Metadata().RowGroups[1].Columns[1].MetaData
	lostWithKey := 0
	for at := image.DataPageOffset; at < image.DataPageOffset+image.TotalCompressedSize; at += 997 {
		p := bytes.Clone(whole)
		for i := range 40 {
			p[min(int(at)+i, len(p)-1)] ^= 0xa5
		}
		got := fuzzRead(t, "parquet", "a.parquet", p)
		if len(got) != len(rows) {
			t.Fatalf("damage at %d: %d rows, want %d", at, len(got), len(rows))
		}
		for i, g := range got {
			outside := i < 20 || i >= 40
			if outside && (g.Reject != nil || !bytes.Equal(g.Image, rows[i].Image)) {
				t.Errorf("damage at %d: row %d of another row group: %.200s", at, i, shardtest.Describe(g))
			}
			if g.Reject != nil {
				if g.Reject.Reason != schemas.UnreadableSource {
					t.Errorf("damage at %d: row %d: %s", at, i, g.Reject.Reason)
				}
				if g.Key == rows[i].Key {
					lostWithKey++
				}
			}
		}
	}
	if lostWithKey == 0 {
		t.Error("no lost row kept its key")
	}
}

// TestParquetMemory edits page headers and the footer to claim far more than there is.
func TestParquetMemory(t *testing.T) {
	p := shardtest.Parquet(0, shardtest.HuggingFace(jpg1, "a.jpg", "one", 3))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for at := 4; at < 40; at++ {
		q := bytes.Clone(p)
		copy(q[at:], "\xff\xff\xff\xff\x0f")
		fuzzRead(t, "parquet", "a.parquet", q)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 256<<20 {
		t.Errorf("%d MiB allocated", n>>20)
	}
}

func FuzzParquet(f *testing.F) {
	f.Add(shardtest.Parquet(1, shardtest.HuggingFace([]byte("image"), "a.jpg", "one", 3), shardtest.HuggingFace(nil, "b.jpg", "two", 4)))
	type row struct {
		ID      int32    `parquet:"id"`
		Image   []byte   `parquet:"image,snappy"`
		Caption []string `parquet:"caption,list,dict"`
	}
	f.Add(shardtest.Parquet(2, row{1, []byte("x"), []string{"a", "b"}}, row{2, []byte("y"), nil}, row{3, []byte("x"), []string{"a"}}))
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) < 1<<16 {
			fuzzRead(t, "parquet", "a.parquet", p)
		}
	})
}
