package corpus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"sower/internal/blob"
	_ "sower/internal/blob/all"
	"sower/schemas"
)

func store(t *testing.T) *blob.Bucket {
	t.Helper()
	b, err := blob.OpenBucket(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func ptr[T any](v T) *T { return &v }

func codeRow(i int) schemas.CodeRow {
	r := schemas.CodeRow{Key: fmt.Sprintf("%09d", i), Source: "a.tar", Row: int64(i), Codes: make([]uint16, 32), Width: int32(i), Height: 7}
	for j := range r.Codes {
		r.Codes[j] = uint16((i*31 + j*977) % 8192)
		r.SHA256[j] = byte(i + j)
	}
	if i%3 == 0 {
		r.Text = ptr(fmt.Sprintf("caption %d", i))
	}
	if i%4 == 0 {
		r.Metadata = ptr(fmt.Sprintf(`{"n":%d}`, i))
	}
	if i%5 == 0 {
		r.Document, r.Position = ptr("doc"), int32(i%7)
	}
	return r
}

var id = schemas.Identity{Tokenizer: "seed2", Weights: "abc", ImageSize: 224, Codes: 8192, CodesPerImage: 32, Resize: "bicubic", Precision: "float32",
	NumericsVersion: 1, Options: map[string]string{"min_side": "10"}, Plan: "p"}

// write commits a unit of n rows and a third as many rejects.
func write(t *testing.T, b *blob.Bucket, id schemas.Identity, unit, units, n int) UnitInfo {
	t.Helper()
	w, err := CreateUnit[schemas.CodeRow](context.Background(), b, id, unit, units, "key")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for i := range n {
		if err := w.Row(codeRow(i), 100); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			if err := w.Reject(schemas.RejectRow{Key: "k", Source: "a.tar", Row: int64(i), Reason: string(schemas.Truncated), Detail: "d", Retryable: true}); err != nil {
				t.Fatal(err)
			}
		}
	}
	info, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestUnitRoundTrip(t *testing.T) {
	ctx, b := context.Background(), store(t)
	for _, n := range []int{0, 1, 255, 256, 257, 1000} {
		info := write(t, b, id, n, 2000, n)
		if info.Counts.Encoded != int64(n) || info.Counts.In != int64(n+(n+2)/3) {
			t.Errorf("%d rows: counts %+v", n, info.Counts)
		}
		i := 0
		err := Read(ctx, b, info.Files[1].Path, func(r schemas.CodeRow) error {
			if want := codeRow(i); !reflect.DeepEqual(r, want) {
				return fmt.Errorf("row %d: %+v, want %+v", i, r, want)
			}
			i++
			return nil
		})
		if err != nil || i != n {
			t.Errorf("read %d of %d rows: %v", i, n, err)
		}
		done, err := Committed(ctx, b, id, CodeLayout, n, 2000)
		if err != nil || done == nil || !reflect.DeepEqual(done.Files, info.Files) || !reflect.DeepEqual(done.Counts, info.Counts) || !done.Resumed {
			t.Errorf("committed: %+v, %v, want %+v", done, err, info)
		}
	}
}

func TestSameRowsSameBytes(t *testing.T) {
	a, b := write(t, store(t), id, 3, 10, 700), write(t, store(t), id, 3, 10, 700)
	if !reflect.DeepEqual(a, b) {
		t.Errorf("%+v\n%+v", a, b)
	}
}

func TestUnfinishedUnitIsNotDone(t *testing.T) {
	ctx, b := context.Background(), store(t)
	if done, err := Committed(ctx, b, id, CodeLayout, 0, 4); done != nil || err != nil {
		t.Errorf("nothing there: %+v, %v", done, err)
	}
	info := write(t, b, id, 0, 4, 50)
	rejects, data := info.Files[0].Path, info.Files[1].Path
	whole, err := b.ReadAll(ctx, data, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for name, bytes := range map[string][]byte{"cut short": whole[:len(whole)/2], "empty": {}, "no Parquet": []byte("<html>")} {
		if err := b.WriteAll(ctx, data, bytes); err != nil {
			t.Fatal(err)
		}
		if done, err := Committed(ctx, b, id, CodeLayout, 0, 4); done != nil || err != nil {
			t.Errorf("%s: %+v, %v", name, done, err)
		}
	}
	if err := b.WriteAll(ctx, data, whole); err != nil {
		t.Fatal(err)
	}
	if done, err := Committed(ctx, b, id, CodeLayout, 0, 4); done == nil || err != nil {
		t.Errorf("whole again: %+v, %v", done, err)
	}
	if err := b.Delete(ctx, rejects); err != nil {
		t.Fatal(err)
	}
	if done, err := Committed(ctx, b, id, CodeLayout, 0, 4); done != nil || err != nil {
		t.Errorf("without rejects: %+v, %v", done, err)
	}
}

func TestOtherIdentityIsRefused(t *testing.T) {
	ctx, b := context.Background(), store(t)
	write(t, b, id, 0, 1, 5)
	for field, change := range map[string]func(*schemas.Identity){
		"weights":          func(i *schemas.Identity) { i.Weights = "def" },
		"resize":           func(i *schemas.Identity) { i.Resize = "bilinear" },
		"options.min_side": func(i *schemas.Identity) { i.Options = map[string]string{"min_side": "20"} },
		"plan":             func(i *schemas.Identity) { i.Plan = "q" },
		"numerics_version": func(i *schemas.Identity) { i.NumericsVersion++ },
	} {
		other := id
		change(&other)
		_, err := Committed(ctx, b, other, CodeLayout, 0, 1)
		if !errors.Is(err, ErrMixed) || !strings.Contains(err.Error(), "\n    "+field+": ") {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// TestSchema pins what foreign readers see: names, physical layout, dictionary, bloom filter, page index.
func TestSchema(t *testing.T) {
	b := store(t)
	info := write(t, b, id, 0, 1, 300)
	r, err := b.Open(context.Background(), info.Files[1].Path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f, err := parquet.OpenFile(r, r.Size())
	if err != nil {
		t.Fatal(err)
	}
	want := `message CodeRow {
	required binary key (STRING);
	required binary source (STRING);
	required int64 row (INT(64,true));
	optional binary document (STRING);
	required int32 position (INT(32,true));
	optional binary text (STRING);
	required group codes (LIST) {
		repeated group list {
			required int32 element (INT(16,false));
		}
	}
	required int32 width (INT(32,true));
	required int32 height (INT(32,true));
	required fixed_len_byte_array(32) sha256;
	optional binary metadata (STRING);
}`
	if got := f.Schema().String(); got != want {
		t.Errorf("schema\n%s\nwant\n%s", got, want)
	}
	chunks := f.RowGroups()[0].ColumnChunks()
	if chunks[0].BloomFilter() == nil {
		t.Error("no bloom filter on key")
	}
	if index, err := chunks[0].ColumnIndex(); err != nil || index == nil {
		t.Errorf("no page index: %v", err)
	}
	if got := f.Metadata().KeyValueMetadata; len(got) != 2 {
		t.Errorf("footer %v", got)
	}
}

func TestRowGroupsAreBounded(t *testing.T) {
	b := store(t)
	p, err := Create[schemas.RejectRow](context.Background(), b, "x.parquet", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Abort()
	for i := range 1000 {
		if err := p.Append(schemas.RejectRow{Row: int64(i)}, maxGroupBytes/100); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Commit(); err != nil {
		t.Fatal(err)
	}
	r, err := b.Open(context.Background(), "x.parquet")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f, err := parquet.OpenFile(r, r.Size())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(f.RowGroups()); n < 9 || n > 11 {
		t.Errorf("%d row groups for ten times the bound", n)
	}
}

// TestLookup finds the rows of every number, in files of many pages and groups, and reads little of them.
func TestLookup(t *testing.T) {
	ctx, b := context.Background(), store(t)
	p, err := Create[schemas.PlanRow](ctx, b, "plan.parquet", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Abort()
	const units = 3000
	count := func(u int) int { return 1 + u%97%13 + 300*(u%1000/999) }
	for u := range units {
		if u == 1234 {
			continue
		}
		for k := range count(u) {
			if err := p.Append(schemas.PlanRow{Unit: int32(u), Source: fmt.Sprintf("%d.tar", u), FirstRow: int64(k)}, maxGroupBytes/7000); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := p.Commit(); err != nil {
		t.Fatal(err)
	}
	for u := range units + 1 {
		if u%41 != 0 && u != 1234 && u%1000 < 998 {
			continue
		}
		rows, err := Lookup(ctx, b, "plan.parquet", int32(u), func(r *schemas.PlanRow) int32 { return r.Unit })
		want := count(u)
		if u == 1234 || u == units {
			want = 0
		}
		if err != nil || len(rows) != want {
			t.Fatalf("unit %d: %d rows, want %d (%v)", u, len(rows), want, err)
		}
		for k, r := range rows {
			if int(r.Unit) != u || r.FirstRow != int64(k) || r.Source != fmt.Sprintf("%d.tar", u) {
				t.Fatalf("unit %d: row %d is %+v", u, k, r)
			}
		}
	}
}

func TestPartName(t *testing.T) {
	for n, want := range map[int]string{1: "data/part-00000-of-00001.parquet", 99999: "data/part-00000-of-99999.parquet", 1234567: "data/part-0000000-of-1234567.parquet"} {
		if got := PartName("data", "part", 0, n); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestAbortLeavesNothing(t *testing.T) {
	b := store(t)
	w, err := CreateUnit[schemas.CodeRow](context.Background(), b, id, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Row(codeRow(1), 1); err != nil {
		t.Fatal(err)
	}
	w.Abort()
	for info, err := range b.List(context.Background(), "") {
		t.Errorf("%v %v", info, err)
	}
	if n, err := b.Sweep(context.Background(), ""); n != 0 || err != nil {
		t.Errorf("%d temporary files, %v", n, err)
	}
}

var _ io.Writer = (*sink)(nil)
