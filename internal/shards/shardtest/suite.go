package shardtest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"sower/internal/blob"
	"sower/internal/shards"
	"sower/schemas"
)

// Want is a row as a test expects it.
type Want struct {
	Key      string
	Image    []byte
	Text     string         // "" expects none, or an empty one
	Metadata string         // compared when not ""
	Reject   schemas.Reason // "" expects an image, or a document
	Detail   string         // part of the reject's detail
	// Elements expects a document as a whole, as Elements writes it; Position is compared with a document's images. Key
	// is the document's, too.
	Elements string
	Position int32
}

// Elements is a document in one line: its kind, and each text in quotes and image by position, behind its role.
func Elements(d *shards.Document) string {
	s := d.Kind
	for _, e := range d.Elements {
		s += " "
		if e.Role != nil {
			s += *e.Role + ":"
		}
		if e.Text != nil {
			s += fmt.Sprintf("%q", *e.Text)
		}
		if e.Image != nil {
			s += fmt.Sprint(*e.Image)
		}
	}
	return s
}

// Case is one source (an object of Store) and the rows that reading it must give.
type Case struct {
	Name    string
	Objects map[string][]byte
	Source  string // default: the only object
	Options shards.Options
	Want    []Want
}

func (c *Case) source(t testing.TB, b *blob.Bucket) shards.Source {
	t.Helper()
	name := c.Source
	if name == "" {
		for n := range c.Objects {
			name = n
		}
	}
	return Source(t, b, name)
}

