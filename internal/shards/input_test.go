package shards_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sower/internal/shards"
	"sower/internal/shards/shardtest"
)

// tree writes files below a new folder, which becomes the working folder.
func tree(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, n := range names {
		path := filepath.Join(dir, n)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	return dir
}

func TestResolve(t *testing.T) {
	img2dataset := []string{"d/00000.tar", "d/00000.parquet", "d/00000_stats.json", "d/00001.tar", "d/00001.parquet", "d/.hidden.tar"}
	for _, c := range []struct {
		name     string
		tree     []string
		patterns string
		format   string
		root     string
		want     string // "name:format name:format"
		notes    []string
		err      string
	}{
		{name: "folder of img2dataset", tree: img2dataset, patterns: "d", root: "d", want: "00000.tar:webdataset 00001.tar:webdataset",
			notes: []string{"1 hidden", "2 Parquet files not read", "1 .json files not read"}},
		{name: "glob", tree: img2dataset, patterns: "d/*.tar", root: "d", want: "00000.tar:webdataset 00001.tar:webdataset", notes: []string{"1 hidden"}},
		{name: "glob of parquets beside tars", tree: img2dataset, patterns: "d/*.parquet", root: "d", want: "00000.parquet:parquet 00001.parquet:parquet"},
		{name: "format over guess", tree: img2dataset, patterns: "d", format: "parquet", root: "d", want: "00000.parquet:parquet 00001.parquet:parquet",
			notes: []string{"hidden", "2 webdataset files not read, as --format says", ".json"}},
		{name: "braces", tree: img2dataset, patterns: "d/{00000..00001}.tar", root: "d", want: "00000.tar:webdataset 00001.tar:webdataset"},
		{name: "braces with holes", tree: img2dataset, patterns: "d/{00000..00012}.tar", err: "11 files are not there: d/00002.tar, d/00003.tar"},
		{name: "many missing", tree: img2dataset, patterns: "d/{00000..00020}.tar", err: "and 9 more"},
		{name: "named twice, unsorted", tree: []string{"b/2.tar", "a/1.tar"}, patterns: "b/2.tar a/*.tar ./b/2.tar", root: "", want: "a/1.tar:webdataset b/2.tar:webdataset"},
		{name: "one file", tree: []string{"a/b/1.tgz"}, patterns: "a/b/1.tgz", root: "a/b", want: "1.tgz:webdataset"},
		{name: "deep", tree: []string{"a/1.tar", "a/b/2.tar", "a/b/c/3.tar", "x/4.tar"}, patterns: "a/**/*.tar", root: "a", want: "1.tar:webdataset b/2.tar:webdataset b/c/3.tar:webdataset"},
		{name: "wildcard folder", tree: []string{"r1/x.tar", "r2/x.tar", "r2/y/x.tar", "q/x.tar"}, patterns: "r?/*.tar", root: "", want: "r1/x.tar:webdataset r2/x.tar:webdataset"},
		{name: "formats named apart", tree: []string{"a.tar", "b.parquet", "c.jsonl.gz", "d.tsv"}, patterns: "a.tar b.parquet c.jsonl.gz d.tsv", want: "a.tar:webdataset b.parquet:parquet c.jsonl.gz:jsonl d.tsv:tsv"},
		{name: "formats mixed in a folder", tree: []string{"d/a.tar", "d/b.parquet", "d/c.jpg"}, patterns: "d", err: "1 folder ("},
		{name: "images", tree: []string{"d/a.jpg", "d/s/b.PNG", "d/a.txt", "d/metadata.csv", "d/x.json", "d/Thumbs.db"}, patterns: "d", root: "d", want: "a.jpg:folder s/b.PNG:folder",
			notes: []string{"1 metadata files joined", "1 .db files not read", "1 .json files joined", "1 .txt files joined"}},
		{name: "images by glob", tree: []string{"d/a.jpg", "d/b.png"}, patterns: "d/*.jpg", root: "d", want: "a.jpg:folder"},
		{name: "img2dataset as files", tree: []string{"d/00000/000000000.jpg", "d/00000/000000000.json", "d/00000.parquet", "d/00000_stats.json"}, patterns: "d", root: "d", want: "00000/000000000.jpg:folder",
			notes: []string{"1 Parquet files not read", ".json"}},
		{name: "nothing to read", tree: []string{"d/a.pdf"}, patterns: "d", err: "none of a format"},
		{name: "no match", tree: []string{"d/a.tar"}, patterns: "*.tar", err: "*.tar: matches no file"},
		{name: "no such folder", tree: []string{"d/a.tar"}, patterns: "e d", err: "1 file is not there: e"},
		{name: "unknown content", tree: []string{"d/a.bin"}, patterns: "d/a.bin", err: "--format"},
		{name: "format of unknown names", tree: []string{"d/a.bin", "d/b.bin"}, patterns: "d/*", format: "webdataset", root: "d", want: "a.bin:webdataset b.bin:webdataset"},
		{name: "unknown format", tree: []string{"a.tar"}, patterns: "a.tar", format: "zip", err: `no format "zip" (have: csv, edit, folder, jsonl, llava, mint1t, mmc4, obelics, parquet, tsv, webdataset)`},
		{name: "brackets in a name", tree: []string{"a [1].tar"}, patterns: "a\u00a0[1].tar", want: "a [1].tar:webdataset"},
		{name: "class", tree: []string{"a1.tar", "a2.tar", "a3.tar"}, patterns: "a[12].tar", want: "a1.tar:webdataset a2.tar:webdataset"},
		{name: "braces in names", tree: []string{"{x}1.tar", "{x}2.tar"}, patterns: "{x}*.tar", want: "{x}1.tar:webdataset {x}2.tar:webdataset"},
		{name: "malformed", tree: []string{"a.tar"}, patterns: "[a.tar", err: "malformed"},
		{name: "hidden asked for", tree: []string{"d/.a.tar"}, patterns: "d/.*.tar", root: "d", want: ".a.tar:webdataset"},
		{name: "order of bytes", tree: []string{"d/a/1.tar", "d/a.b/1.tar", "d/a-b/1.tar", "d/a.tar"}, patterns: "d", root: "d", want: "a-b/1.tar:webdataset a.b/1.tar:webdataset a.tar:webdataset a/1.tar:webdataset"},
		{name: "two stores", tree: []string{"a.tar"}, patterns: "a.tar mem://x/b.tar", err: "two stores"},
		{name: "other store", tree: []string{"a.tar"}, patterns: "ftp://x/*.tar", err: "have: file"},
		{name: "too many names", patterns: "{0..99999999}.tar", err: "more than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := tree(t, c.tree...)
			var patterns []string
			for _, p := range strings.Split(c.patterns, " ") {
				patterns = append(patterns, strings.ReplaceAll(p, "\u00a0", " "))
			}
			in, err := shards.Resolve(t.Context(), patterns, c.format)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, want an error with %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range in.Sources {
				got = append(got, s.Name+":"+s.Format)
				if s.Size != 1 || s.Tag == "" {
					t.Errorf("%s: size %d, tag %q", s.Name, s.Size, s.Tag)
				}
				if _, err := in.Root.Stat(t.Context(), s.Name); err != nil {
					t.Errorf("below the root: %v", err)
				}
			}
			if g := strings.Join(got, " "); g != c.want {
				t.Errorf("got  %s\nwant %s", g, c.want)
			}
			if want, _ := filepath.EvalSymlinks(filepath.Join(dir, c.root)); in.Root.URL() != want && in.Root.URL() != filepath.Join(dir, c.root) {
				t.Errorf("root: got %s, want %s", in.Root.URL(), want)
			}
			if len(in.Notes) != len(c.notes) {
				t.Errorf("notes: got %q, want %q", in.Notes, c.notes)
			} else {
				for i := range c.notes {
					if !strings.Contains(in.Notes[i], c.notes[i]) {
						t.Errorf("note %d: got %q, want %q in it", i, in.Notes[i], c.notes[i])
					}
				}
			}
		})
	}
}

