package gcsblob_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fsouza/fake-gcs-server/fakestorage"

	"sower/internal/blob"
	"sower/internal/blob/driver"
	"sower/internal/blob/faulttest"
	"sower/internal/blob/gcstest"
	"sower/internal/blob/readahead"
	"sower/internal/blob/wire"
)

func content(seed byte, n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

func uploads(r *faulttest.Request) bool   { return r.Upload }
func reads(r *faulttest.Request) bool     { return r.Read }
func stats(r *faulttest.Request) bool     { return r.Stat }
func lists(r *faulttest.Request) bool     { return r.List }
func deletions(r *faulttest.Request) bool { return r.Method == "DELETE" }
func every(r *faulttest.Request) bool     { return true }

// TestFaults breaks each kind of request in each way twice and wants the right outcome, one version of each object, and
// the trouble counted.
func TestFaults(t *testing.T) {
	small, big := content(1, 5000), content(2, 10<<20)
	for _, c := range []struct {
		name  string
		match func(*faulttest.Request) bool
		fault faulttest.Fault
	}{
		{"refused upload", uploads, faulttest.Unavailable},
		{"too many uploads", uploads, faulttest.TooMany},
		{"reset upload", uploads, faulttest.Reset},
		{"upload's answer lost", uploads, faulttest.Lose},
		{"upload's answer lost behind a 503", uploads, faulttest.LoseBehind503},
		{"upload's answer cut", uploads, faulttest.Cut},
		{"refused read", reads, faulttest.Unavailable},
		{"reset read", reads, faulttest.Reset},
		{"read cut in mid-body", reads, faulttest.Cut},
		{"silent read", reads, faulttest.Silent},
		{"read without an answer", reads, faulttest.Mute},
		{"upload without an answer", uploads, faulttest.Mute},
		{"listing without an answer", lists, faulttest.Mute},
		{"refused stat", stats, faulttest.Unavailable},
		{"cut stat", stats, faulttest.Cut},
		{"reset listing", lists, faulttest.Reset},
		{"cut listing", lists, faulttest.Cut},
		{"refused listing", lists, faulttest.TooMany},
		{"refused deletion", deletions, faulttest.Unavailable},
		{"deletion's answer lost", deletions, faulttest.Lose},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := gcstest.New(t, "b")
			ctx := t.Context()
			b := open(t, "gs://b/out")
			most := int64(4)
			if silent := strings.Contains(c.name, "silent") || strings.Contains(c.name, "without an answer"); silent {
				silence := wire.Silence
				wire.Silence = 500 * time.Millisecond
				t.Cleanup(func() { wire.Silence = silence })
				most = 20 // a busy machine can be silent by itself
			}
			before := blob.Trouble()
			s.Inject(faulttest.Once(2, c.match, c.fault))
			for name, p := range map[string][]byte{"small": small, "big": big} {
				if err := b.WriteAll(ctx, name, p); err != nil {
					t.Fatalf("write %s: %v", name, err)
				}
				i, err := b.Stat(ctx, name)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := b.ReadAll(ctx, name, 1<<30); err != nil || !bytes.Equal(got, p) {
					t.Errorf("read %s: %d bytes, %v", name, len(got), err)
				}
				r, err := b.Open(ctx, name)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size())); err != nil || !bytes.Equal(got, p) {
					t.Errorf("read %s in order: %d bytes, %v", name, len(got), err)
				}
				r.Close()
				if again, err := b.Stat(ctx, name); err != nil || again.Tag != i.Tag {
					t.Errorf("%s was written twice: generation %s, then %s (%v)", name, i.Tag, again.Tag, err)
				}
			}
			for range 3 {
				n := 0
				for _, err := range b.List(ctx, "") {
					if err != nil {
						t.Fatal(err)
					}
					n++
				}
				if n != 2 {
					t.Errorf("%d objects listed, want 2", n)
				}
			}
			for _, name := range []string{"small", "big"} {
				if err := b.Delete(ctx, name); err != nil {
					t.Error(err)
				}
				if _, err := b.Stat(ctx, name); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("deleted %s: got %v", name, err)
				}
			}
			if got := s.Counts().Injected; got != 2 {
				t.Errorf("%d faults befell, want 2: the test is not about what it says", got)
			}
			after := blob.Trouble().Sub(before)
			if after.Retries < 1 || after.Lost <= 0 || after.Retries > most {
				t.Errorf("%+v: want about 2 retries and the time they took", after)
			}
		})
	}
}

// TestDeadService wants failures that end.
func TestDeadService(t *testing.T) {
	for _, c := range []struct {
		name  string
		match func(*faulttest.Request) bool
		fault faulttest.Fault
	}{
		{"always refuses", every, faulttest.Unavailable},
		{"always resets", every, faulttest.Reset},
		{"never ends an answer", reads, faulttest.Cut},
		{"refuses uploads", uploads, faulttest.Unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := gcstest.New(t, "b")
			b := open(t, "gs://b")
			p := content(3, 900<<10)
			if err := b.WriteAll(t.Context(), "x", p); err != nil {
				t.Fatal(err)
			}
			// An answer of which not a byte comes is no progress.
			fault := c.fault
			if c.name == "never ends an answer" {
				fault = func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
					w.Header().Set("Content-Length", "100")
					w.WriteHeader(206)
					panic(http.ErrAbortHandler)
				}
			}
			s.Reset()
			s.Inject(faulttest.Once(1<<30, c.match, fault))
			failed := 0
			if _, err := b.ReadAll(t.Context(), "x", 1<<30); err != nil {
				failed++
			}
			if err := b.WriteAll(t.Context(), "y", p); err != nil {
				failed++
			}
			if failed == 0 {
				t.Error("nothing failed")
			}
			if n := s.Counts().Injected; n < wire.Attempts || n > 4*wire.Attempts {
				t.Errorf("%d attempts, want %d to %d", n, wire.Attempts, 4*wire.Attempts)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			if _, err := b.Stat(ctx, "x"); c.match(&faulttest.Request{Upload: true}) && err == nil && c.name != "refuses uploads" {
				t.Error("stat: got no error")
			}
		})
	}
}