// Source describes an object of b as a plan does.
func Source(t testing.TB, b *blob.Bucket, name string) shards.Source {
	t.Helper()
	i, err := b.Stat(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return shards.Source{Name: name, Size: i.Size, Tag: i.Tag}
}

// Read splits a source at target, reads all ranges in order and returns the rows. It fails the test on an error, and
// where ranges or rows do not add up.
func Read(t testing.TB, f shards.Format, o *shards.Options, s shards.Source, target int64) []shards.Pair {
	t.Helper()
	ranges, err := f.Split(t.Context(), o, s, target)
	if err != nil {
		t.Fatalf("split at %d: %v", target, err)
	}
	if len(ranges) == 0 {
		t.Fatalf("split at %d: no ranges", target)
	}
	var rows []shards.Pair
	var total, row int64
	at := ranges[0].Start
	for i, r := range ranges {
		if r.Source != s || r.Format != f.Name() {
			t.Errorf("split at %d: range %d is of %v, %q", target, i, r.Source, r.Format)
		}
		if r.Start != at || r.End == -1 && i != len(ranges)-1 || r.End != -1 && r.End < r.Start {
			t.Errorf("split at %d: range %d is [%d, %d), want it to start at %d", target, i, r.Start, r.End, at)
		}
		at, total = r.End, total+r.Bytes
		if r.FirstRow != row {
			t.Errorf("split at %d: range %d starts at row %d, want %d", target, i, r.FirstRow, row)
		}
		n := int64(0)
		var images []shards.Pair // of the document at hand
		for p, err := range f.Read(t.Context(), o, r) {
			if err != nil {
				t.Fatalf("read range %d at target %d: %v", i, target, err)
			}
			if p.Row != row || p.Source != s.Name {
				t.Errorf("target %d: got row %d of %q, want %d of %q", target, p.Row, p.Source, row, s.Name)
			}
			checkPair(t, p)
			rows = append(rows, p)
			if isImage := checkDocument(t, shards.HasDocuments(f.Name()), p, images); isImage {
				images = append(images, p)
				continue
			}
			images = nil
			row++
			n++
		}
		if len(images) > 0 {
			t.Errorf("target %d: the last document of range %d has images and no end", target, i)
		}
		if r.Rows >= 0 && r.Rows != n {
			t.Errorf("split at %d: range %d says %d rows, reading gave %d", target, i, r.Rows, n)
		}
	}
	if total != s.Size {
		t.Errorf("split at %d: ranges stand for %d bytes, the source has %d", target, total, s.Size)
	}
	return rows
}

// checkPair checks what holds for every row of every format.
func checkPair(t testing.TB, p shards.Pair) {
	t.Helper()
	texts := []string{p.Key, p.Metadata}
	if p.Text != nil {
		texts = append(texts, *p.Text)
	}
	if p.Reject != nil {
		texts = append(texts, p.Reject.Detail)
		if p.Image != nil || p.Reject.Detail == "" || !slices.Contains(schemas.Reasons, p.Reject.Reason) {
			t.Errorf("row %d: bad reject %+v with %d image bytes", p.Row, p.Reject, len(p.Image))
		}
	} else if len(p.Image) == 0 && p.Doc == nil {
		t.Errorf("row %d: neither image nor reject", p.Row)
	}
	for _, s := range texts {
		if !utf8.ValidString(s) {
			t.Errorf("row %d: not UTF-8: %q", p.Row, s)
		}
	}
}

// checkDocument checks what holds for every Pair of a document, images being those of it before. It reports whether p is
// one more image of it.
func checkDocument(t testing.TB, documents bool, p shards.Pair, images []shards.Pair) (isImage bool) {
	t.Helper()
	if !documents {
		if p.Document != nil || p.Doc != nil || p.Position != 0 {
			t.Errorf("row %d: a document in a format of pairs", p.Row)
		}
		return false
	}
	if p.Document == nil || *p.Document != p.Key || p.Text != nil || len(images) > 0 && *images[0].Document != *p.Document {
		t.Fatalf("row %d: document %v, key %q, text %v", p.Row, p.Document, p.Key, p.Text)
	}
	if p.Position != shards.DocumentPosition {
		if p.Position != int32(len(images)) || p.Doc != nil {
			t.Errorf("row %d: position %d after %d images, document %v", p.Row, p.Position, len(images), p.Doc)
		}
		return true
	}
	if p.Reject != nil {
		if len(images) > 0 || p.Doc != nil {
			t.Errorf("row %d: rejected by the reader after %d images", p.Row, len(images))
		}
		return false
	}
	if p.Doc == nil || len(p.Image) > 0 || len(p.Doc.Elements) == 0 {
		t.Fatalf("row %d: no document, or an image in it", p.Row)
	}
	used := make([]int, len(images))
	for _, e := range p.Doc.Elements {
		switch {
		case e.Type == schemas.ElementText && e.Text != nil && e.Image == nil && utf8.ValidString(*e.Text):
		case e.Type == schemas.ElementImage && e.Image != nil && e.Text == nil && int(*e.Image) < len(images) && *e.Image >= 0:
			used[*e.Image]++
		default:
			t.Errorf("row %d: element %+v", p.Row, e)
		}
	}
	for i, n := range used {
		if n != 1 {
			t.Errorf("row %d: image %d stands %d times in the document", p.Row, i, n)
		}
	}
	return false
}

// Describe is a row in one line, for comparing.
func Describe(p shards.Pair) string {
	s := fmt.Sprintf("%d %q image=%x", p.Row, p.Key, p.Image)
	if p.Text != nil {
		s += fmt.Sprintf(" text=%q", *p.Text)
	}
	s += " " + p.Metadata
	if p.Document != nil {
		s += fmt.Sprintf(" document=%q %d", *p.Document, p.Position)
	}
	if p.Doc != nil {
		s += " " + Elements(p.Doc)
	}
	if p.Reject != nil {
		s += fmt.Sprintf(" reject=%s %q %v", p.Reject.Reason, p.Reject.Detail, p.Reject.Retryable)
	}
	return s
}

// Same reports where two readings of one source differ.
func Same(t testing.TB, what string, got, want []shards.Pair) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d rows, want %d", what, len(got), len(want))
		return
	}
	for i := range got {
		if g, w := Describe(got[i]), Describe(want[i]); g != w {
			t.Errorf("%s:\n got %.300s\nwant %.300s", what, g, w)
			return
		}
	}
}

// Run runs the suite: every case is read whole and split at several sizes, early ends and failing stores included.
func Run(t *testing.T, f shards.Format, cases []Case) {
	if g, err := shards.Lookup(f.Name()); err != nil || g != f {
		t.Errorf("Lookup(%q): got %v, %v", f.Name(), g, err)
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			b := Store(t, c.Objects)
			s := c.source(t, b)
			o := c.Options
			o.Root = b
			rows := Read(t, f, &o, s, math.MaxInt64)
			c.compare(t, rows)
			for _, target := range []int64{1, 100, 1000, 5000} {
				Same(t, fmt.Sprintf("split at %d", target), Read(t, f, &o, s, target), rows)
			}
			testEarlyEnd(t, f, &o, s, len(rows))
			testCancel(t, f, &o, s, len(rows))
			testFlaky(t, f, o, s, rows)
			testChanged(t, f, &o, s)
		})
	}
	t.Run("missing source", func(t *testing.T) {
		o := shards.Options{Root: Store(t, nil)}
		rows := Read(t, f, &o, shards.Source{Name: "gone", Size: 10}, 1)
		if len(rows) != 1 || rows[0].Reject == nil || !rows[0].Reject.Retryable {
			t.Errorf("got %v, want one reject that can be retried", rows)
		}
	})
}