// TestResolveByContent names files whose names say nothing.
func TestResolveByContent(t *testing.T) {
	b := openMem(t, "mem://by-content")
	for name, p := range map[string][]byte{
		"webdataset": shardtest.Tar(shardtest.Captioned("a", jpg1, "x")), "parquet": shardtest.Parquet(0, shardtest.HuggingFace(jpg1, "a", "b", 1)),
		"jsonl": []byte(" {\"a\":1}\n"), "folder": jpg1,
	} {
		if err := b.WriteAll(t.Context(), "d/"+name, p); err != nil {
			t.Fatal(err)
		}
		in, err := shards.Resolve(t.Context(), []string{"mem://by-content/d/" + name}, "")
		if err != nil || len(in.Sources) != 1 || in.Sources[0].Format != name || in.Root.URL() != "mem://by-content/d" {
			t.Errorf("%s: got %+v, %v", name, in, err)
		}
	}
	if _, err := shards.Resolve(t.Context(), nil, ""); err == nil {
		t.Error("no patterns: got no error")
	}
}

// TestRanges reads mixed sources as a plan would and checks the rows of each.
func TestRanges(t *testing.T) {
	b := openMem(t, "mem://ranges")
	var samples []shardtest.Sample
	for i := range 20 {
		samples = append(samples, shardtest.Captioned(fmt.Sprintf("%05d", i), shardtest.JPEG(8, 8, uint32(i)), "x"))
	}
	for name, p := range map[string][]byte{"a.tar": shardtest.Tar(samples...), "b.tar": shardtest.Tar(samples[:3]...),
		"c.parquet": shardtest.Parquet(1, shardtest.HuggingFace(jpg1, "a", "b", 1), shardtest.HuggingFace(jpg2, "b", "c", 2))} {
		if err := b.WriteAll(t.Context(), name, p); err != nil {
			t.Fatal(err)
		}
	}
	in, err := shards.Resolve(t.Context(), []string{"mem://ranges/*.tar", "mem://ranges/c.parquet"}, "")
	if err != nil {
		t.Fatal(err)
	}
	o := &shards.Options{}
	var ranges []shards.Range
	var total int64
	for r, err := range in.Ranges(t.Context(), o, 5000) {
		if err != nil {
			t.Fatal(err)
		}
		ranges, total = append(ranges, r), total+r.Bytes
	}
	if total != in.Bytes() || len(ranges) < 5 || !slices.IsSortedFunc(ranges, func(x, y shards.Range) int { return strings.Compare(x.Source.Name, y.Source.Name) }) {
		t.Errorf("%d ranges for %d bytes, want at least 5 for %d, sorted", len(ranges), total, in.Bytes())
	}
	rows := map[string]int{}
	for _, r := range ranges {
		for p, err := range shards.Read(t.Context(), &shards.Options{Root: in.Root}, r) {
			if err != nil || p.Reject != nil {
				t.Errorf("%s row %d: %v, %v", p.Source, p.Row, err, p.Reject)
			}
			rows[p.Source]++
		}
	}
	if rows["a.tar"] != 20 || rows["b.tar"] != 3 || rows["c.parquet"] != 2 {
		t.Errorf("rows: got %v", rows)
	}
	for range in.Ranges(t.Context(), o, 1) {
		break
	}
}
