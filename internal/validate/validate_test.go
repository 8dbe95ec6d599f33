package validate

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"sower/internal/blob"
	"sower/internal/blob/memblob"
	"sower/internal/corpus"
	"sower/schemas"
)

var (
	codesID = schemas.Identity{Tokenizer: "seed2", Weights: "w", ImageSize: 224, Codes: 100, CodesPerImage: 3, Resize: "bicubic", Precision: "float32", NumericsVersion: 1, Plan: "p"}
	vocab   = schemas.Vocabulary{Offset: 300, K: 100, Begin: 400, End: 401, Pad: 0, BOS: 1, EOS: 2, Unk: -1, Length: 402, ImageLength: 5}
)

// world is a corpus in memory that a test can damage before it is written.
type world struct {
	codes     []schemas.CodeRow
	rejects   []schemas.RejectRow
	sequences []schemas.SequenceRow
	packed    []schemas.PackedRow
	pack      bool
	id        schemas.Identity
	vocab     schemas.Vocabulary
	manifest  func(*schemas.Manifest)
	after     func(*blob.Bucket)
}

func ptr[T any](v T) *T { return &v }

func good() *world {
	w := &world{id: codesID, vocab: vocab}
	for i := range 5 {
		w.codes = append(w.codes, schemas.CodeRow{Key: "k", Source: "a.tar", Row: int64(i), Codes: []uint16{1, 2, 99}, Width: 4, Height: 5, SHA256: [32]byte{1},
			Text: ptr("x"), Metadata: ptr(`{"a":1}`)})
	}
	w.rejects = []schemas.RejectRow{{Key: "k", Source: "a.tar", Row: 5, Reason: "truncated", Detail: "d"}}
	ids := []int32{1, 400, 301, 302, 399, 401, 50, 2}
	labels := []int32{-100, 400, 301, 302, 399, 401, 50, 2}
	for range 3 {
		w.sequences = append(w.sequences, schemas.SequenceRow{InputIDs: slices.Clone(ids), Labels: slices.Clone(labels), Images: []int32{1}, Keys: []string{"k"}, Length: 8})
		w.packed = append(w.packed, schemas.PackedRow{InputIDs: slices.Concat(ids, ids), Labels: slices.Concat(labels, labels), Images: []int32{1, 9}, Keys: []string{"k", "l"}, Length: 16,
			PositionIDs: []int32{0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7}, SequenceLengths: []int32{8, 8}})
	}
	return w
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// write commits the world, as encode or as interleave, and validates it.
func (w *world) write(t *testing.T, pipeline string) *Report {
	t.Helper()
	ctx, b := context.Background(), blob.New("mem://x", memblob.New())
	m := schemas.Manifest{Version: schemas.ManifestVersion, Pipeline: pipeline, Identity: w.id, Units: 1}
	u := corpus.NewUnit(0)
	add := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if pipeline == "encode" {
		out := must(corpus.CreateUnit[schemas.CodeRow](ctx, b, codesID, 0, 1))
		for _, r := range w.rejects {
			add(out.Reject(r))
		}
		for _, r := range w.codes {
			add(out.Row(r, 1))
		}
		u = out.Unit
	} else {
		m.Identity.Options = map[string]string{"context": "20", "pack": map[bool]string{true: "true", false: "false"}[w.pack]}
		text := string(must(json.Marshal(w.vocab)))
		for _, name := range corpus.SequenceLayout.Names(0, 1) {
			if w.pack {
				p := must(corpus.AddPart[schemas.PackedRow](ctx, u, b, m.Identity, name))
				p.SetFooter(schemas.VocabularyKey, text)
				for _, r := range w.packed {
					add(p.Append(r, 1))
				}
			} else {
				p := must(corpus.AddPart[schemas.SequenceRow](ctx, u, b, m.Identity, name))
				p.SetFooter(schemas.VocabularyKey, text)
				for _, r := range w.sequences {
					add(p.Append(r, 1))
				}
			}
		}
		v := vocab
		m.Vocabulary = &v
	}
	info := must(u.Commit())
	m.Files, m.Counts = info.Files, info.Counts
	if w.manifest != nil {
		w.manifest(&m)
	}
	add(b.WriteAll(ctx, schemas.ManifestName, must(m.Marshal())))
	if w.after != nil {
		w.after(b)
	}
	return must(Corpus(ctx, b, nil))
}

func TestGoodCorpora(t *testing.T) {
	packed := good()
	packed.pack = true
	for name, r := range map[string]*Report{"encode": good().write(t, "encode"), "loose": good().write(t, "interleave"), "packed": packed.write(t, "interleave")} {
		if !r.OK() || r.Rows == 0 || r.Files != 2 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// TestDamages plants one damage at a time: each must be found, with its file and, where there is one, its row.
func TestDamages(t *testing.T) {
	ctx := context.Background()
	const data, rejects, train = "data/part-00000-of-00001.parquet", "rejects/part-00000-of-00001.parquet", "data/train-00000-of-00001.parquet"
	cases := []struct {
		name     string
		pipeline string
		damage   func(*world)
		file     string
		row      int64
		what     string
	}{
		{"no manifest", "encode", func(w *world) { w.after = func(b *blob.Bucket) { b.Delete(ctx, schemas.ManifestName) } }, schemas.ManifestName, -1, "not finished"},
		{"file missing", "encode", func(w *world) { w.after = func(b *blob.Bucket) { b.Delete(ctx, data) } }, data, -1, "missing"},
		{"file extra", "encode", func(w *world) { w.after = func(b *blob.Bucket) { b.WriteAll(ctx, "data/part-9.parquet", []byte("x")) } }, "data/part-9.parquet", -1, "not in the manifest"},
		{"file cut", "encode", func(w *world) {
			w.after = func(b *blob.Bucket) { p := must(b.ReadAll(ctx, data, 1<<20)); b.WriteAll(ctx, data, p[:len(p)-9]) }
		}, data, -1, "bytes, the manifest says"},
		{"a bit flipped", "encode", func(w *world) {
			w.after = func(b *blob.Bucket) { p := must(b.ReadAll(ctx, data, 1<<20)); p[40] ^= 1; b.WriteAll(ctx, data, p) }
		}, data, -1, "SHA-256"},
		{"rows off in the manifest", "encode", func(w *world) { w.manifest = func(m *schemas.Manifest) { m.Files[1].Rows++ } }, data, -1, "rows, the manifest says 6"},
		{"counts off", "encode", func(w *world) { w.manifest = func(m *schemas.Manifest) { m.Counts.In++ } }, schemas.ManifestName, -1, "rows are missing"},
		{"another identity", "encode", func(w *world) { w.id.Weights = "other" }, data, -1, "weights"},
		{"code out of range", "encode", func(w *world) { w.codes[3].Codes[1] = 100 }, data, 3, "code 1 is 100"},
		{"code missing", "encode", func(w *world) { w.codes[2].Codes = w.codes[2].Codes[:2] }, data, 2, "2 codes, want 3"},
		{"an image twice", "encode", func(w *world) { w.codes[4].Row = 1 }, data, 4, "image of row 1 again"},
		{"no digest", "encode", func(w *world) { w.codes[0].SHA256 = [32]byte{} }, data, 0, "no digest"},
		{"metadata no JSON", "encode", func(w *world) { w.codes[1].Metadata = ptr("{") }, data, 1, "metadata"},
		{"text not UTF-8", "encode", func(w *world) { w.codes[1].Text = ptr("\xff") }, data, 1, "UTF-8"},
		{"unknown reason", "encode", func(w *world) { w.rejects[0].Reason = "bad_luck" }, rejects, 0, "bad_luck"},
		{"id out of range", "interleave", func(w *world) { w.sequences[1].InputIDs[6], w.sequences[1].Labels[6] = 402, 402 }, train, 1, "input_ids[6] is 402"},
		{"label another id", "interleave", func(w *world) { w.sequences[2].Labels[6] = 51 }, train, 2, "labels[6] is 51"},
		{"first label", "interleave", func(w *world) { w.sequences[0].Labels[0] = 1 }, train, 0, "not -100"},
		{"length off", "interleave", func(w *world) { w.sequences[1].Length = 7 }, train, 1, "length is 7"},
		{"labels too few", "interleave", func(w *world) { w.sequences[1].Labels = w.sequences[1].Labels[:7] }, train, 1, "7 labels for 8"},
		{"image cut", "interleave", func(w *world) {
			s := &w.sequences[1]
			s.InputIDs, s.Labels, s.Length = s.InputIDs[:4], s.Labels[:4], 4
		}, train, 1, "is cut"},
		{"image without end", "interleave", func(w *world) { w.sequences[1].InputIDs[5], w.sequences[1].Labels[5] = 50, 50 }, train, 1, "does not end"},
		{"a word in an image", "interleave", func(w *world) { w.sequences[1].InputIDs[3], w.sequences[1].Labels[3] = 50, 50 }, train, 1, "want a code"},
		{"a stray code", "interleave", func(w *world) { w.sequences[1].InputIDs[6], w.sequences[1].Labels[6] = 305, 305 }, train, 1, "outside of one"},
		{"image not listed", "interleave", func(w *world) { w.sequences[1].Images = nil }, train, 1, "not in images"},
		{"image listed twice", "interleave", func(w *world) { w.sequences[1].Images = []int32{1, 6} }, train, 1, "lists more"},
		{"nothing to learn", "interleave", func(w *world) {
			for i := range w.sequences[1].Labels {
				w.sequences[1].Labels[i] = -100
			}
		}, train, 1, "no label"},
		{"nothing to learn in one of two", "packed", func(w *world) {
			for i := range 8 {
				w.packed[1].Labels[8+i] = -100
			}
		}, train, 1, "at 8 has no label"},
		{"no keys", "interleave", func(w *world) { w.sequences[1].Keys = nil }, train, 1, "no keys"},
		{"another vocabulary", "interleave", func(w *world) { w.vocab.Offset++ }, train, -1, "another vocabulary"},
		{"positions run on", "packed", func(w *world) { w.packed[2].PositionIDs[8] = 8 }, train, 2, "position_ids[8] is 8"},
		{"lengths do not add up", "packed", func(w *world) { w.packed[2].SequenceLengths[1] = 7 }, train, 2, "add up to 15"},
		{"an image over a seam", "packed", func(w *world) {
			r := &w.packed[1]
			r.SequenceLengths = []int32{3, 13}
			r.PositionIDs = []int32{0, 1, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
		}, train, 1, "is cut"},
		{"schema", "interleave", func(w *world) {
			w.pack = true
			w.manifest = func(m *schemas.Manifest) { m.Identity.Options["pack"] = "false" }
		}, train, -1, "column position_ids is extra"},
	}
	if len(cases) < 15 {
		t.Fatalf("%d damages", len(cases))
	}
	for _, c := range cases {
		w := good()
		c.damage(w)
		if c.pipeline == "packed" {
			w.pack, c.pipeline = true, "interleave"
		}
		r := w.write(t, c.pipeline)
		found := false
		for _, p := range r.Problems {
			found = found || p.File == c.file && p.Row == c.row && strings.Contains(p.What, c.what)
		}
		if !found {
			t.Errorf("%s: want %q in %s row %d, found %v", c.name, c.what, c.file, c.row, r.Problems)
		}
	}
}
