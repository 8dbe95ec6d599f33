package trainer

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"sower/internal/blob"
	_ "sower/internal/blob/all"
	"sower/internal/corpus"
	"sower/schemas"
)

// table writes embeddings (n, row, 0) of rows of a source into a file of a folder.
func table(t *testing.T, dir, name, source string, n float32, rows ...int64) {
	t.Helper()
	b, err := blob.OpenBucket(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	p, err := corpus.Create[schemas.TeacherRow](t.Context(), b, name, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if err := p.Append(schemas.TeacherRow{Source: source, Row: row, Embedding: []float32{n, float32(row), 0}}, 20); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Commit(); err != nil {
		t.Fatal(err)
	}
}

// TestTeacher finds embeddings wherever they lie, and says what is missing, doubled or of another width.
func TestTeacher(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	table(t, dir, "data/a.parquet", "a.tar", 1, 0, 1, 2, 3)
	table(t, dir, "data/b.parquet", "a.tar", 2, 4, 5)
	table(t, dir, "data/c.parquet", "b.tar", 3, 0)
	table(t, dir, "rejects/a.parquet", "a.tar", 9, 0) // no table of embeddings
	table(t, dir, "_plan/a.parquet", "a.tar", 9, 0)
	open := func(width int) (*Teacher, error) { return OpenTeacher(ctx, dir, width) }
	teacher, err := open(3)
	if err != nil {
		t.Fatal(err)
	}
	defer teacher.Close()
	for range 2 {
		got, err := teacher.Take(ctx, []place{{"b.tar", 0}, {"a.tar", 5}, {"a.tar", 0}})
		if err != nil || fmt.Sprint(got) != "[[3 0 0] [2 5 0] [1 0 0]]" {
			t.Errorf("%v, %v", got, err)
		}
	}
	if _, err := teacher.Take(ctx, []place{{"b.tar", 0}, {"b.tar", 7}, {"c.tar", 1}}); err == nil || !strings.Contains(err.Error(), "2 of 3 pictures") || !strings.Contains(err.Error(), `"b.tar", row 7`) {
		t.Errorf("missing: %v", err)
	}
	if _, err := open(4); err == nil || !strings.Contains(err.Error(), "3 numbers") {
		t.Errorf("another width: %v", err)
	}
	before, err := teacher.Digest(ctx)
	if err != nil {
		t.Fatal(err)
	}
	table(t, dir, "data/d.parquet", "a.tar", 1, 2)
	doubled, err := open(3)
	if err != nil {
		t.Fatal(err)
	}
	defer doubled.Close()
	if _, err := doubled.Take(ctx, []place{{"a.tar", 2}}); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("doubled: %v", err)
	}
	if after, err := doubled.Digest(ctx); err != nil || after == before {
		t.Errorf("another table, the same digest: %v", err)
	}
	if _, err := OpenTeacher(ctx, filepath.Join(dir, "rejects"), 3); err != nil {
		t.Errorf("a folder that is named is read: %v", err)
	}
}
