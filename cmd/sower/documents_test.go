package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/image/tiff"

	"sower/internal/blob"
	"sower/internal/corpus"
	"sower/internal/shards"
	"sower/internal/shards/shardtest"
	"sower/schemas"
)

// readDocuments reads the document table of a corpus part by part and holds it to the code table of the same part: every
// image that a document names is there, side by side with its others and in the same order.
func readDocuments(t testing.TB, dir string) (docs []schemas.DocumentRow) {
	t.Helper()
	ctx := context.Background()
	b, err := blob.OpenBucket(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	parts, err := corpus.Parts(ctx, b, "documents")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		images := map[string][]schemas.CodeRow{} // by source and row
		last := ""
		err := corpus.Read(ctx, b, strings.Replace(p.Name, "documents/", "data/", 1), func(r schemas.CodeRow) error {
			id := fmt.Sprint(r.Source, " row ", r.Row)
			if n := len(images[id]); n > 0 && (id != last || images[id][n-1].Position >= r.Position) || r.Document == nil || r.Text != nil || len(r.Codes) == 0 {
				t.Errorf("%s: %s: image %d is out of place: %+v", p.Name, id, r.Position, r)
			}
			images[id], last = append(images[id], r), id
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		row := int64(-1)
		err = corpus.Read(ctx, b, p.Name, func(d schemas.DocumentRow) error {
			docs = append(docs, d)
			id := fmt.Sprint(d.Source, " row ", d.Row)
			if d.Row <= row {
				t.Errorf("%s: %s after row %d", p.Name, id, row)
			}
			row = d.Row
			have := map[int32]bool{}
			for _, r := range images[id] {
				have[r.Position] = *r.Document == d.Document
			}
			for _, e := range d.Elements {
				if e.Image != nil {
					if !have[*e.Image] {
						t.Errorf("%s: %s: image %d is not in the code table", p.Name, id, *e.Image)
					}
					delete(have, *e.Image)
				}
			}
			if len(have) > 0 {
				t.Errorf("%s: %s does not name images %v", p.Name, id, have)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return docs
}

// documentInputs writes files of the five formats in which some images and some documents are broken.
func documentInputs(t testing.TB) map[string]string {
	dir := t.TempDir()
	good := func(n int) []byte { return shardtest.JPEG(20+n%13, 16+n%7, uint32(n)) }
	html := []byte("<html>not found</html>")
	const documents = 40
	image := func(doc, n int) []byte {
		if (doc*3+n)%11 == 5 {
			return html
		}
		return good(doc*3 + n)
	}
	type list struct {
		Images [][]byte  `parquet:"images,list"`
		Texts  []*string `parquet:"texts,list"`
	}
	type triple struct {
		ID     string `parquet:"id"`
		Source []byte `parquet:"source_image"`
		Text   string `parquet:"instruction"`
		Target []byte `parquet:"target_image"`
	}
	var mmc4, llava strings.Builder
	var lists []list
	var triples []triple
	var mint []shardtest.Sample
	text := "text"
	llava.WriteString("[")
	for d := range documents {
		for n := range 3 {
			writeFile(t, dir, fmt.Sprintf("mmc4/s_images/%d_%d.jpg", d, n), image(d, n))
			if d%5 != 4 || n != 1 { // a file that is missing
				writeFile(t, dir, fmt.Sprintf("llava/images/%d_%d.jpg", d, n), image(d, n))
			}
		}
		fmt.Fprintf(&mmc4, `{"text_list":["a %[1]d","b"],"image_info":[{"image_name":"%[1]d_0.jpg","matched_text_index":1},{"image_name":"%[1]d_1.jpg","matched_text_index":0},{"image_name":"%[1]d_2.jpg","matched_text_index":%[2]d}]}`+"\n", d, d%7/6*5)
		fmt.Fprintf(&llava, `%s{"id":"l%d","image":["images/%[2]d_0.jpg","images/%[2]d_1.jpg"],"conversations":[{"from":"human","value":"<image>\nand <image>%[3]s"},{"from":"gpt","value":"yes"}]}`,
			map[bool]string{true: ",\n"}[d > 0], d, map[bool]string{true: "<image>"}[d%9 == 8])
		l := list{[][]byte{image(d, 0), nil, image(d, 1)}, []*string{nil, &text, nil}}
		if d%8 == 7 {
			l.Images = l.Images[:2]
		}
		lists = append(lists, l)
		triples = append(triples, triple{fmt.Sprint("e", d), image(d, 0), "make it", image(d, 1)})
		names := `{"texts":[null,"x",null],"images":["p","","q"]}`
		if d%8 == 7 {
			names = `{"texts":["x"],"images":["p"]}`
		}
		key := fmt.Sprintf("m%03d", d)
		mint = append(mint, shardtest.Sample{Key: key, Files: []shardtest.File{{Ext: "json", Data: []byte(names)}, {Ext: "p.jpg", Data: image(d, 0)}, {Ext: "q.jpg", Data: image(d, 1)}}})
	}
	llava.WriteString("]")
	return map[string]string{
		"mmc4":    writeFile(t, dir, "mmc4/s.jsonl", []byte(mmc4.String())),
		"obelics": writeFile(t, dir, "obelics/a.parquet", shardtest.Parquet(4, lists...)),
		"mint1t":  writeFile(t, dir, "mint1t/a.tar", shardtest.Tar(mint...)),
		"llava":   writeFile(t, dir, "llava/a.json", []byte(llava.String())),
		"edit":    writeFile(t, dir, "edit/a.parquet", shardtest.Parquet(4, triples...)),
	}
}

// TestDocuments encodes every format of documents with damage in it: the accounts of images and of documents add up, the
// tables join, and the bytes are the same whatever works side by side.
func TestDocuments(t *testing.T) {
	for format, in := range documentInputs(t) {
		t.Run(format, func(t *testing.T) {
			for _, missing := range []string{"drop-element", "drop-document"} {
				base := filepath.Join(t.TempDir(), "base")
				args := func(out string, more ...string) []string {
					return append([]string{"encode", "-q", "-i", in, "-o", out, "-m", tiny, "--unit-bytes", "2KiB", "--missing-image", missing}, more...)
				}
				summary := must(t, args(base)...)
				want := hashes(t, base)
				for _, n := range []string{"1", "4"} {
					out := filepath.Join(t.TempDir(), "out")
					must(t, args(out, "--parallelism", n, "--batch", n)...)
					same(t, "parallelism "+n, hashes(t, out), want)
				}
				checkDocuments(t, base, format, missing, summary)
			}
		})
	}
}

func checkDocuments(t *testing.T, dir, format, missing, summary string) {
	m := readManifest(t, dir)
	docs := readDocuments(t, dir)
	rows, rejects := readAll(t, dir)
	d := m.Counts.Documents
	if d == nil || m.Counts.Check() != nil || m.Units < 3 || d.In != 40 || d.Written != int64(len(docs)) || m.Counts.Encoded != int64(len(rows)) {
		t.Fatalf("%d units, %d documents, %d images: %+v, documents %+v", m.Units, len(docs), len(rows), m.Counts, d)
	}
	type place struct {
		row      int64
		position int32
	}
	lost, lostDocuments, reasons := map[place]string{}, map[int64]string{}, map[string]int64{}
	for _, r := range rejects {
		if r.Document == nil || r.Detail == "" {
			t.Errorf("%+v: a reject of no document", r)
		}
		if r.Position == shards.DocumentPosition {
			lostDocuments[r.Row] = r.Reason
			reasons[r.Reason]++
		} else {
			lost[place{r.Row, r.Position}] = r.Reason
		}
	}
	if len(lost)+len(lostDocuments) != len(rejects) || len(lost) == 0 || len(lostDocuments) == 0 {
		t.Errorf("%d images and %d documents lost in %d rejects", len(lost), len(lostDocuments), len(rejects))
	}
	if int64(len(lost)) != m.Counts.RejectedTotal() || !reflect.DeepEqual(reasons, d.Rejected) {
		t.Errorf("%d images lost, counts %+v; documents %v, counts %v", len(lost), m.Counts, reasons, d.Rejected)
	}
	drop := missing == "drop-document" || format == "edit"
	incomplete := int64(0)
	for _, doc := range docs {
		of := 0
		for p := range lost {
			if p.row == doc.Row {
				of++
			}
		}
		if of > 0 {
			incomplete++
		}
		if of > 0 && drop || lostDocuments[doc.Row] != "" {
			t.Errorf("document %d is written and lost %d images", doc.Row, of)
		}
	}
	if incomplete != d.Incomplete || (incomplete > 0) == drop {
		t.Errorf("%d incomplete, counts %+v", incomplete, d)
	}
	if drop { // codes are kept, for they were paid for
		kept := 0
		for _, r := range rows {
			if lostDocuments[r.Row] != "" {
				kept++
			}
		}
		if kept == 0 {
			t.Error("no image of a rejected document kept its codes")
		}
	}
	if m.Identity.Options["missing_image"] != missing {
		t.Errorf("identity: %v", m.Identity.Options)
	}
	if !strings.Contains(summary, "documents in") {
		t.Errorf("summary: %s", summary)
	}
	card, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil || !strings.Contains(string(card), "path: documents/*.parquet") || !strings.Contains(string(card), fmt.Sprintf("| written | %d |", d.Written)) {
		t.Errorf("card: %v\n%s", err, card)
	}
	var r report
	if err := json.Unmarshal([]byte(must(t, "inspect", dir, "--json")), &r); err != nil || !reflect.DeepEqual(r.Documents, d) || r.Rejects != m.Counts.RejectedTotal() {
		t.Errorf("inspect: %v, %+v", err, r)
	}
	if text := must(t, "inspect", dir); !strings.Contains(text, fmt.Sprintf("documents %d, rejects %d", d.Written, d.RejectedTotal())) {
		t.Errorf("inspect: %s", text)
	}
}

func TestDocumentsResume(t *testing.T) {
	in := documentInputs(t)["mint1t"]
	out := filepath.Join(t.TempDir(), "out")
	args := []string{"encode", "-q", "-i", in, "-o", out, "-m", tiny, "--unit-bytes", "4KiB"}
	must(t, args...)
	want, units := hashes(t, out), readManifest(t, out).Units
	for _, name := range []string{"_manifest.json", fmt.Sprintf("documents/part-00001-of-%05d.parquet", units), fmt.Sprintf("data/part-00002-of-%05d.parquet", units)} {
		if err := os.Remove(filepath.Join(out, filepath.FromSlash(name))); err != nil {
			t.Fatal(err)
		}
	}
	if got := decodeJSON(t, must(t, append(args, "--json")...)); int(got["resumed_units"].(float64)) != units-2 {
		t.Errorf("%v units resumed of %d", got["resumed_units"], units)
	}
	same(t, "resumed", hashes(t, out), want)
	if m := readManifest(t, out); m.Counts.Documents == nil || m.Counts.Documents.In != 40 {
		t.Errorf("%+v", m.Counts)
	}
	if _, stderr, code := sower(t, append(args, "--missing-image", "drop-document")...); code != exitRefused || !strings.Contains(stderr, "missing_image") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if _, stderr, code := sower(t, append(args, "--missing-image", "ignore")...); code != exitUsage || !strings.Contains(stderr, "drop-element") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

// TestDocumentsThatCannotBeRead holds the failure limit to documents that have no images to count.
func TestDocumentsThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	in := writeFile(t, dir, "in/a.jsonl", []byte(strings.Repeat(`{"text_list":[],"image_info":7}`+"\n", 20)))
	out := filepath.Join(dir, "out")
	args := []string{"encode", "-q", "-i", in, "--format", "mmc4", "-o", out, "-m", tiny}
	if _, stderr, code := sower(t, args...); code != exitFailures || !strings.Contains(stderr, "20 of 20 documents") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	must(t, append(args, "--max-failure-rate", "1")...)
	if m := readManifest(t, out); m.Counts.In != 0 || m.Counts.Documents.Rejected["unreadable_source"] != 20 {
		t.Errorf("%+v", m.Counts)
	}
	text := must(t, append(args[:len(args):len(args)], "--dry-run")...)
	if !strings.Contains(text, "mmc4") {
		t.Errorf("dry run: %s", text)
	}
}

// TestDocumentFilters holds the filters to what they mean for documents.
func TestDocumentFilters(t *testing.T) {
	dir := t.TempDir()
	for n := range 3 {
		writeFile(t, dir, fmt.Sprintf("in/%d.jpg", n), shardtest.JPEG(20+10*n, 20, uint32(n)))
	}
	line := func(text string, sims ...float64) string {
		var images []string
		for n, s := range sims {
			images = append(images, fmt.Sprintf(`{"image_name":"%d.jpg","matched_text_index":0,"matched_sim":%v}`, n, s))
		}
		return fmt.Sprintf(`{"text_list":[%q],"image_info":[%s]}`, text, strings.Join(images, ","))
	}
	in := writeFile(t, dir, "in/a.jsonl", []byte(line("all", 0.3, 0.3)+"\n"+line("all", 0.3, 0.3)+"\n"+line(" ", 0.3)+"\n"+line("some", 0.3, 0.1, 0.4)+"\n"))
	out := filepath.Join(dir, "out")
	must(t, "encode", "-q", "-i", in, "-o", out, "-m", tiny, "--min-similarity", "0.25", "--require-text", "--dedup", "--max-text", "1", "--max-aspect", "1.9")
	m := readManifest(t, out)
	if want := map[string]int64{"similarity": 1, "aspect": 1}; !reflect.DeepEqual(m.Counts.Rejected, want) {
		t.Errorf("images rejected %v, want %v", m.Counts.Rejected, want)
	}
	want := schemas.DocumentCounts{In: 4, Written: 3, Incomplete: 1, Rejected: map[string]int64{"no_text": 1}}
	if !reflect.DeepEqual(*m.Counts.Documents, want) {
		t.Errorf("documents %+v, want %+v", *m.Counts.Documents, want)
	}
}

// TestDocumentOfManyImages takes a document that is far larger than what a unit has in work at a time.
func TestDocumentOfManyImages(t *testing.T) {
	dir := t.TempDir()
	names := make([]string, 1000)
	for n := range names {
		names[n] = fmt.Sprintf(`"i/%d.jpg"`, n%50)
		if n < 50 {
			writeFile(t, dir, fmt.Sprintf("in/i/%d.jpg", n), shardtest.JPEG(20, 20, uint32(n)))
		}
	}
	in := writeFile(t, dir, "in/a.json", []byte(fmt.Sprintf(`[{"image":[%s],"conversations":[{"from":"human","value":%q}]}]`, strings.Join(names, ","), strings.Repeat("<image>", len(names)))))
	out := filepath.Join(dir, "out")
	must(t, "encode", "-q", "-i", in, "-o", out, "-m", tiny)
	docs := readDocuments(t, out)
	rows, _ := readAll(t, out)
	if len(docs) != 1 || len(docs[0].Elements) != len(names) || len(rows) != len(names) {
		t.Fatalf("%d documents, %d images", len(docs), len(rows))
	}
	for i, r := range rows {
		if r.Position != int32(i) || r.SHA256 != rows[i%50].SHA256 || !reflect.DeepEqual(r.Codes, rows[i%50].Codes) {
			t.Fatalf("image %d: %+v", i, r)
		}
	}
}

// TestDocumentFrames takes images from a TIFF and from a JPEG of the same tar to codes.
func TestDocumentFrames(t *testing.T) {
	dir := t.TempDir()
	var frame bytes.Buffer
	picture := image.NewNRGBA(image.Rect(0, 0, 31, 17))
	for i := range picture.Pix {
		picture.Pix[i] = byte(i*i) | byte(i%4/3*255)
	}
	if err := tiff.Encode(&frame, picture, &tiff.Options{Compression: tiff.Deflate}); err != nil {
		t.Fatal(err)
	}
	in := writeFile(t, dir, "in/a.tar", shardtest.Tar(
		shardtest.Sample{Key: "k", Files: []shardtest.File{{Ext: "json", Data: []byte(`{"texts":["a",null],"images":[null,"page_0_image_3"]}`)}, {Ext: "tiff", Data: frame.Bytes()}}},
		shardtest.Sample{Key: "l", Files: []shardtest.File{{Ext: "json", Data: []byte(`{"texts":[null],"images":["x"]}`)}, {Ext: "jpg", Data: shardtest.JPEG(20, 20, 1)}}}))
	out := filepath.Join(dir, "out")
	must(t, "encode", "-q", "-i", in, "-o", out, "-m", tiny)
	rows, _ := readAll(t, out)
	if docs := readDocuments(t, out); len(docs) != 2 || len(rows) != 2 || rows[0].Width != 31 || rows[0].Height != 17 || rows[1].Width != 20 {
		t.Errorf("%d documents, %+v", len(docs), rows)
	}
}
