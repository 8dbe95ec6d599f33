package card

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sower/schemas"
)

// file is an entry of a manifest whose digest is recognisable.
func file(path string, rows int64) schemas.File {
	return schemas.File{Path: path, Rows: rows, Bytes: 1000 + rows, SHA256: fmt.Sprintf("%064x", len(path)*1000+int(rows))}
}

func encoded(documents *schemas.DocumentCounts, files ...schemas.File) *schemas.Manifest {
	return &schemas.Manifest{Version: schemas.ManifestVersion, Pipeline: "encode", Files: files,
		Identity: schemas.Identity{Tokenizer: "seed2", Codes: 8192, CodesPerImage: 32},
		Counts:   schemas.Counts{In: 5, Encoded: 3, Rejected: map[string]int64{"no_image": 2}, Documents: documents}}
}

func sequences(pack bool, files ...schemas.File) *schemas.Manifest {
	return &schemas.Manifest{Version: schemas.ManifestVersion, Pipeline: "interleave", Files: files,
		Identity: schemas.Identity{Tokenizer: "seed2", Weights: "aa", Codes: 8192, CodesPerImage: 32, Plan: "bb",
			Options: map[string]string{"pack": fmt.Sprint(pack), "context": "512", "seed": "0"}},
		Counts:     schemas.Counts{In: 9, Encoded: 9},
		Vocabulary: &schemas.Vocabulary{Tokenizer: "bytes", Offset: 259, K: 8192, Begin: 8451, End: 8452, Length: 8453, ImageLength: 34}}
}

// TestConfigs holds the YAML to what the loader of Hugging Face takes: every split that has rows, and none without.
func TestConfigs(t *testing.T) {
	const (
		images    = "configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/*.parquet\n"
		documents = "- config_name: documents\n  data_files:\n  - split: train\n    path: documents/*.parquet\n"
		train     = "  - split: train\n    path: data/train-*\n"
		held      = "  - split: validation\n    path: data/validation-*\n"
		first     = "configs:\n- config_name: default\n  data_files:\n"
		codeTags  = "tags:\n- seed-tokens\n- image-text\n"
		tags      = codeTags + "- pretraining\n"
		small     = "size_categories:\n- n<1K\n"
	)
	data, rejects := file("data/part-00000-of-00001.parquet", 3), file("rejects/part-00000-of-00001.parquet", 2)
	for name, c := range map[string]struct {
		m    *schemas.Manifest
		want string
	}{
		"images": {encoded(nil, data, rejects), images + codeTags + small},
		"documents": {encoded(&schemas.DocumentCounts{In: 2, Written: 2}, data, file("documents/part-00000-of-00001.parquet", 2), rejects),
			images + documents + codeTags + small},
		"no document": {encoded(&schemas.DocumentCounts{In: 1, Rejected: map[string]int64{"unreadable_source": 1}}, data,
			file("documents/part-00000-of-00001.parquet", 0), rejects), images + codeTags + small},
		"rejects do not count": {encoded(nil, data, file("rejects/part-00000-of-00001.parquet", 5000)), images + codeTags + small},
		"both": {sequences(false, file("data/train-00000-of-00001.parquet", 990), file("data/validation-00000-of-00001.parquet", 10)),
			first + train + held + tags + "size_categories:\n- 1K<n<10K\n"},
		"no validation": {sequences(true, file("data/train-00000-of-00001.parquet", 5), file("data/validation-00000-of-00001.parquet", 0)),
			first + train + tags + small},
		"validation alone": {sequences(false, file("data/train-00000-of-00001.parquet", 0), file("data/validation-00000-of-00001.parquet", 1)),
			first + held + tags + small},
	} {
		t.Run(name, func(t *testing.T) {
			files, err := Files(c.m)
			if err != nil {
				t.Fatal(err)
			}
			text, ok := strings.CutPrefix(string(files["README.md"]), "---\n")
			yaml, body, end := strings.Cut(text, "---\n")
			if !ok || !end || yaml != c.want {
				t.Errorf("YAML is\n%s\nwant\n%s", yaml, c.want)
			}
			if !strings.HasPrefix(body, "# ") {
				t.Errorf("text starts with %.40q", body)
			}
			if strings.Contains(strings.ReplaceAll(body, "`<img>`", ""), "<img>") {
				t.Error("an image word outside of code is an image tag in Markdown")
			}
			again, err := Files(c.m)
			if err != nil || !reflect.DeepEqual(files, again) {
				t.Errorf("a second card differs (%v)", err)
			}
		})
	}
	if _, err := Files(&schemas.Manifest{Pipeline: "other"}); err == nil {
		t.Error("a pipeline without a description is no error")
	}
}

func TestCategory(t *testing.T) {
	for rows, want := range map[int64]string{0: "n<1K", 999: "n<1K", 1000: "1K<n<10K", 10_000: "10K<n<100K", 5_000_000: "1M<n<10M", 1 << 62: "100B<n<1T"} {
		if got := category(rows); got != want {
			t.Errorf("%d rows: %s, want %s", rows, got, want)
		}
	}
}

