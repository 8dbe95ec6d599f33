package gcsblob_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/fsouza/fake-gcs-server/fakestorage"

	"sower/internal/blob/faulttest"
	"sower/internal/blob/gcstest"
)

// TestFaults runs the suite of object stores. What is known about an object comes as JSON here, which can break off.
func TestFaults(t *testing.T) {
	faulttest.Run(t, faulttest.Harness{More: []faulttest.Case{{Name: "cut stat", Match: faulttest.Stats, Fault: faulttest.Cut}}, New: func(t *testing.T) faulttest.Store {
		s := gcstest.New(t, "b")
		return faulttest.Store{Door: &s.Door, URL: "gs://b"}
	}})
}

// TestStaleListing asks by name for what a listing does not have.
func TestStaleListing(t *testing.T) {
	s := gcstest.New(t, "b")
	b := open(t, "gs://b/run")
	for _, n := range []string{"data/part-0", "data/part-1"} {
		if err := b.WriteAll(t.Context(), n, []byte(n)); err != nil {
			t.Fatal(err)
		}
	}
	s.Inject(func(*faulttest.Request) faulttest.Fault {
		return faulttest.Stale(func(name string) bool { return strings.HasSuffix(name, "part-1") })
	})
	n := 0
	for range b.List(t.Context(), "") {
		n++
	}
	if n != 1 {
		t.Fatalf("%d listed, want 1: the listing is not stale", n)
	}
	if _, err := b.Stat(t.Context(), "data/part-1"); err != nil {
		t.Error(err)
	}
	if p, err := b.ReadAll(t.Context(), "data/part-1", 100); string(p) != "data/part-1" || err != nil {
		t.Errorf("got %q, %v", p, err)
	}
}

// listing serves listings of names, in pages, as the service does; the stand-in takes its time with thousands.
func listing(names []string) faulttest.Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		q := r.URL.Query()
		items, next := []map[string]string{}, ""
		for _, n := range names {
			if !strings.HasPrefix(n, q.Get("prefix")) || n < max(q.Get("startOffset"), q.Get("pageToken")) {
				continue
			}
			if fmt.Sprint(len(items)) == q.Get("maxResults") {
				next = n
				break
			}
			items = append(items, map[string]string{"name": n, "size": "7", "generation": "1", "updated": "2026-01-02T03:04:05Z"})
		}
		json.NewEncoder(w).Encode(map[string]any{"kind": "storage#objects", "items": items, "nextPageToken": next})
	}
}

// TestWalkSkips passes over a folder of many objects without listing all of them.
func TestWalkSkips(t *testing.T) {
	s := gcstest.New(t, "b")
	names := []string{"in/", "in/a.tar", "in/images.tar", "in/images/", "in/z.tar", "other/x"}
	for i := range 6500 {
		names = append(names, fmt.Sprintf("in/images/%05d.jpg", i))
	}
	slices.Sort(names)
	s.Inject(func(*faulttest.Request) faulttest.Fault { return listing(names) })
	b := open(t, "gs://b")
	s.Reset()
	var found []string
	for i, err := range b.Walk(t.Context(), "in/", func(string) bool { return false }) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, i.Name)
	}
	if got, want := strings.Join(found, " "), "in/a.tar in/images.tar in/z.tar"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if n := s.Counts().A; n != 2 {
		t.Errorf("%d listings, want 2", n)
	}
	s.Reset()
	n := 0
	for _, err := range b.List(t.Context(), "in/") {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 6503 || s.Counts().A != 7 {
		t.Errorf("%d objects by %d listings, want 6503 by 7", n, s.Counts().A)
	}
}

// TestRequests counts what operations cost.
func TestRequests(t *testing.T) {
	s := gcstest.New(t, "b")
	b := open(t, "gs://b")
	for _, c := range []struct {
		name string
		do   func() error
		want faulttest.Counts
	}{
		{"write a small object", func() error { return b.WriteAll(t.Context(), "s", faulttest.Content(1, 100<<10)) }, faulttest.Counts{A: 1, B: 1}},
		{"write one of 20 MiB", func() error { return b.WriteAll(t.Context(), "l", faulttest.Content(1, 20<<20)) }, faulttest.Counts{A: 1, B: 1, Free: 3}},
		{"read a small object", func() error { _, err := b.ReadAll(t.Context(), "s", 1<<20); return err }, faulttest.Counts{B: 1}},
		{"read one of 20 MiB", func() error { _, err := b.ReadAll(t.Context(), "l", 1<<30); return err }, faulttest.Counts{B: 2}},
		{"stat", func() error { _, err := b.Stat(t.Context(), "s"); return err }, faulttest.Counts{B: 1}},
		{"delete", func() error { return b.Delete(t.Context(), "s") }, faulttest.Counts{Free: 1}},
		{"abort", func() error {
			w, err := b.Create(t.Context(), "z")
			if err != nil {
				return err
			}
			w.Write(faulttest.Content(1, 1000))
			return w.Abort()
		}, faulttest.Counts{B: 1}},
	} {
		s.Reset()
		if err := c.do(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := s.Counts(); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// TestPackedObjects reads an object with Content-Encoding gzip as it is stored.
func TestPackedObjects(t *testing.T) {
	s := gcstest.New(t, "b")
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write(bytes.Repeat([]byte("text "), 1000))
	w.Close()
	s.Fake.CreateObject(fakestorage.Object{ObjectAttrs: fakestorage.ObjectAttrs{BucketName: "b", Name: "x.jsonl", ContentEncoding: "gzip"}, Content: z.Bytes()})
	if p, err := open(t, "gs://b").ReadAll(t.Context(), "x.jsonl", 1<<20); err != nil || !bytes.Equal(p, z.Bytes()) {
		t.Errorf("got %d bytes, %v, want the %d that are stored", len(p), err, z.Len())
	}
}
