package faulttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"sower/internal/blob"
	"sower/internal/blob/driver"
	"sower/internal/blob/readahead"
	"sower/internal/blob/wire"
)

// Store is a stand-in of an object store, with an empty bucket, behind its door.
type Store struct {
	*Door
	// URL is the bucket's.
	URL string
	// Uploads counts uploads in parts that were begun and are neither done nor aborted; nil for stores that forget them by themselves.
	Uploads func() int
}

// Harness is how the suite comes to stores.
type Harness struct {
	// New starts a store for a test.
	New func(t *testing.T) Store
	// More are cases that only this store has.
	More []Case
}

// Case breaks requests of one kind in one way.
type Case struct {
	Name  string
	Match func(*Request) bool
	Fault Fault
}

// Content is n bytes that look random.
func Content(seed byte, n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

// Kinds of requests.
func Uploads(r *Request) bool   { return r.Upload }
func Reads(r *Request) bool     { return r.Read }
func Stats(r *Request) bool     { return r.Stat }
func Lists(r *Request) bool     { return r.List }
func Deletions(r *Request) bool { return r.Method == http.MethodDelete }
func All(*Request) bool         { return true }

var cases = []Case{
	{"refused upload", Uploads, Unavailable},
	{"too many uploads", Uploads, TooMany},
	{"reset upload", Uploads, Reset},
	{"upload's answer lost", Uploads, Lose},
	{"upload's answer lost behind a 503", Uploads, LoseBehind503},
	{"upload's answer cut", Uploads, Cut},
	{"refused read", Reads, Unavailable},
	{"reset read", Reads, Reset},
	{"read cut in mid-body", Reads, Cut},
	{"silent read", Reads, Silent},
	{"read without an answer", Reads, Mute},
	{"upload without an answer", Uploads, Mute},
	{"listing without an answer", Lists, Mute},
	{"refused stat", Stats, Unavailable},
	{"reset listing", Lists, Reset},
	{"cut listing", Lists, Cut},
	{"refused listing", Lists, TooMany},
	{"refused deletion", Deletions, Unavailable},
	{"deletion's answer lost", Deletions, Lose},
}

// Run runs the suite: what every driver of an object store does when its service fails.
func Run(t *testing.T, h Harness) {
	for _, c := range slices.Concat(cases, h.More) {
		t.Run(c.Name, func(t *testing.T) { testCase(t, h.New(t), c) })
	}
	for name, run := range map[string]func(*testing.T, Store){"dead service": testDead, "corrupted reads": testCorrupted, "replaced while read": testReplaced,
		"mixed faults": testMixed, "abort of a large upload": testAbort, "open errors": testOpenErrors} {
		t.Run(name, func(t *testing.T) { run(t, h.New(t)) })
	}
}

func (s Store) bucket(t *testing.T, folder string) *blob.Bucket {
	t.Helper()
	b, err := blob.OpenBucket(t.Context(), s.URL+folder)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// testCase breaks two requests and wants the right outcome, one version of each object, and the trouble counted.
func testCase(t *testing.T, s Store, c Case) {
	ctx, b, most := t.Context(), s.bucket(t, "/out"), int64(4)
	if strings.Contains(c.Name, "silent") || strings.Contains(c.Name, "without an answer") {
		silence := wire.Silence
		wire.Silence = 500 * time.Millisecond
		t.Cleanup(func() { wire.Silence = silence })
		most = 20 // a busy machine can be silent by itself
	}
	before := blob.Trouble()
	s.Inject(Once(2, c.Match, c.Fault))
	for name, p := range map[string][]byte{"small": Content(1, 5000), "big": Content(2, 10<<20)} {
		writeAndRead(t, b, name, p)
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
	if after := blob.Trouble().Sub(before); after.Retries < 1 || after.Lost <= 0 || after.Retries > most {
		t.Errorf("%+v: want about 2 retries and the time they took", after)
	}
	// An upload whose beginning was done and not heard of has a twin that Sweep ends.
	if _, err := b.Sweep(ctx, ""); err != nil || s.Uploads != nil && s.Uploads() != 0 {
		t.Errorf("uploads are left after a sweep (%v)", err)
	}
}

func writeAndRead(t *testing.T, b *blob.Bucket, name string, p []byte) {
	t.Helper()
	ctx := t.Context()
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
	defer r.Close()
	if got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size())); err != nil || !bytes.Equal(got, p) {
		t.Errorf("read %s in order: %d bytes, %v", name, len(got), err)
	}
	if sum, ok := r.(driver.Summed).CRC32C(); !ok || sum != readahead.Sum(p) {
		t.Errorf("%s: checksum %08x, %v", name, sum, ok)
	}
	if again, err := b.Stat(ctx, name); err != nil || again.Tag != i.Tag {
		t.Errorf("%s was written twice: %s, then %s (%v)", name, i.Tag, again.Tag, err)
	}
}

// testDead wants failures that end.
func testDead(t *testing.T, s Store) {
	// An answer of which not a byte comes is no progress.
	nothing := func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(http.StatusPartialContent)
		panic(http.ErrAbortHandler)
	}
	b, p := s.bucket(t, ""), Content(3, 900<<10)
	for _, c := range []Case{
		{"always refuses", All, Unavailable},
		{"always resets", All, Reset},
		{"never ends an answer", Reads, nothing},
		{"refuses uploads", Uploads, Unavailable},
	} {
		s.Inject(nil)
		if err := b.WriteAll(t.Context(), "x", p); err != nil {
			t.Fatal(err)
		}
		s.Reset()
		s.Inject(Once(1<<30, c.Match, c.Fault))
		_, read := b.ReadAll(t.Context(), "x", 1<<30)
		write := b.WriteAll(t.Context(), c.Name, p) // where the same bytes are already, refusals do not matter
		if get, put := c.Match(&Request{Request: &http.Request{}, Read: true}), c.Match(&Request{Request: &http.Request{}, Upload: true}); (read != nil) != get || (write != nil) != put {
			t.Errorf("%s: read %v, write %v", c.Name, read, write)
		}
		if n := s.Counts().Injected; n < wire.Attempts || n > 4*wire.Attempts {
			t.Errorf("%s: %d attempts, want %d to %d", c.Name, n, wire.Attempts, 4*wire.Attempts)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if _, err := b.Stat(ctx, "x"); c.Match(&Request{Request: &http.Request{}, Stat: true}) && err == nil {
			t.Errorf("%s: stat: got no error", c.Name)
		}
		cancel()
	}
}

func testCorrupted(t *testing.T, s Store) {
	b := s.bucket(t, "")
	for name, size := range map[string]int{"small": 1000, "middle": 3 << 20, "big": 12 << 20} {
		if err := b.WriteAll(t.Context(), name, Content(4, size)); err != nil {
			t.Fatal(err)
		}
		s.Inject(Once(1, Reads, Corrupt))
		if _, err := b.ReadAll(t.Context(), name, 1<<30); !errors.Is(err, readahead.ErrChecksum) {
			t.Errorf("%s: got %v, want ErrChecksum", name, err)
		}
		s.Inject(nil)
	}
}

func testReplaced(t *testing.T, s Store) {
	b := s.bucket(t, "")
	for _, deleted := range []bool{false, true} {
		if err := b.WriteAll(t.Context(), "x", Content(5, 6<<20)); err != nil {
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
			err = b.WriteAll(t.Context(), "x", Content(6, 6<<20))
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.ReadAt(make([]byte, 10), 5<<20); !errors.Is(err, driver.ErrReplaced) {
			t.Errorf("deleted %v: got %v, want ErrReplaced", deleted, err)
		}
	}
}

// testMixed writes and reads many objects, from several goroutines, while a fifth of all requests goes wrong.
func testMixed(t *testing.T, s Store) {
	s.Inject(Mixed(7, 5))
	b := s.bucket(t, "/out")
	var group errgroup.Group
	for g := range 4 {
		group.Go(func() error {
			for i := range 12 {
				size := 1000 << i
				if i == 11 {
					size = 17 << 20
				}
				p, name := Content(byte(g*20+i), size), fmt.Sprintf("%d/%02d", g, i)
				if err := b.WriteAll(t.Context(), name, p); err != nil {
					t.Errorf("write %s: %v", name, err)
				}
				if got, err := b.ReadAll(t.Context(), name, 1<<30); err != nil || !bytes.Equal(got, p) {
					t.Errorf("read %s: %d of %d bytes, %v", name, len(got), len(p), err)
				}
			}
			return nil
		})
	}
	group.Wait()
	n := 0
	for _, err := range b.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 48 {
		t.Errorf("%d objects, want 48", n)
	}
	if c := s.Counts(); c.Injected < 20 {
		t.Errorf("%d faults, too few to tell", c.Injected)
	}
}

func testAbort(t *testing.T, s Store) {
	b := s.bucket(t, "")
	w, err := b.Create(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(Content(1, 30<<20)); err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(); err != nil {
		t.Error(err)
	}
	time.Sleep(20 * time.Millisecond)
	if _, err := b.Stat(t.Context(), "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after abort: got %v", err)
	}
	if s.Uploads != nil && s.Uploads() != 0 {
		t.Error("the upload is still there")
	}
}

func testOpenErrors(t *testing.T, s Store) {
	scheme, _, _ := strings.Cut(s.URL, "://")
	for _, path := range []string{"", "/x", "b/../x", "b/a//c"} {
		if _, err := blob.OpenBucket(t.Context(), scheme+"://"+path); err == nil {
			t.Errorf("%s://%s: got no error", scheme, path)
		}
	}
	nowhere := Store{URL: scheme + "://nowhere"}.bucket(t, "/x")
	for _, err := range nowhere.List(t.Context(), "") {
		if err == nil || !strings.Contains(err.Error(), `no bucket "nowhere"`) {
			t.Errorf("list in a bucket that is not there: got %v", err)
		}
	}
	if err := nowhere.WriteAll(t.Context(), "y", nil); err == nil {
		t.Error("write to a bucket that is not there: got no error")
	}
}
