package launch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"sower/internal/blob"
	_ "sower/internal/blob/all"
	"sower/internal/plan"
	"sower/schemas"
)

// TestWhole finds a file that is missing or of another size, in folders that are listed and in those of few files.
func TestWhole(t *testing.T) {
	ctx := context.Background()
	b, err := blob.OpenBucket(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	m := &schemas.Manifest{}
	for i := range leastListed + 10 {
		m.Files = append(m.Files, schemas.File{Path: fmt.Sprintf("data/%d", i), Bytes: int64(i)})
	}
	m.Files = append(m.Files, schemas.File{Path: "rejects/few", Bytes: 3}, schemas.File{Path: "top.json", Bytes: 2})
	for _, f := range m.Files {
		if err := b.WriteAll(ctx, f.Path, make([]byte, f.Bytes)); err != nil {
			t.Fatal(err)
		}
	}
	if err := Whole(ctx, b, m); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"data/7", "rejects/few", "top.json"} {
		if err := b.WriteAll(ctx, name, make([]byte, 99)); err != nil {
			t.Fatal(err)
		}
		if err := Whole(ctx, b, m); !errors.Is(err, ErrNotWhole) || !strings.Contains(err.Error(), name+" has 99 bytes") {
			t.Errorf("%s of another size: %v", name, err)
		}
		if err := b.Delete(ctx, name); err != nil {
			t.Fatal(err)
		}
		if err := Whole(ctx, b, m); !errors.Is(err, ErrNotWhole) || !strings.Contains(err.Error(), name+" is missing") {
			t.Errorf("%s missing: %v", name, err)
		}
		for _, f := range m.Files {
			if f.Path == name {
				if err := b.WriteAll(ctx, name, make([]byte, f.Bytes)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// TestPrepareBesideRetry checks that a retry which waits to be put in place is not run over, and that overwriting takes it along.
func TestPrepareBesideRetry(t *testing.T) {
	ctx := context.Background()
	b, err := blob.OpenBucket(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	p, err := plan.Dealt([]schemas.PlanRow{{Source: "a", Size: 1}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	id := schemas.Identity{Plan: p.Digest}
	if _, err := Prepare(ctx, b, p, id, false); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{schemas.ManifestName, "data/part-00000-of-00001.parquet"} {
		if err := b.WriteAll(ctx, RetryFolder+"/"+name, []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Prepare(ctx, b, p, id, false); err == nil || !strings.Contains(err.Error(), "sower retry --codes") {
		t.Errorf("%v", err)
	}
	if _, err := Prepare(ctx, b, p, id, true); err != nil {
		t.Errorf("overwriting: %v", err)
	}
	for info, err := range b.List(ctx, RetryFolder+"/") {
		t.Errorf("%s is left (%v)", info.Name, err)
	}
}
