package lint

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	_ "sower/internal/blob/all"
	"sower/internal/shards"
	"sower/internal/shards/shardtest"
)

// folder writes files below a new folder.
func folder(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func look(t *testing.T, o Options, patterns ...string) *Report {
	t.Helper()
	in, err := shards.Resolve(context.Background(), patterns, "")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Root.Close()
	r, err := Input(context.Background(), in, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func picture(i int) []byte { return shardtest.JPEG(30+i%9, 24, uint32(i)) }

func good(shard, n int) (samples []shardtest.Sample) {
	for i := range n {
		samples = append(samples, shardtest.Captioned(fmt.Sprintf("%05d%04d", shard, i), picture(100*shard+i), fmt.Sprint("picture ", i)))
	}
	return samples
}

func file(ext string, data []byte) shardtest.File { return shardtest.File{Ext: ext, Data: data} }

// TestPlantedDefects plants each defect into a good input and expects it to be named, with shard, row and byte, and nothing else.
func TestPlantedDefects(t *testing.T) {
	at := func(samples []shardtest.Sample) int64 { return int64(len(shardtest.Tar(samples...))) - 1024 }
	truncatedImage := picture(3)[:len(picture(3))-40]
	for _, c := range []struct {
		name   string
		damage func(s []shardtest.Sample) []byte // of shard 2
		want   Problem                           // Detail is a part of it
	}{
		{"archive cut off", func(s []shardtest.Sample) []byte { p := shardtest.Tar(s...); return p[:len(p)/2-100] }, Problem{"unreadable_source", Error, "00002.tar", -2, -2, "cut off"}},
		{"header damaged", func(s []shardtest.Sample) []byte {
			p := shardtest.Tar(s...)
			copy(p[at(s[:5]):], "xxxxxxxxxx")
			return p
		}, Problem{"unreadable_source", Error, "00002.tar", 4, at(good(2, 5)), "no tar header"}},
		{"no archive", func([]shardtest.Sample) []byte { return bytes.Repeat([]byte("<html>"), 900) }, Problem{"unreadable_source", Error, "00002.tar", 0, 0, "not a tar archive"}},
		{"key again", func(s []shardtest.Sample) []byte {
			return shardtest.Tar(append(s, shardtest.Captioned(s[1].Key, picture(77), "x"))...)
		}, Problem{DuplicateKey, Warning, "00002.tar", 8, at(good(2, 8)), fmt.Sprintf("row 1 at byte %d", at(good(2, 1)))}},
		{"caption elsewhere", func(s []shardtest.Sample) []byte {
			s[1].Files = s[1].Files[:1]
			return shardtest.Tar(append(s, shardtest.Sample{Key: s[1].Key, Files: []shardtest.File{file("txt", []byte("x"))}})...)
		}, Problem{KeyNotAdjacent, Error, "00002.tar", 8, -2, "no image here and no caption in row 1"}},
		{"image elsewhere", func(s []shardtest.Sample) []byte {
			first := shardtest.Sample{Key: s[7].Key, Files: []shardtest.File{file("txt", []byte("x"))}}
			s[7].Files = s[7].Files[:1]
			return shardtest.Tar(slices.Insert(s, 0, first)...)
		}, Problem{KeyNotAdjacent, Error, "00002.tar", 8, -2, "no caption here and no image in row 0 at byte 0"}},
		{"no caption", func(s []shardtest.Sample) []byte { s[4].Files = s[4].Files[:1]; return shardtest.Tar(s...) },
			Problem{NoCaption, Warning, "00002.tar", 4, at(good(2, 4)), "no caption"}},
		{"blank caption", func(s []shardtest.Sample) []byte { s[4].Files[1].Data = []byte(" \n"); return shardtest.Tar(s...) },
			Problem{NoCaption, Warning, "00002.tar", 4, at(good(2, 4)), "no caption"}},
		{"no image", func(s []shardtest.Sample) []byte { s[4].Files = s[4].Files[1:]; return shardtest.Tar(s...) },
			Problem{"no_image", Error, "00002.tar", 4, at(good(2, 4)), "no image"}},
		{"caption not UTF-8", func(s []shardtest.Sample) []byte { s[4].Files[1].Data = []byte("\xff\xfe"); return shardtest.Tar(s...) },
			Problem{"text_not_utf8", Error, "00002.tar", 4, at(good(2, 4)), ""}},
		{"a page for a picture", func(s []shardtest.Sample) []byte {
			s[4].Files[0].Data = []byte("<html>404")
			return shardtest.Tar(s...)
		},
			Problem{"unsupported_format", Error, "00002.tar", 4, at(good(2, 4)), "unsupported"}},
		{"picture cut off", func(s []shardtest.Sample) []byte { s[4].Files[0].Data = truncatedImage; return shardtest.Tar(s...) },
			Problem{NoEnd, Warning, "00002.tar", 4, at(good(2, 4)), "end marker"}},
		{"a strip", func(s []shardtest.Sample) []byte {
			s[4].Files[0].Data = shardtest.JPEG(300, 20, 1)
			return shardtest.Tar(s...)
		},
			Problem{UnlikelyImage, Warning, "00002.tar", 4, at(good(2, 4)), "300 x 20"}},
		{"a stand-in", func(s []shardtest.Sample) []byte {
			s[1].Files[0].Data, s[4].Files[0].Data = s[6].Files[0].Data, s[6].Files[0].Data
			return shardtest.Tar(s...)
		}, Problem{SameImage, Warning, "00002.tar", 1, at(good(2, 1)), "3 of 40 images"}},
		{"archive cut off between two samples", func(s []shardtest.Sample) []byte { p := shardtest.Tar(s...); return p[:len(p)-1024] },
			Problem{NoEnd, Warning, "00002.tar", -1, at(good(2, 8)), "archive has no end marker"}},
		{"empty archive", func([]shardtest.Sample) []byte { return make([]byte, 10240) }, Problem{NoRows, Warning, "00002.tar", -1, -1, "no sample"}},
		{"keys of another shard", func([]shardtest.Sample) []byte {
			s := good(2, 8)
			for i := range s {
				s[i].Key = fmt.Sprintf("%05d%04d", 1, i)
			}
			return shardtest.Tar(s...)
		}, Problem{DuplicateKey, Warning, "00002.tar", 0, 0, `8 of 8 keys are those of other shards as well, first "000010000", which is in 00001.tar`}},
	} {
		files := map[string][]byte{}
		for i := range 5 {
			files[fmt.Sprintf("%05d.tar", i)] = shardtest.Tar(good(i, 8)...)
		}
		files["00002.tar"] = c.damage(good(2, 8))
		r := look(t, Options{Images: -1, Parallelism: 3}, folder(t, files))
		if half := (map[string]Kind{"caption elsewhere": NoCaption, "image elsewhere": "no_image"})[c.name]; half != "" && r.Counts[half] == 1 {
			// The half that comes first is named as well, when it comes: what follows is not known yet.
			r.Problems = slices.DeleteFunc(r.Problems, func(p Problem) bool { return p.Kind == half })
			r.Warnings -= map[Kind]int64{NoCaption: 1}[half]
			r.Errors -= map[Kind]int64{"no_image": 1}[half]
		}
		if len(r.Problems) != 1 {
			t.Errorf("%s: %v", c.name, r.Problems)
			continue
		}
		p, w := r.Problems[0], c.want
		if p.Kind != w.Kind || p.Severity != w.Severity || p.Source != w.Source || w.Row != -2 && p.Row != w.Row || w.Offset != -2 && p.Offset != w.Offset || !strings.Contains(p.Detail, w.Detail) || w.Offset == -2 && p.Offset < 0 {
			t.Errorf("%s:\n     %+v\nwant %+v", c.name, p, w)
		}
		if errs := r.Errors > 0; errs != (w.Severity == Error) || r.Counts[w.Kind] != 1 || r.Errors+r.Warnings != 1 {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

func TestGoodInput(t *testing.T) {
	files := map[string][]byte{}
	for i := range 6 {
		files[fmt.Sprintf("part-%05d-of-00006.tar", i)] = shardtest.Tar(good(i, 10)...)
	}
	dir := folder(t, files)
	r := look(t, Options{Images: 20}, dir)
	if len(r.Problems) != 0 || r.Sources != 6 || r.Rows != 60 || r.Captions != 60 || r.Images != 20 || r.KeysCompared != 60 {
		t.Errorf("%+v", r)
	}
	for _, n := range []int{0, 1, 7, -1} {
		want := int64(n)
		if n < 0 {
			want = 60
		}
		if r := look(t, Options{Images: n}, dir); r.Images != want {
			t.Errorf("--images %d: %d were looked at", n, r.Images)
		}
	}
}

// TestReportDoesNotDependOnParallelism runs a large mixed input with one and many shards at a time.
func TestReportDoesNotDependOnParallelism(t *testing.T) {
	files := map[string][]byte{}
	for i := range 40 {
		s := good(i%37, 12) // the last three repeat keys of the first
		if i%5 == 0 {
			s[i%12].Files = s[i%12].Files[:1]
		}
		p := shardtest.Tar(s...)
		if i%7 == 0 {
			p = p[:len(p)-3000-512*i]
		}
		files[fmt.Sprintf("%05d.tar", i+i/20)] = p
	}
	dir := folder(t, files)
	one, many := look(t, Options{Images: 50, Parallelism: 1, Show: 3}, dir), look(t, Options{Images: 50, Parallelism: 16, Show: 3}, dir)
	if !reflect.DeepEqual(one, many) {
		t.Errorf("%+v\n%+v", one, many)
	}
	for _, k := range []Kind{NoCaption, "unreadable_source", Gap, DuplicateKey} {
		n := int64(0)
		for _, p := range one.Problems {
			if p.Kind == k {
				n++
			}
		}
		if one.Counts[k] == 0 || n != min(3, one.Counts[k]) {
			t.Errorf("%s: %d counted, %d listed", k, one.Counts[k], n)
		}
	}
}

func TestNumbering(t *testing.T) {
	of := func(size int64, names ...string) (out []shards.InputSource) {
		for _, n := range names {
			out = append(out, shards.InputSource{Source: shards.Source{Name: n, Size: size}, Format: "webdataset"})
		}
		return out
	}
	span := func(pattern string, from, to int) (names []string) {
		for i := from; i <= to; i++ {
			names = append(names, fmt.Sprintf(pattern, i))
		}
		return names
	}
	without := func(names []string, gone ...string) []string {
		return slices.DeleteFunc(names, func(n string) bool { return slices.Contains(gone, n) })
	}
	for _, c := range []struct {
		name    string
		sources []shards.InputSource
		want    []string
	}{
		{"whole", of(1000, span("%05d.tar", 0, 20)...), nil},
		{"from one", of(1000, span("%05d.tar", 1, 20)...), nil},
		{"gap", of(1000, without(span("a/%05d.tar", 0, 20), "a/00007.tar", "a/00011.tar", "a/00012.tar", "a/00013.tar")...), []string{"a/#.tar: 4 of 21 numbers are missing: 00007, 00011…00013"}},
		{"end, by the total", of(1000, span("train-%05d-of-00064.parquet", 0, 59)...), []string{"train-#-of-00064.parquet: 4 of 64 numbers are missing: 00060…00063"}},
		{"total, from one", of(1000, span("x-%05d-of-00008.tar", 1, 8)...), nil},
		{"one of a total", of(1000, "x-00002-of-00004.tar"), []string{"x-#-of-00004.tar: 3 of 4 numbers are missing: 00000…00001, 00003"}},
		{"two numberings", append(of(1000, span("2023/a-%03d.tar", 0, 9)...), of(1000, without(span("2024/a-%03d.tar", 0, 9), "2024/a-005.tar")...)...), []string{"2024/a-#.tar: 1 of 10 numbers are missing: 005"}},
		{"no numbering", of(1000, "17.tar", "4711.tar", "100042.tar", "dog.tar"), nil},
		{"small one", append(of(1000, span("%05d.tar", 0, 9)...), append(of(50, "00010.tar"), of(1000, "00011.tar")...)...), []string{"00010.tar: 50 bytes, the median of #.tar is 1000"}},
		{"small last one", append(of(1000, span("%05d.tar", 0, 9)...), of(50, "00010.tar")...), nil},
		{"large one", append(of(1000, span("%05d.tar", 0, 9)...), of(50_000, "00010.tar")...), []string{"00010.tar: 50000 bytes, the median of #.tar is 1000"}},
	} {
		f := &finding{show: 10}
		f.names(c.sources)
		var got []string
		for _, p := range f.report.Problems {
			got = append(got, p.Source+": "+p.Detail)
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestTables looks at formats without an archive's headers: rows are named by number, and by byte where they have one.
func TestTables(t *testing.T) {
	lines := "{\"id\":\"a\",\"image\":\"a.jpg\",\"caption\":\"x\"}\n{\"id\":\"b\",\"image\":\"gone.jpg\",\"caption\":\"x\"}\nnot JSON\n{\"id\":\"c\",\"caption\":\"x\"}\n{\"id\":\"a\",\"image\":\"a.jpg\"}\n"
	dir := folder(t, map[string][]byte{"rows.jsonl": []byte(lines), "a.jpg": picture(1), "t.csv": []byte("file_name,caption\na.jpg,x\nb.jpg\n"), "u.csv": []byte("link,caption\nhttp://x,y\n"),
		"p.parquet": shardtest.Parquet(2, shardtest.HuggingFace(picture(1), "a", "x", 1), shardtest.HuggingFace([]byte("<html>"), "b", "", 1), shardtest.HuggingFace(picture(2), "c", "y", 1))})
	for _, c := range []struct {
		file string
		want []string
	}{
		{"rows.jsonl", []string{"no_image row 1 byte 41", "unreadable_source row 2 byte 85", "no_image row 3 byte 94", "duplicate_key row 4 byte 119"}},
		{"t.csv", []string{"unreadable_source row 1 byte 26"}},
		{"u.csv", []string{"missing_column row 0 byte 13"}},
		{"p.parquet", []string{"unsupported_format row 1 byte -1", "no_caption row 1 byte -1"}},
	} {
		r := look(t, Options{Images: -1}, filepath.Join(dir, c.file))
		var got []string
		for _, p := range r.Problems {
			got = append(got, fmt.Sprintf("%s row %d byte %d", p.Kind, p.Row, p.Offset))
		}
		slices.Sort(got)
		slices.Sort(c.want)
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q\nwant %q", c.file, got, c.want)
		}
	}
	// Images outside of a table are not opened where none are wanted.
	r := look(t, Options{Images: 0}, filepath.Join(dir, "rows.jsonl"))
	if r.Counts["no_image"] != 1 || r.Images != 0 {
		t.Errorf("%+v", r)
	}
}

// TestOtherInputs looks at compressed archives, documents and folders, and at a store that fails.
func TestOtherInputs(t *testing.T) {
	talk := `{"id":"a","image":"a.jpg","conversations":[{"from":"human","value":"<image>"},{"from":"gpt","value":"x"}]}
{"id":"b","image":["a.jpg","gone.jpg"],"conversations":[{"from":"human","value":"<image><image>"},{"from":"gpt","value":"x"}]}
{"id":"c","image":"a.jpg","conversations":[{"from":"human","value":"no marker"},{"from":"gpt","value":"x"}]}
`
	zipped := shardtest.Gzip(shardtest.Tar(good(0, 8)...))
	dir := folder(t, map[string][]byte{"a.jpg": picture(1), "talk.jsonl": []byte(talk), "whole.tar.gz": zipped, "cut.tar.gz": zipped[:len(zipped)*2/3],
		"photos/a.jpg": picture(1), "photos/a.txt": []byte("x"), "photos/b.jpg": picture(2), "photos/c.png": []byte("<html>")})
	for _, c := range []struct {
		file            string
		rows, documents int64
		want            map[Kind]int64
	}{
		{"talk.jsonl", 0, 3, map[Kind]int64{"no_image": 1, "unreadable_source": 1}},
		{"whole.tar.gz", 8, 0, map[Kind]int64{}},
		{"cut.tar.gz", 0, 0, map[Kind]int64{"unreadable_source": 1}},
		{"photos", 3, 0, map[Kind]int64{NoCaption: 2, "unsupported_format": 1}},
	} {
		r := look(t, Options{Images: -1}, filepath.Join(dir, c.file))
		if !reflect.DeepEqual(r.Counts, c.want) || c.rows > 0 && r.Rows != c.rows || r.Documents != c.documents {
			t.Errorf("%s: %d rows, %d documents, %v, want %v\n%v", c.file, r.Rows, r.Documents, r.Counts, c.want, r.Problems)
		}
	}
	in, err := shards.Resolve(context.Background(), []string{filepath.Join(dir, "whole.tar.gz")}, "")
	if err != nil {
		t.Fatal(err)
	}
	in.Root = shardtest.Flaky(in.Root, 3)
	r, err := Input(context.Background(), in, Options{})
	if err != nil || r.Counts[Storage] != 1 || r.Errors != 1 {
		t.Errorf("a store that fails: %+v, %v", r, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Input(ctx, in, Options{}); err == nil {
		t.Error("an interrupted look has a report")
	}
}

func FuzzUnended(f *testing.F) {
	f.Add("jpeg", picture(1))
	f.Add("webp", []byte("RIFF\xff\xff\xff\xffWEBP"))
	f.Add("bmp", []byte("BM"))
	f.Fuzz(func(t *testing.T, format string, p []byte) {
		if s := unended(format, p); s != "" && !slices.Contains([]string{"jpeg", "png", "gif", "webp", "bmp"}, format) {
			t.Errorf("%q: %s", format, s)
		}
	})
}
