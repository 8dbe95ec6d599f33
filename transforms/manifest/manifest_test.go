package manifest

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sower/internal/blob"
	_ "sower/internal/blob/all"
	"sower/internal/corpus"
	"sower/internal/launch"
	"sower/schemas"
)

func info(unit int, encoded int64, rejected map[string]int64) corpus.UnitInfo {
	c := schemas.Counts{Encoded: encoded, Rejected: rejected}
	c.In = encoded + c.RejectedTotal()
	return corpus.UnitInfo{Unit: unit, Counts: c, Files: []schemas.File{{Path: corpus.PartName("data", "part", unit, 3), Rows: encoded, Bytes: 1, SHA256: "x"}}}
}

func options(limit float64) Options {
	return Options{RunID: "r", MaxFailureRate: limit, Manifest: schemas.Manifest{Pipeline: "encode", Version: schemas.ManifestVersion, Units: 3, Started: "2026-01-01T00:00:00Z"}}
}

func TestCommit(t *testing.T) {
	ctx := context.Background()
	filtered, failed := map[string]int64{"too_small": 40}, map[string]int64{"truncated": 9}
	for _, c := range []struct {
		name  string
		infos []corpus.UnitInfo
		limit float64
		want  string // error, "" for a manifest
	}{
		{"whole", []corpus.UnitInfo{info(2, 5, nil), info(0, 5, nil), info(1, 5, filtered)}, 0.5, ""},
		{"a unit twice", []corpus.UnitInfo{info(0, 5, nil), info(1, 5, nil), info(1, 5, nil), info(2, 5, nil)}, 0.5, ""},
		{"a unit missing", []corpus.UnitInfo{info(0, 5, nil), info(2, 5, nil)}, 0.5, "unit 1 of 3 did not report"},
		{"a unit too many", []corpus.UnitInfo{info(0, 5, nil), info(3, 5, nil)}, 0.5, "unit 3 of 3"},
		{"most rows fail", []corpus.UnitInfo{info(0, 1, failed), info(1, 1, failed), info(2, 1, failed)}, 0.5, "27 of 30, most of them truncated"},
		{"most rows fail and may", []corpus.UnitInfo{info(0, 1, failed), info(1, 1, failed), info(2, 1, failed)}, 1, ""},
		{"rows missing", []corpus.UnitInfo{info(0, 5, nil), {Unit: 1, Counts: schemas.Counts{In: 7, Encoded: 5}}, info(2, 5, nil)}, 0.5, "rows are missing"},
	} {
		b, err := blob.OpenBucket(ctx, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		err = Commit(ctx, b, options(c.limit), c.infos)
		p, readErr := b.ReadAll(ctx, schemas.ManifestName, 1<<20)
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) || readErr == nil {
				t.Errorf("%s: %v, manifest there: %v", c.name, err, readErr == nil)
			}
			continue
		}
		if err != nil || readErr != nil {
			t.Errorf("%s: %v, %v", c.name, err, readErr)
			continue
		}
		m, err := schemas.ParseManifest(p)
		if err != nil || m.Counts.Check() != nil || len(m.Files) != 3 || m.Files[0].Path > m.Files[1].Path {
			t.Errorf("%s: %+v, %v", c.name, m, err)
		}
		card, err := b.ReadAll(ctx, "README.md", 1<<20)
		if err != nil || !strings.Contains(string(card), "| encoded |") {
			t.Errorf("%s: card %q, %v", c.name, card, err)
		}
	}
	if err := Commit(ctx, nil, options(0.5), []corpus.UnitInfo{info(0, 0, failed), info(1, 0, failed), info(2, 0, failed)}); !errors.Is(err, ErrFailures) {
		t.Errorf("%v", err)
	}
}

// TestCommitOfRetry checks the manifest of a corpus of which some units were done again: files and counts of the others come from
// the corpus as it was.
func TestCommitOfRetry(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	corpusFolder, staging := filepath.Join(dir, "corpus"), filepath.Join(dir, "corpus/_retry")
	open := func(path string) *blob.Bucket {
		b, err := blob.OpenBucket(ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		return b
	}
	was := info(1, 5, map[string]int64{"no_image": 2})
	if err := Commit(ctx, open(corpusFolder), options(1), []corpus.UnitInfo{info(0, 5, map[string]int64{"truncated": 1}), was, info(2, 4, nil)}); err != nil {
		t.Fatal(err)
	}
	o := options(1)
	o.Base, o.Work = corpusFolder, 1
	again := info(1, 7, nil)
	again.Files[0].SHA256, again.Reused = "y", 5
	if err := Commit(ctx, open(staging), o, []corpus.UnitInfo{again}); err == nil || !strings.Contains(err.Error(), "what it replaces") {
		t.Errorf("%v", err)
	}
	again.Replaces = &was.Counts
	if err := Commit(ctx, open(staging), o, nil); err == nil || !strings.Contains(err.Error(), "0 units reported, want 1") {
		t.Errorf("%v", err)
	}
	if err := Commit(ctx, open(staging), o, []corpus.UnitInfo{again, again}); err != nil {
		t.Fatal(err)
	}
	m, err := launch.ReadManifest(ctx, open(staging))
	if err != nil {
		t.Fatal(err)
	}
	want := schemas.Counts{In: 17, Encoded: 16, Rejected: map[string]int64{"truncated": 1}}
	if !reflect.DeepEqual(m.Counts, want) || m.Reused != 5 {
		t.Errorf("%+v, reused %d, want %+v", m.Counts, m.Reused, want)
	}
	var sums string
	for _, f := range m.Files {
		sums += f.SHA256
	}
	if sums != "xyx" {
		t.Errorf("files %+v", m.Files)
	}
	large := again
	large.Replaces = &schemas.Counts{In: 99, Encoded: 99}
	if err := Commit(ctx, open(staging), o, []corpus.UnitInfo{large}); err == nil {
		t.Error("more was taken out than there was")
	}
}