func (c *Case) compare(t *testing.T, rows []shards.Pair) {
	t.Helper()
	for i, p := range rows {
		if i >= len(c.Want) {
			t.Errorf("row %d too many: %.300s", i, Describe(p))
			continue
		}
		w := c.Want[i]
		text, reason, detail := "", schemas.Reason(""), ""
		if p.Text != nil {
			text = *p.Text
		}
		if p.Reject != nil {
			reason, detail = p.Reject.Reason, p.Reject.Detail
		}
		elements := ""
		if p.Doc != nil {
			elements = Elements(p.Doc)
		}
		position := w.Position
		if p.Position == shards.DocumentPosition {
			position = p.Position
		}
		if elements != w.Elements || p.Position != position {
			t.Errorf("row %d:\n got %.600s\nwant %s at %d", i, Describe(p), w.Elements, w.Position)
		}
		if p.Key != w.Key || string(p.Image) != string(w.Image) || text != w.Text || reason != w.Reject ||
			!strings.Contains(detail, w.Detail) || w.Metadata != "" && p.Metadata != w.Metadata {
			t.Errorf("row %d:\n got %.600s\nwant %q image=%.60x text=%q %s %s %q", i, Describe(p), w.Key, w.Image, w.Text, w.Metadata, w.Reject, w.Detail)
		}
	}
	if len(rows) < len(c.Want) {
		t.Errorf("%d rows, want %d", len(rows), len(c.Want))
	}
}

func whole(t testing.TB, f shards.Format, o *shards.Options, s shards.Source) shards.Range {
	t.Helper()
	ranges, err := f.Split(t.Context(), o, s, math.MaxInt64)
	if err != nil || len(ranges) != 1 {
		t.Fatalf("split: got %d ranges, %v; want one", len(ranges), err)
	}
	return ranges[0]
}

func testEarlyEnd(t *testing.T, f shards.Format, o *shards.Options, s shards.Source, rows int) {
	r := whole(t, f, o, s)
	for stop := 1; stop <= min(rows, 3); stop++ {
		n := 0
		for range f.Read(t.Context(), o, r) {
			if n++; n == stop {
				break
			}
		}
	}
}

func testCancel(t *testing.T, f shards.Format, o *shards.Options, s shards.Source, rows int) {
	r := whole(t, f, o, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var last error
	n := 0
	for _, err := range f.Read(ctx, o, r) {
		last = err
		n++
	}
	if !errors.Is(last, context.Canceled) || n != 1 {
		t.Errorf("read with a cancelled context: yielded %d times, last error %v", n, last)
	}
	if rows > 2 {
		ctx, cancel = context.WithCancel(t.Context())
		defer cancel()
		for _, err := range f.Read(ctx, o, r) {
			last = err
			cancel()
		}
		if !errors.Is(last, context.Canceled) {
			t.Errorf("cancelled on the way: last error %v", last)
		}
	}
}

// testFlaky lets the store fail at each of the first reads: rows before the failure are the right ones, and the
// failure is an error and never a reject.
func testFlaky(t *testing.T, f shards.Format, o shards.Options, s shards.Source, want []shards.Pair) {
	r := whole(t, f, &o, s)
	healthy := o.Root
	for n := range int64(40) {
		o.Root = Flaky(healthy, n)
		var got []shards.Pair
		var failed error
		for p, err := range f.Read(t.Context(), &o, r) {
			if failed != nil {
				t.Fatalf("after %d reads: yields on after the error", n)
			}
			if failed = err; err == nil {
				got = append(got, p)
			}
		}
		if failed == nil {
			Same(t, "store that did not fail", got, want)
			return
		}
		if !errors.Is(failed, ErrStore) {
			t.Errorf("after %d reads: got %v, want the store's error", n, failed)
		}
		if len(got) > len(want) {
			t.Fatalf("after %d reads: %d rows, want at most %d", n, len(got), len(want))
		}
		Same(t, fmt.Sprintf("store that fails after %d reads", n), got, want[:len(got)])
	}
}

// testChanged plans another size than the file has.
func testChanged(t *testing.T, f shards.Format, o *shards.Options, s shards.Source) {
	r := whole(t, f, o, s)
	r.Source.Size++
	for _, err := range f.Read(t.Context(), o, r) {
		if err == nil || !strings.Contains(err.Error(), s.Name) {
			t.Errorf("a file of another size than planned: got %v, want an error that names it", err)
		}
	}
}