// TestCroissant checks the description's structure: every file of data/ with its digest, a set and a record set for every split
// with rows, no loose end between them. mlcroissant itself reads it in docs/open_corpus.py.
func TestCroissant(t *testing.T) {
	plain := []string{"input_ids", "labels", "images", "keys", "length"}
	for name, c := range map[string]struct {
		m      *schemas.Manifest
		splits []string
		fields []string
	}{
		"both": {sequences(false, file("data/train-00000-of-00002.parquet", 7), file("data/train-00001-of-00002.parquet", 8),
			file("data/validation-00000-of-00002.parquet", 1), file("data/validation-00001-of-00002.parquet", 0)), []string{"train", "validation"}, plain},
		"packed, no validation": {sequences(true, file("data/train-00000-of-00001.parquet", 7), file("data/validation-00000-of-00001.parquet", 0)),
			[]string{"train"}, append(slices.Clone(plain), "position_ids", "sequence_lengths")},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Croissant(c.m)
			if err != nil {
				t.Fatal(err)
			}
			c.m.Started, c.m.Finished, c.m.Seconds, c.m.Command = "2001-01-01T00:00:00Z", "2001-01-01T00:00:01Z", 1, []string{"sower"}
			if again, err := Croissant(c.m); err != nil || !bytes.Equal(p, again) {
				t.Errorf("the description depends on the run (%v)", err)
			}
			type ref struct {
				ID string `json:"@id"`
			}
			var doc struct {
				Context      map[string]any `json:"@context"`
				Type         string         `json:"@type"`
				ConformsTo   string         `json:"conformsTo"`
				Distribution []struct {
					ID             string `json:"@id"`
					Type           string `json:"@type"`
					Name           string `json:"name"`
					ContentURL     string `json:"contentUrl"`
					ContentSize    string `json:"contentSize"`
					EncodingFormat string `json:"encodingFormat"`
					SHA256         string `json:"sha256"`
					Includes       string `json:"includes"`
					ContainedIn    any    `json:"containedIn"`
				} `json:"distribution"`
				RecordSet []struct {
					ID    string `json:"@id"`
					Type  string `json:"@type"`
					Field []struct {
						ID         string `json:"@id"`
						Name       string `json:"name"`
						DataType   string `json:"dataType"`
						IsArray    bool   `json:"isArray"`
						ArrayShape string `json:"arrayShape"`
						Source     struct {
							FileSet ref `json:"fileSet"`
							Extract struct {
								Column string `json:"column"`
							} `json:"extract"`
						} `json:"source"`
					} `json:"field"`
				} `json:"recordSet"`
			}
			if err := json.Unmarshal(p, &doc); err != nil {
				t.Fatal(err)
			}
			if doc.Type != "sc:Dataset" || doc.ConformsTo != "http://mlcommons.org/croissant/1.1" || doc.Context["cr"] != "http://mlcommons.org/croissant/" {
				t.Errorf("%s that conforms to %s in %v", doc.Type, doc.ConformsTo, doc.Context["cr"])
			}
			ids := map[string]bool{}
			var files []schemas.File
			var sets []string
			for _, d := range doc.Distribution {
				if ids[d.ID] || d.ContainedIn != nil || d.EncodingFormat != "application/x-parquet" || d.Name != d.ID {
					t.Errorf("distribution %+v", d)
				}
				ids[d.ID] = true
				switch d.Type {
				case "cr:FileObject":
					files = append(files, schemas.File{Path: d.ContentURL, SHA256: d.SHA256})
					fmt.Sscanf(d.ContentSize, "%d B", &files[len(files)-1].Bytes)
				case "cr:FileSet":
					sets = append(sets, d.ID+" "+d.Includes)
				default:
					t.Errorf("distribution of type %s", d.Type)
				}
			}
			var wantFiles []schemas.File
			for _, f := range c.m.Files {
				f.Rows = 0
				wantFiles = append(wantFiles, f)
			}
			if !reflect.DeepEqual(files, wantFiles) {
				t.Errorf("files %v, want %v", files, wantFiles)
			}
			var names, wantSets []string
			for _, s := range c.splits {
				wantSets = append(wantSets, s+"-files data/"+s+"-*.parquet")
			}
			if !slices.Equal(sets, wantSets) {
				t.Errorf("sets %q, want %q", sets, wantSets)
			}
			for _, r := range doc.RecordSet {
				names = append(names, r.ID)
				var fields []string
				for _, f := range r.Field {
					fields = append(fields, f.Name)
					list, kind := f.Name != "length", "sc:Integer"
					if f.Name == "keys" {
						kind = "sc:Text"
					}
					shape := map[bool]string{true: "-1"}[list]
					if ids[f.ID] || f.ID != r.ID+"/"+f.Name || f.Source.Extract.Column != f.Name || f.Source.FileSet.ID != r.ID+"-files" ||
						f.IsArray != list || f.ArrayShape != shape || f.DataType != kind {
						t.Errorf("field %+v", f)
					}
					ids[f.ID] = true
				}
				if r.Type != "cr:RecordSet" || !slices.Equal(fields, c.fields) {
					t.Errorf("%s %s has fields %q, want %q", r.Type, r.ID, fields, c.fields)
				}
			}
			if !slices.Equal(names, c.splits) {
				t.Errorf("record sets %q, want %q", names, c.splits)
			}
		})
	}
	// Texts alone were not derived from any weights.
	m := sequences(false, file("data/train-00000-of-00001.parquet", 1))
	m.Identity.Weights = ""
	if p, err := Croissant(m); err != nil || bytes.Contains(p, []byte("weights")) {
		t.Errorf("texts alone name weights (%v)", err)
	}
}
