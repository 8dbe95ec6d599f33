package plan

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"testing"

	"sower/internal/blob"
	_ "sower/internal/blob/all"
	"sower/internal/shards"
)

func ranges(list ...shards.Range) iter.Seq2[shards.Range, error] {
	return func(yield func(shards.Range, error) bool) {
		for _, r := range list {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func file(name string, bytes, rows int64) shards.Range {
	return shards.Range{Source: shards.Source{Name: name, Size: bytes, Tag: "t1"}, Format: "webdataset", End: bytes, Bytes: bytes, Rows: rows}
}

func build(t *testing.T, unit int64, list ...shards.Range) *Plan {
	t.Helper()
	p, err := Build(ranges(list...), unit, map[string]string{"a": "1"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestUnitBytes(t *testing.T) {
	for _, c := range []struct {
		input int64
		gpu   bool
		want  int64
	}{{0, false, 16 << 20}, {1 << 40, false, 32 << 20}, {1<<40 + 12345, false, 32 << 20}, {1 << 40, true, 256 << 20}, {100 << 40, true, 4 << 30}, {20 << 40, true, 512 << 20}, {1 << 60, false, 4 << 30}} {
		if got := UnitBytes(c.input, c.gpu); got != c.want {
			t.Errorf("%d bytes, GPU %v: %d, want %d", c.input, c.gpu, got, c.want)
		}
	}
}

// TestManyRows checks that tables of very many known rows are cut into larger units, and that more units than runners take are
// refused with the way out.
func TestManyRows(t *testing.T) {
	list := func(n int, bytes, rows int64) (out []shards.Range) {
		for i := range n {
			out = append(out, file(fmt.Sprintf("%06d", i), bytes, rows))
		}
		return out
	}
	for _, c := range []struct {
		ranges int
		rows   int64
		want   int // units
	}{{1000, 10_000, 500}, {100_000, 10_000, 50_000}, {100_100, 10_000, 25_025}, {100_000, 50_000, 33_334}} {
		if p := build(t, 1<<40, list(c.ranges, 1, c.rows)...); p.Units != c.want {
			t.Errorf("%d ranges of %d rows: %d units, want %d", c.ranges, c.rows, p.Units, c.want)
		}
	}
	if _, err := Build(ranges(list(250_001, 100, -1)...), 100, nil); err == nil || !strings.Contains(err.Error(), "--unit-bytes 200 ") {
		t.Errorf("%v", err)
	}
}

func TestUnits(t *testing.T) {
	p := build(t, 100, file("a", 60, 6), file("b", 40, 4), file("c", 1, 1), file("d", 500, 50), file("e", 10, -1))
	var units []int32
	for _, r := range p.Rows {
		units = append(units, r.Unit)
	}
	if want := []int32{0, 0, 1, 2, 3}; !reflect.DeepEqual(units, want) || p.Units != 4 {
		t.Errorf("units %v of %d, want %v", units, p.Units, want)
	}
	if p.Exact || p.Known != 61 || p.Bytes != 611 {
		t.Errorf("%+v", p)
	}
	many := build(t, 1<<40, file("a", 1, maxUnitRows), file("b", 1, 1))
	if many.Units != 2 {
		t.Errorf("%d units for more than %d rows", many.Units, maxUnitRows)
	}
	if _, err := Build(ranges(), 100, nil); err == nil {
		t.Error("an empty input has a plan")
	}
	failing := func(yield func(shards.Range, error) bool) { yield(shards.Range{}, errors.New("disk")) }
	if _, err := Build(failing, 100, nil); err == nil {
		t.Error("a failing input has a plan")
	}
}

func TestDigest(t *testing.T) {
	base := build(t, 100, file("a", 60, 6), file("b", 60, 6)).Digest
	again := file("b", 60, 6)
	again.Source.Tag = "another time"
	if got := build(t, 100, file("a", 60, 6), again).Digest; got != base {
		t.Error("a modification time changes the digest")
	}
	for what, p := range map[string]*Plan{
		"size": build(t, 100, file("a", 61, 6), file("b", 60, 6)),
		"name": build(t, 100, file("a", 60, 6), file("c", 60, 6)),
		"cut":  build(t, 1000, file("a", 60, 6), file("b", 60, 6)),
	} {
		if p.Digest == base {
			t.Errorf("%s does not change the digest", what)
		}
	}
	other, err := Build(ranges(file("a", 60, 6), file("b", 60, 6)), 100, map[string]string{"a": "2"})
	if err != nil || other.Digest == base {
		t.Errorf("options do not change the digest (%v)", err)
	}
}

func TestFile(t *testing.T) {
	ctx := context.Background()
	b, err := blob.OpenBucket(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if p, err := Read(ctx, b); p != nil || err != nil {
		t.Fatalf("no plan: %v, %v", p, err)
	}
	var list []shards.Range
	for i := range 5000 {
		list = append(list, file(fmt.Sprintf("%05d.tar", i), int64(50+i%3), 5))
	}
	p := build(t, 160, list...)
	if err := p.Write(ctx, b); err != nil {
		t.Fatal(err)
	}
	got, err := Read(ctx, b)
	if err != nil || !reflect.DeepEqual(got, p) {
		t.Errorf("read back another plan: %v", err)
	}
	n := 0
	for u := range p.Units {
		if u%97 != 0 && u != p.Units-1 {
			continue
		}
		rows, err := ReadUnit(ctx, b, p.Name(), u)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if r.Unit != int32(u) {
				t.Errorf("unit %d has a row of unit %d", u, r.Unit)
			}
			n++
		}
		if len(rows) != 3 && u != p.Units-1 {
			t.Errorf("unit %d has %d rows", u, len(rows))
		}
	}
	if n == 0 {
		t.Error("no rows")
	}
	if _, err := ReadUnit(ctx, b, p.Name(), p.Units); err == nil {
		t.Error("a unit past the end was found")
	}
}

func TestChanges(t *testing.T) {
	old := build(t, 100, file("a", 60, 6), file("b", 60, 6), file("c", 60, 6))
	touched := file("c", 60, 6)
	touched.Source.Tag = "t2"
	now := build(t, 100, file("b", 61, 6), touched, file("d", 5, 1))
	want := []string{"a is gone", "b: size 60 → 61 bytes", "c was modified (t1 → t2)", "d is new"}
	if got := Changes(old, now); !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := Changes(old, old); got != nil {
		t.Errorf("no change: %q", got)
	}
	cut := build(t, 1000, file("a", 60, 6), file("b", 60, 6), file("c", 60, 6))
	if got := Changes(old, cut); len(got) != 1 || !strings.Contains(got[0], "1 units instead of 3") {
		t.Errorf("cut: %q", got)
	}
}
