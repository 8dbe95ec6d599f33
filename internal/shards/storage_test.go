package shards_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/parquet-go/parquet-go"

	"sower/internal/blob"
	_ "sower/internal/blob/gcsblob"
	"sower/internal/blob/gcstest"
	"sower/internal/shards"
	"sower/internal/shards/shardtest"
)

// parquetWithoutBounds writes row groups of 60 rows as other writers do: without copies of whole images as bounds of pages.
func parquetWithoutBounds(t *testing.T, rows []shardtest.HuggingFaceRow) []byte {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[shardtest.HuggingFaceRow](&b, parquet.MaxRowsPerRowGroup(60), parquet.SkipPageBounds("image", "bytes"), parquet.SkipPageStatistics("image", "bytes"))
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestObjectStoreRanges holds reading from an object store to what it costs: ranges are asked for, not whole files, and bytes
// that are read in order come by few requests.
func TestObjectStoreRanges(t *testing.T) {
	s := gcstest.New(t, "b")
	noise := func(seed uint64, n int) []byte {
		p := make([]byte, n)
		for i, rng := 0, rand.New(rand.NewPCG(seed, 1)); i < n; i++ {
			p[i] = byte(rng.Uint32())
		}
		return p
	}
	const rows, size = 240, 100 << 10 // 24 MB
	var samples []shardtest.Sample
	var table []shardtest.HuggingFaceRow
	for i := range rows {
		image := noise(uint64(i), size)
		samples = append(samples, shardtest.Captioned(fmt.Sprintf("%05d", i), image, "caption"))
		table = append(table, shardtest.HuggingFace(image, "x.jpg", "caption", 1))
	}
	for _, c := range []struct {
		name string
		data []byte
		// Splitting a tar means to pass over all of it, since only its headers say where samples begin. Of a table, the footer is enough.
		splitRequests int
		splitBytes    int64
		readRequests  int // of a range
	}{
		{"x.tar", shardtest.Tar(samples...), 20, 25 << 20, 16},
		{"x.parquet", parquetWithoutBounds(t, table), 2, 600 << 10, 9},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := blob.OpenBucket(t.Context(), "gs://b")
			if err != nil {
				t.Fatal(err)
			}
			if err := b.WriteAll(t.Context(), c.name, c.data); err != nil {
				t.Fatal(err)
			}
			in, err := shards.Resolve(t.Context(), []string{"gs://b/" + c.name}, "")
			if err != nil {
				t.Fatal(err)
			}
			s.Reset()
			var ranges []shards.Range
			for r, err := range in.Ranges(t.Context(), &shards.Options{}, 6_000_000) {
				if err != nil {
					t.Fatal(err)
				}
				ranges = append(ranges, r)
			}
			if n := s.Counts().B; n > c.splitRequests || s.Served() > c.splitBytes {
				t.Errorf("splitting took %d requests for %d bytes of %d, want at most %d for %d", n, s.Served(), len(c.data), c.splitRequests, c.splitBytes)
			}
			if len(ranges) < 4 {
				t.Fatalf("%d ranges", len(ranges))
			}
			for i, r := range ranges {
				s.Reset()
				n := 0
				for p, err := range shards.Read(t.Context(), &shards.Options{Root: in.Root}, r) {
					if err != nil || p.Reject != nil || len(p.Image) != size {
						t.Fatalf("row %d: %v, %v, %d bytes", p.Row, err, p.Reject, len(p.Image))
					}
					n++
				}
				t.Logf("range %d: %d rows, %d bytes, by %d requests for %d bytes", i, n, r.Bytes, s.Counts().B, s.Served())
				if b := s.Counts().B; b > c.readRequests || s.Served() > r.Bytes*5/4+1<<20 {
					t.Errorf("range %d of %d bytes took %d requests for %d bytes, want at most %d", i, r.Bytes, b, s.Served(), c.readRequests)
				}
			}
		})
	}
}

// TestRangesInOrder splits many sources at once: they come in order, errors where they belong, and an end is heard.
func TestRangesInOrder(t *testing.T) {
	files, in := map[string][]byte{}, &shards.Input{}
	for i := range 100 {
		name := fmt.Sprintf("%03d.tar", i)
		files[name] = shardtest.Tar(shardtest.Captioned("k", shardtest.JPEG(8, 8, uint32(i)), "c"))
		in.Sources = append(in.Sources, shards.InputSource{Source: shards.Source{Name: name, Size: int64(len(files[name]))}, Format: "webdataset"})
	}
	in.Root = shardtest.Store(t, files)
	var names []string
	for r, err := range in.Ranges(t.Context(), &shards.Options{}, 100) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, r.Source.Name)
	}
	if len(names) != 100 || !slices.IsSorted(names) {
		t.Errorf("%d ranges, sorted %v", len(names), slices.IsSorted(names))
	}
	in.Sources[60].Size++ // not what the store has: an error, after the ranges before it
	n := 0
	var failed error
	for _, err := range in.Ranges(t.Context(), &shards.Options{}, 100) {
		if failed = err; err == nil {
			n++
		}
	}
	if n != 60 || failed == nil {
		t.Errorf("%d ranges before %v, want 60 before an error", n, failed)
	}
	for range in.Ranges(t.Context(), &shards.Options{}, 100) {
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, err := range in.Ranges(ctx, &shards.Options{}, 100) {
		failed = err
		cancel()
	}
	if !errors.Is(failed, context.Canceled) {
		t.Errorf("cancelled on the way: got %v", failed)
	}
}
