package pairs

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"sower/internal/pixels"
	"sower/internal/shards"
	"sower/internal/shards/shardtest"
	"sower/schemas"
)

// reader reads a tar of n pictures, of which every fifth is damaged.
func reader(t *testing.T, n int) (*Reader, []shards.Range) {
	t.Helper()
	var samples []shardtest.Sample
	for i := range n {
		image := shardtest.JPEG(20+i%9, 16, uint32(i))
		if i%5 == 3 {
			image = image[:len(image)/2]
		}
		samples = append(samples, shardtest.Captioned(fmt.Sprintf("%04d", i), image, fmt.Sprint("picture ", i)))
	}
	b := shardtest.Store(t, map[string][]byte{"a.tar": shardtest.Tar(samples...)})
	info, err := b.Stat(context.Background(), "a.tar")
	if err != nil {
		t.Fatal(err)
	}
	r := &Reader{Size: 8, Filter: pixels.Bicubic, Options: &shards.Options{Root: b}}
	return r, []shards.Range{{Source: shards.Source{Name: "a.tar", Size: info.Size}, Format: "webdataset", End: -1, Bytes: info.Size}}
}

// TestEach gives rows in the order of the input, whichever core decoded them, and says why one has no picture.
func TestEach(t *testing.T) {
	const n = 300
	r, ranges := reader(t, n)
	i := 0
	err := r.Each(context.Background(), ranges, func(row *Row) error {
		if want := fmt.Sprintf("%04d", i); row.Key != want || row.Row != int64(i) || *row.Text != fmt.Sprint("picture ", i) {
			t.Errorf("row %d: key %q, row %d", i, row.Key, row.Row)
		}
		if bad := i%5 == 3; bad != (row.Fault != nil) || bad != (row.RGB == nil) || !bad && len(row.RGB) != 3*8*8 {
			t.Errorf("row %d: %d bytes, fault %+v", i, len(row.RGB), row.Fault)
		} else if bad {
			if reject := row.Reject(); reject.Reason != string(schemas.Truncated) || reject.Key != row.Key || reject.Detail == "" {
				t.Errorf("row %d: %+v", i, reject)
			}
		}
		i++
		return nil
	})
	if err != nil || i != n {
		t.Errorf("%d rows: %v", i, err)
	}
}

// TestEachEnds with the error of the one who takes rows, or with the context.
func TestEachEnds(t *testing.T) {
	r, ranges := reader(t, 300)
	enough, seen := errors.New("enough"), 0
	take := func(*Row) error {
		if seen++; seen == 100 {
			return enough
		}
		return nil
	}
	if err := r.Each(context.Background(), ranges, take); !errors.Is(err, enough) || seen != 100 {
		t.Errorf("%d rows: %v", seen, err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	seen = 0
	err := r.Each(ctx, ranges, func(*Row) error {
		if seen++; seen == 50 {
			cancel(enough)
		}
		return nil
	})
	if !errors.Is(err, enough) || seen > 60 {
		t.Errorf("%d rows: %v", seen, err)
	}
}
