package shards_test

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"

	"sower/internal/shards"
	"sower/internal/shards/shardtest"
	"sower/schemas"
)

func format(t testing.TB, name string) shards.Format {
	t.Helper()
	f, err := shards.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

var (
	jpg1, jpg2, png1 = shardtest.JPEG(8, 8, 1), shardtest.JPEG(9, 7, 2), shardtest.PNG(8, 8, 3)
	html             = []byte("<html>not found</html>")
)

// member is one entry of a tar for tests that need more than shardtest.Tar.
type member struct {
	tar.Header
	data []byte
}

func file(name string, data []byte) member {
	return member{tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(data)), Mode: 0o600}, data}
}

func tarOf(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		if err := w.WriteHeader(&m.Header); err != nil {
			t.Fatalf("%s: %v", m.Name, err)
		}
		if _, err := w.Write(m.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// rawHeader makes a header block by hand, for what archive/tar refuses to write.
func rawHeader(name string, typeflag byte, size string) []byte {
	b := make([]byte, 512)
	copy(b, name)
	copy(b[124:136], size)
	b[156] = typeflag
	copy(b[257:], "ustar\x0000")
	copy(b[148:], "        ")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

func padded(p []byte) []byte { return append(bytes.Clone(p), make([]byte, -len(p)&511)...) }

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestWebDataset(t *testing.T) {
	long := strings.Repeat("d/", 150) + "key"
	three := shardtest.Tar(shardtest.Captioned("000", jpg1, "one"), shardtest.Captioned("001", jpg2, "two"), shardtest.Captioned("002", png1, "three"))
	threeWant := []shardtest.Want{{Key: "000", Image: jpg1, Text: "one"}, {Key: "001", Image: jpg2, Text: "two"}, {Key: "002", Image: png1, Text: "three"}}
	end := make([]byte, 1024)
	one := func(files ...shardtest.File) map[string][]byte {
		return map[string][]byte{"a.tar": shardtest.Tar(shardtest.Sample{Key: "k", Files: files})}
	}
	f := func(ext, data string) shardtest.File { return shardtest.File{Ext: ext, Data: []byte(data)} }
	img := shardtest.File{Ext: "jpg", Data: jpg1}
	ok := func(text, meta string) []shardtest.Want {
		return []shardtest.Want{{Key: "k", Image: jpg1, Text: text, Metadata: meta}}
	}
	reject := func(r schemas.Reason, detail string) []shardtest.Want {
		return []shardtest.Want{{Key: "k", Reject: r, Detail: detail}}
	}
	tarball := func(p []byte) map[string][]byte { return map[string][]byte{"a.tar": p} }
	var bomb []byte
	for range 2000 {
		bomb = append(bomb, cat(rawHeader("x", 'x', "00000000024\x00"), padded([]byte("20 path=aaaaaaaaaa/\n")))...)
	}
	big := make([]byte, 12)
	big[0] = 0x80
	binary.BigEndian.PutUint64(big[4:], 1<<40)
	negative := bytes.Repeat([]byte{0xff}, 12)

	shardtest.Run(t, format(t, "webdataset"), []shardtest.Case{
		{Name: "three", Objects: tarball(three), Want: threeWant},
		{Name: "gzip", Objects: map[string][]byte{"a.tar.gz": shardtest.Gzip(three)}, Want: threeWant},
		{Name: "gzip named tar", Objects: tarball(shardtest.Gzip(three)), Want: threeWant},
		{Name: "gzip with padding", Objects: map[string][]byte{"a.tar.gz": cat(shardtest.Gzip(three), make([]byte, 512))}, Want: threeWant},
		{Name: "no samples", Objects: tarball(shardtest.Tar())},
		{Name: "no end mark", Objects: tarball(three[:len(three)-1024]), Want: threeWant},
		{Name: "joined archives", Objects: tarball(cat(three, end, shardtest.Tar(shardtest.Captioned("x", jpg1, "4")))),
			Want: append(threeWant[:3:3], shardtest.Want{Key: "x", Image: jpg1, Text: "4"})},
		{Name: "img2dataset", Objects: one(img, f("json", `{"url":"http://x/a.jpg","caption":"a cat","width":1e2,"id":12345678901234567890,"exif":{"b":1,"a":null}}`), f("txt", "a cat")),
			Want: ok("a cat", `{"exif":{"a":null,"b":1},"id":12345678901234567890,"url":"http://x/a.jpg","width":1e2}`)},
		{Name: "caption in json", Objects: one(img, f("json", `{"top_caption":"t","x":"<&>"}`)), Want: ok("t", `{"x":"<&>"}`)},
		{Name: "caption twice", Objects: one(img, f("caption", "c"), f("txt", "t"), f("json", `{"caption":"j"}`)), Want: ok("t", `{".caption":"j","caption":"c"}`)},
		{Name: "upper case", Objects: one(shardtest.File{Ext: "JPG", Data: jpg1}, f("TXT", "t\r\n")), Want: ok("t", "")},
		{Name: "other members", Objects: one(img, f("cls", "7\n"), f("npy", "\x93NUMPY\xff"), f("meta.json", `{"b":1,"a":2}`), f("big", strings.Repeat("x", 70000))),
			Want: ok("", `{"_skipped":["npy","big"],"cls":"7","meta.json":{"a":2,"b":1}}`)},
		{Name: "alias order", Objects: one(shardtest.File{Ext: "png", Data: png1}, img, shardtest.File{Ext: "webp", Data: html}), Want: ok("", `{"_skipped":["png","webp"]}`)},
		{Name: "dots in keys", Objects: one(shardtest.File{Ext: "5x.jpg", Data: jpg1}, f("5x.txt", "t")), Want: ok("", `{"5x.txt":"t"}`)},
		{Name: "several images by dots", Objects: one(shardtest.File{Ext: "1.jpg", Data: jpg1}, shardtest.File{Ext: "2.jpg", Data: jpg2}), Want: reject(schemas.NoImage, "1.jpg, 2.jpg")},
		{Name: "html named jpg is passed on", Objects: one(shardtest.File{Ext: "jpg", Data: html}), Want: []shardtest.Want{{Key: "k", Image: html}}},
		{Name: "image column", Objects: one(img, shardtest.File{Ext: "seg.png", Data: png1}), Options: shards.Options{ImageColumn: "seg.png"},
			Want: []shardtest.Want{{Key: "k", Image: png1}}},
		{Name: "image column missing", Objects: one(img), Options: shards.Options{ImageColumn: "seg.png"}, Want: reject(schemas.MissingColumn, "seg.png")},
		{Name: "text column", Objects: one(img, f("txt", "t"), f("json", `{"alt":"a"}`)), Options: shards.Options{TextColumn: "alt"}, Want: ok("a", `{"txt":"t"}`)},
		{Name: "text column missing", Objects: one(img, f("txt", "t")), Options: shards.Options{TextColumn: "alt"}, Want: reject(schemas.MissingColumn, "alt")},
		{Name: "key column", Objects: one(img, f("json", `{"uid":7}`)), Options: shards.Options{KeyColumn: "uid"}, Want: []shardtest.Want{{Key: "7", Image: jpg1}}},
		{Name: "key column missing", Objects: one(img), Options: shards.Options{KeyColumn: "uid"}, Want: reject(schemas.MissingColumn, "uid")},
		{Name: "no image", Objects: one(f("txt", "t")), Want: reject(schemas.NoImage, "")},
		{Name: "empty image", Objects: one(f("jpg", ""), f("txt", "t")), Want: reject(schemas.NoImage, "0 bytes")},
		{Name: "large image", Objects: one(img), Options: shards.Options{MaxImageBytes: 100}, Want: reject(schemas.TooLarge, "more than 100")},
		{Name: "large caption", Objects: one(img, f("txt", strings.Repeat("x", 2<<20))), Want: reject(schemas.TooLarge, "k.txt")},
		{Name: "caption not utf-8", Objects: one(img, f("txt", "caf\xe9")), Want: reject(schemas.TextNotUTF8, "k.txt")},
		{Name: "caption with bom", Objects: one(img, f("txt", "\xef\xbb\xbfé\n")), Want: ok("é", "")},
		{Name: "json broken", Objects: one(img, f("json", `{"a":`)), Want: reject(schemas.UnreadableSource, "k.json is not JSON")},
		{Name: "json empty", Objects: one(img, f("json", ``)), Want: reject(schemas.UnreadableSource, "empty")},
		{Name: "json not utf-8", Objects: one(img, f("json", "{\"a\":\"\xff\"}")), Want: reject(schemas.TextNotUTF8, "k.json")},
		{Name: "json of a list", Objects: one(img, f("json", `[1,2]`)), Want: ok("", `{"json":[1,2]}`)},
		{Name: "json too deep", Objects: one(img, f("json", strings.Repeat("[", 100000))), Want: reject(schemas.UnreadableSource, "depth")},
		{Name: "keys again, not adjacent", Objects: tarball(shardtest.Tar(shardtest.Captioned("a", jpg1, "1"), shardtest.Captioned("b", jpg2, "2"), shardtest.Captioned("a", png1, "3"))),
			Want: []shardtest.Want{{Key: "a", Image: jpg1, Text: "1"}, {Key: "b", Image: jpg2, Text: "2"}, {Key: "a", Image: png1, Text: "3"}}},
		{Name: "keys again, adjacent", Objects: tarball(shardtest.Tar(shardtest.Captioned("a", jpg1, "1"), shardtest.Captioned("a", jpg2, "2"))),
			Want: []shardtest.Want{{Key: "a", Image: jpg1, Text: "1"}, {Key: "a", Image: jpg2, Text: "2"}}},
		{Name: "folders, hidden files, no extension", Objects: tarball(tarOf(t, member{tar.Header{Name: "./d/", Typeflag: tar.TypeDir}, nil},
			file("./d/x.jpg", jpg1), file("./d/._x.jpg", []byte("mac")), file("README", []byte("hi")), file("./d/x.txt", []byte("t")))),
			Want: []shardtest.Want{{Key: "d/x", Image: jpg1, Text: "t"}}},
		{Name: "long names", Objects: tarball(tarOf(t, file(long+".jpg", jpg1), file(long+".txt", []byte("t")), file("é/k.jpg", jpg2))),
			Want: []shardtest.Want{{Key: long, Image: jpg1, Text: "t"}, {Key: "é/k", Image: jpg2}}},
		{Name: "gnu long names", Objects: tarball(tarOf(t, member{tar.Header{Name: long + ".jpg", Typeflag: tar.TypeReg, Size: int64(len(jpg1)), Format: tar.FormatGNU}, jpg1}, file("z.jpg", jpg2))),
			Want: []shardtest.Want{{Key: long, Image: jpg1}, {Key: "z", Image: jpg2}}},
		{Name: "links and devices", Objects: tarball(tarOf(t, member{tar.Header{Name: "a.jpg", Typeflag: tar.TypeLink, Linkname: "../../etc/passwd"}, nil},
			file("a.txt", []byte("t")), member{tar.Header{Name: "b.jpg", Typeflag: tar.TypeChar}, nil}, file("c.jpg", jpg1))),
			Want: []shardtest.Want{{Key: "a", Reject: schemas.NoImage, Detail: "link"}, {Key: "c", Image: jpg1}}},
		{Name: "unsafe names", Objects: tarball(tarOf(t, file("../a.jpg", jpg1), file("/etc/b.jpg", jpg1), file("x/../../c.jpg", jpg1), file(`..\d.jpg`, jpg1), file("e..f.jpg", jpg1))),
			Want: []shardtest.Want{{Key: "../a", Reject: schemas.UnsafeName}, {Key: "/etc/b", Reject: schemas.UnsafeName}, {Key: "x/../../c", Reject: schemas.UnsafeName},
				{Key: "e", Image: jpg1, Metadata: ""}}},
		{Name: "name not utf-8", Objects: tarball(cat(rawHeader("caf\xe9.jpg", '0', fmt.Sprintf("%011o", len(jpg1))), padded(jpg1))), Want: []shardtest.Want{{Key: `caf\xe9`, Image: jpg1}}},
		{Name: "cut in a body", Objects: tarball(three[:512+len(padded(jpg1))+1024+512+100]), Want: []shardtest.Want{threeWant[0], {Key: "001", Reject: schemas.UnreadableSource, Detail: "cut off"}}},
		{Name: "cut in a caption", Objects: tarball(three[:512+len(padded(jpg1))+512+1]), Want: []shardtest.Want{{Key: "000", Reject: schemas.UnreadableSource, Detail: "byte"}}},
		{Name: "cut in a header", Objects: tarball(three[:512+len(padded(jpg1))+1024+100]), Want: []shardtest.Want{{Key: "000", Reject: schemas.UnreadableSource, Detail: "cut off"}}},
		{Name: "gzip cut", Objects: map[string][]byte{"a.tgz": shardtest.Gzip(three)[:600:600]}, Want: []shardtest.Want{threeWant[0], {Key: "001", Reject: schemas.UnreadableSource, Detail: "byte"}}},
		{Name: "header overwritten", Objects: tarball(cat(three[:512+len(padded(jpg1))+1024], bytes.Repeat([]byte{7}, 512), three[512+len(padded(jpg1))+1536:])),
			Want: []shardtest.Want{{Key: "000", Reject: schemas.UnreadableSource, Detail: fmt.Sprintf("byte %d", 512+len(padded(jpg1))+1024)}}},
		{Name: "garbage behind the end", Objects: tarball(cat(three, []byte("garbage"), make([]byte, 600))), Want: append(threeWant[:3:3], shardtest.Want{Reject: schemas.UnreadableSource, Detail: "after the end"})},
		{Name: "not a tar", Objects: tarball([]byte(strings.Repeat("<html>", 200))), Want: []shardtest.Want{{Reject: schemas.UnreadableSource, Detail: "not a tar"}}},
		{Name: "zstd", Objects: tarball(cat([]byte("\x28\xb5\x2f\xfd"), make([]byte, 600))), Want: []shardtest.Want{{Reject: schemas.UnreadableSource, Detail: "zstd"}}},
		{Name: "empty file", Objects: tarball(nil), Want: []shardtest.Want{{Reject: schemas.UnreadableSource, Detail: "empty"}}},
		{Name: "empty archive", Objects: tarball(shardtest.Tar())},
		{Name: "gigabyte claimed", Objects: tarball(cat(shardtest.Tar(shardtest.Captioned("a", jpg1, "1"))[:512+len(padded(jpg1))+1024], rawHeader("b.jpg", '0', "10000000000\x00"), make([]byte, 100))),
			Want: []shardtest.Want{{Key: "a", Image: jpg1, Text: "1"}, {Key: "b", Reject: schemas.UnreadableSource, Detail: "1073741824"}}},
		{Name: "gigabyte claimed, gzip", Objects: tarball(shardtest.Gzip(cat(rawHeader("b.jpg", '0', "01000000000\x00"), make([]byte, 100)))),
			Want: []shardtest.Want{{Key: "b", Reject: schemas.UnreadableSource, Detail: "cut off"}}},
		{Name: "terabyte claimed", Objects: tarball(rawHeader("b.jpg", '0', string(big))), Want: []shardtest.Want{{Key: "b", Reject: schemas.UnreadableSource, Detail: "1099511627776"}}},
		{Name: "negative size", Objects: tarball(rawHeader("b.jpg", '0', string(negative))), Want: []shardtest.Want{{Reject: schemas.UnreadableSource, Detail: "impossible"}}},
		{Name: "size of letters", Objects: tarball(rawHeader("b.jpg", '0', "hello")), Want: []shardtest.Want{{Reject: schemas.UnreadableSource, Detail: "impossible"}}},
		{Name: "pax bomb", Objects: tarball(cat(bomb, end)), Want: []shardtest.Want{{Reject: schemas.UnreadableSource, Detail: "extension header"}}},
		{Name: "pax header of a gigabyte", Objects: tarball(rawHeader("x", 'x', "10000000000\x00")), Want: []shardtest.Want{{Reject: schemas.UnreadableSource, Detail: "extension header of 1073741824"}}},
		{Name: "pax header broken", Objects: tarball(cat(rawHeader("x", 'x', "00000000010\x00"), padded([]byte("99 a=b\n\n")), end)), Want: []shardtest.Want{{Reject: schemas.UnreadableSource, Detail: "malformed pax"}}},
		{Name: "pax size negative", Objects: tarball(cat(rawHeader("x", 'x', "00000000013\x00"), padded([]byte("11 size=-5\n")), rawHeader("b.jpg", '0', "0"), end)), Want: []shardtest.Want{{Reject: schemas.UnreadableSource, Detail: "impossible"}}},
	})
}

// TestWebDatasetMemory reads a member that claims a gigabyte and one that has 300 MiB (of zeros, in a store that holds
// none of them): neither is held.
func TestWebDatasetMemory(t *testing.T) {
	claim := shardtest.Gzip(cat(rawHeader("b.jpg", '0', "10000000000\x00"), jpg1))
	long := shardtest.Gzip(cat(rawHeader("c.jpg", '0', "02260000000\x00"), make([]byte, 300<<20), rawHeader("d.jpg", '0', fmt.Sprintf("%011o", len(jpg1))), padded(jpg1)))
	for _, p := range [][]byte{claim, long} {
		b := shardtest.Store(t, map[string][]byte{"a.tar": p})
		o := &shards.Options{Root: b}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		rows := shardtest.Read(t, format(t, "webdataset"), o, shardtest.Source(t, b, "a.tar"), math.MaxInt64)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 32<<20 {
			t.Errorf("%d MiB allocated for %d rows", n>>20, len(rows))
		}
		if rows[0].Reject == nil {
			t.Error("row 0 is no reject")
		}
	}
}

// FuzzWebDataset reads anything as an archive, whole and split: same rows, no panic. Where archive/tar can read all of
// it, every regular member it sees must have been seen here too.
func FuzzWebDataset(f *testing.F) {
	f.Add(shardtest.Tar(shardtest.Captioned("000", []byte("image"), "one"), shardtest.Captioned("d/001", []byte("image"), "two")))
	f.Add(shardtest.Gzip(shardtest.Tar(shardtest.Captioned("000", []byte("image"), "one"))))
	f.Add(cat(rawHeader("x", 'x', "00000000013\x00"), padded([]byte("12 path=a.b\n")), rawHeader("b.jpg", '0', "0"), make([]byte, 1024)))
	f.Add(cat(rawHeader("x", 'L', "00000000013\x00"), padded([]byte("long/name.jpg")), rawHeader("b.jpg", 'S', "0"), make([]byte, 1024)))
	f.Fuzz(func(t *testing.T, p []byte) {
		fuzzRead(t, "webdataset", "a.tar", p)
	})
}

// fuzzRead reads p whole and in small ranges and compares.
func fuzzRead(t *testing.T, name, file string, p []byte) []shards.Pair {
	b := shardtest.Store(t, map[string][]byte{file: p})
	o := &shards.Options{Root: b, MaxImageBytes: 1 << 20}
	s := shardtest.Source(t, b, file)
	f := format(t, name)
	rows := shardtest.Read(t, f, o, s, math.MaxInt64)
	shardtest.Same(t, "split at 1", shardtest.Read(t, f, o, s, 1), rows)
	shardtest.Same(t, "split at 600", shardtest.Read(t, f, o, s, 600), rows)
	return rows
}

// TestWebDatasetAgainstArchiveTar compares the members that give samples with what the standard library sees.
func TestWebDatasetAgainstArchiveTar(t *testing.T) {
	for _, form := range []tar.Format{tar.FormatUSTAR, tar.FormatPAX, tar.FormatGNU} {
		var members []member
		for i := range 50 {
			m := file(fmt.Sprintf("%s/%05d.jpg", strings.Repeat("folder/", i%12), i), bytes.Repeat([]byte{byte(i + 1)}, i*37+1))
			m.Format = form
			members = append(members, m)
		}
		p := tarOf(t, members...)
		b := shardtest.Store(t, map[string][]byte{"a.tar": p})
		rows := shardtest.Read(t, format(t, "webdataset"), &shards.Options{Root: b}, shardtest.Source(t, b, "a.tar"), 2000)
		r := tar.NewReader(bytes.NewReader(p))
		for i := 0; ; i++ {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				if i != len(rows) {
					t.Errorf("%v: %d rows, want %d", form, len(rows), i)
				}
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			data, _ := io.ReadAll(r)
			if key := strings.TrimSuffix(h.Name, ".jpg"); strings.TrimLeft(rows[i].Key, "/") != strings.TrimLeft(key, "/") || rows[i].Reject == nil && !bytes.Equal(rows[i].Image, data) {
				t.Errorf("%v: row %d: key %q, want %q", form, i, rows[i].Key, key)
			}
		}
	}
}

func benchmarkTar(b *testing.B, run func(f shards.Format, o *shards.Options, s shards.Source)) {
	var samples []shardtest.Sample
	image := bytes.Repeat([]byte("0123456789"), 5000)
	for i := range 500 {
		samples = append(samples, shardtest.Captioned(fmt.Sprintf("%09d", i), image, "a caption"))
	}
	store := shardtest.Store(b, map[string][]byte{"a.tar": shardtest.Tar(samples...)})
	s := shardtest.Source(b, store, "a.tar")
	b.SetBytes(s.Size)
	b.ReportAllocs()
	for b.Loop() {
		run(format(b, "webdataset"), &shards.Options{Root: store}, s)
	}
}

func BenchmarkWebDatasetRead(b *testing.B) {
	benchmarkTar(b, func(f shards.Format, o *shards.Options, s shards.Source) {
		for _, err := range f.Read(b.Context(), o, shards.Range{Source: s, End: s.Size}) {
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkWebDatasetSplit(b *testing.B) {
	benchmarkTar(b, func(f shards.Format, o *shards.Options, s shards.Source) {
		if _, err := f.Split(b.Context(), o, s, 1<<20); err != nil {
			b.Fatal(err)
		}
	})
}