func TestCorruptedReads(t *testing.T) {
	s := gcstest.New(t, "b")
	b := open(t, "gs://b")
	for name, size := range map[string]int{"small": 1000, "middle": 3 << 20, "big": 12 << 20} {
		if err := b.WriteAll(t.Context(), name, content(4, size)); err != nil {
			t.Fatal(err)
		}
		s.Inject(faulttest.Once(1, reads, faulttest.Corrupt))
		if _, err := b.ReadAll(t.Context(), name, 1<<30); !errors.Is(err, readahead.ErrChecksum) {
			t.Errorf("%s: got %v, want ErrChecksum", name, err)
		}
		s.Inject(nil)
	}
}

func TestReplacedWhileRead(t *testing.T) {
	gcstest.New(t, "b")
	b := open(t, "gs://b")
	for _, deleted := range []bool{false, true} {
		if err := b.WriteAll(t.Context(), "x", content(5, 6<<20)); err != nil {
			t.Fatal(err)
		}
		r, err := b.Open(t.Context(), "x")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if deleted {
			err = b.Delete(t.Context(), "x")
		} else {
			err = b.WriteAll(t.Context(), "x", content(6, 6<<20))
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.ReadAt(make([]byte, 10), 5<<20); !errors.Is(err, driver.ErrReplaced) {
			t.Errorf("deleted %v: got %v, want ErrReplaced", deleted, err)
		}
	}
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

// TestMixedFaults writes and reads many objects, from several goroutines, while a fifth of all requests goes wrong.
func TestMixedFaults(t *testing.T) {
	s := gcstest.New(t, "b")
	s.Inject(faulttest.Mixed(7, 5))
	b := open(t, "gs://b/out")
	var failed atomic.Int64
	done := make(chan bool)
	for g := range 4 {
		go func() {
			defer func() { done <- true }()
			for i := range 12 {
				p := content(byte(g*20+i), 1000<<(i%11))
				if i == 11 {
					p = content(byte(g*20+i), 17<<20)
				}
				name := fmt.Sprintf("%d/%02d", g, i)
				if err := b.WriteAll(t.Context(), name, p); err != nil {
					t.Errorf("write %s: %v", name, err)
					failed.Add(1)
				}
				if got, err := b.ReadAll(t.Context(), name, 1<<30); err != nil || !bytes.Equal(got, p) {
					t.Errorf("read %s: %d of %d bytes, %v", name, len(got), len(p), err)
				}
			}
		}()
	}
	for range 4 {
		<-done
	}
	names := map[string]int{}
	for i, err := range b.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		names[i.Name]++
	}
	if len(names) != 48 {
		t.Errorf("%d objects, want 48", len(names))
	}
	if c := s.Counts(); c.Injected < 20 {
		t.Errorf("%d faults, too few to tell", c.Injected)
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
		{"write a small object", func() error { return b.WriteAll(t.Context(), "s", content(1, 100<<10)) }, faulttest.Counts{A: 1, B: 1}},
		{"write one of 20 MiB", func() error { return b.WriteAll(t.Context(), "l", content(1, 20<<20)) }, faulttest.Counts{A: 1, B: 1, Free: 3}},
		{"read a small object", func() error { _, err := b.ReadAll(t.Context(), "s", 1<<20); return err }, faulttest.Counts{B: 1}},
		{"read one of 20 MiB", func() error { _, err := b.ReadAll(t.Context(), "l", 1<<30); return err }, faulttest.Counts{B: 2}},
		{"stat", func() error { _, err := b.Stat(t.Context(), "s"); return err }, faulttest.Counts{B: 1}},
		{"delete", func() error { return b.Delete(t.Context(), "s") }, faulttest.Counts{Free: 1}},
		{"abort", func() error {
			w, err := b.Create(t.Context(), "z")
			if err != nil {
				return err
			}
			w.Write(content(1, 1000))
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

func TestAbortOfALargeUpload(t *testing.T) {
	gcstest.New(t, "b")
	b := open(t, "gs://b")
	w, err := b.Create(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content(1, 30<<20)); err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(); err != nil {
		t.Error(err)
	}
	time.Sleep(20 * time.Millisecond)
	if _, err := b.Stat(t.Context(), "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after abort: got %v", err)
	}
}

func TestOpenErrors(t *testing.T) {
	gcstest.New(t, "b")
	for _, url := range []string{"gs://", "gs:///x", "gs://b/../x", "gs://b/a//c"} {
		if _, err := blob.OpenBucket(t.Context(), url); err == nil {
			t.Errorf("%s: got no error", url)
		}
	}
	b := open(t, "gs://nowhere/x")
	for _, err := range b.List(t.Context(), "") {
		if err == nil || !strings.Contains(err.Error(), `no bucket "nowhere"`) {
			t.Errorf("list in a bucket that is not there: got %v", err)
		}
	}
	if err := b.WriteAll(t.Context(), "y", nil); err == nil {
		t.Error("write to a bucket that is not there: got no error")
	}
}
