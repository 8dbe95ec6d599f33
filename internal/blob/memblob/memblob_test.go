package memblob_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"sower/internal/blob"
	"sower/internal/blob/drivertest"
	"sower/internal/blob/memblob"
)

func TestConformance(t *testing.T) {
	drivertest.Run(t, drivertest.Harness{Open: func(*testing.T) *blob.Bucket { return memblob.New() }})
}

// runs tells apart the stores of several runs of a test, which the process keeps.
var runs atomic.Int64

func TestConformanceInFolder(t *testing.T) {
	drivertest.Run(t, drivertest.Harness{Open: func(t *testing.T) *blob.Bucket {
		b, err := blob.OpenBucket(t.Context(), fmt.Sprintf("mem://%s-%d/some/folder", t.Name()[len("TestConformanceInFolder/"):], runs.Add(1)))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}})
}

func TestNamedStoresAreShared(t *testing.T) {
	ctx := t.Context()
	whole, err := blob.OpenBucket(ctx, "mem://shared")
	if err != nil {
		t.Fatal(err)
	}
	part, err := blob.OpenBucket(ctx, "mem://shared/in/")
	if err != nil {
		t.Fatal(err)
	}
	if err := part.WriteAll(ctx, "x", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if p, err := whole.ReadAll(ctx, "in/x", 9); string(p) != "1" || err != nil {
		t.Errorf("through the whole store: got %q, %v", p, err)
	}
	other, err := blob.OpenBucket(ctx, "mem://other")
	if err != nil {
		t.Fatal(err)
	}
	for i := range other.List(ctx, "") {
		t.Errorf("another store shows %q", i.Name)
	}
	for _, bad := range []string{"mem://", "mem:///x", "mem://a/../b"} {
		if _, err := blob.OpenBucket(ctx, bad); err == nil {
			t.Errorf("open %s: got no error", bad)
		}
	}
}
