// Package drivertest is the suite that every storage driver passes; it defines what package driver's comments promise.
package drivertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"sower/internal/blob"
	"sower/internal/blob/driver"
)

// Harness makes what the suite needs. Open returns a fresh, empty bucket each time it is called.
type Harness struct {
	Open func(t *testing.T) *blob.Bucket
	// Conditional drivers replace only what was there at Create: of writers that race with different bytes some get
	// driver.ErrConflict. Of the others the last one wins.
	Conditional bool
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, *blob.Bucket)
	}{
		{"ListOrder", testListOrder},
		{"ListPrefix", testListPrefix},
		{"Walk", testWalk},
		{"ListEmpty", testListEmpty},
		{"RangedReads", testRangedReads},
		{"ConcurrentReads", testConcurrentReads},
		{"Stat", testStat},
		{"Commit", testCommit},
		{"Abort", testAbort},
		{"Overwrite", testOverwrite},
		{"Delete", testDelete},
		{"NotExist", testNotExist},
		{"UnsafeNames", testUnsafeNames},
		{"OddNames", testOddNames},
		{"ConcurrentWriters", func(t *testing.T, b *blob.Bucket) { testConcurrentWriters(t, b, h.Conditional) }},
		{"Conflict", func(t *testing.T, b *blob.Bucket) { testConflict(t, b, h.Conditional) }},
		{"Sweep", testSweep},
		{"BigObject", testBigObject},
		{"EmptyObject", testEmptyObject},
		{"Cancel", testCancel},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := h.Open(t)
			t.Cleanup(func() {
				if err := b.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			c.run(t, b)
		})
	}
}

func put(t *testing.T, b *blob.Bucket, names ...string) {
	t.Helper()
	for _, n := range names {
		if err := b.WriteAll(t.Context(), n, []byte("content of "+n)); err != nil {
			t.Fatal(err)
		}
	}
}

func list(t *testing.T, b *blob.Bucket, prefix string) []string {
	t.Helper()
	names := []string{}
	for i, err := range b.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, i.Name)
	}
	return names
}

func want(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// testListOrder uses names whose byte order differs from that of a walk through sorted folders.
func testListOrder(t *testing.T, b *blob.Bucket) {
	names := []string{"a/b", "a.b", "a-b", "a/c/d", "a/c.d", "a0", "Z", "é", "z/1", "z/10", "z/2", "a/b.c"}
	put(t, b, names...)
	slices.Sort(names)
	want(t, "list", list(t, b, ""), names)
}

func testListPrefix(t *testing.T, b *blob.Bucket) {
	put(t, b, "data/part-1", "data/part-2", "data/x/part-1", "data2/part-1", "date")
	want(t, "folder", list(t, b, "data/"), []string{"data/part-1", "data/part-2", "data/x/part-1"})
	want(t, "part of a folder's name", list(t, b, "data"), []string{"data/part-1", "data/part-2", "data/x/part-1", "data2/part-1"})
	want(t, "part of a file's name", list(t, b, "data/part-"), []string{"data/part-1", "data/part-2"})
	want(t, "whole name", list(t, b, "date"), []string{"date"})
	want(t, "a file is no folder", list(t, b, "date/"), []string{})
	want(t, "nothing", list(t, b, "nope/x"), []string{})
	want(t, "outside", list(t, b, "../"), []string{})
	for range b.List(t.Context(), "") {
		break // stopping early must not panic
	}
}

func testWalk(t *testing.T, b *blob.Bucket) {
	put(t, b, "a/1", "a/b/2", "a/b/c/3", "a/d/4", "e/5", "f")
	walk := func(prefix string, enter func(string) bool) []string {
		names := []string{}
		for i, err := range b.Walk(t.Context(), prefix, enter) {
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, i.Name)
		}
		return names
	}
	want(t, "all", walk("", nil), []string{"a/1", "a/b/2", "a/b/c/3", "a/d/4", "e/5", "f"})
	want(t, "top", walk("", func(string) bool { return false }), []string{"f"})
	want(t, "one level", walk("a/", func(string) bool { return false }), []string{"a/1"})
	want(t, "less a/b", walk("", func(f string) bool { return f != "a/b/" }), []string{"a/1", "a/d/4", "e/5", "f"})
}

func testListEmpty(t *testing.T, b *blob.Bucket) {
	want(t, "empty bucket", list(t, b, ""), []string{})
	if n, err := b.Sweep(t.Context(), ""); n != 0 || err != nil {
		t.Errorf("sweep of an empty bucket: got %d, %v", n, err)
	}
}

func open(t *testing.T, b *blob.Bucket, name string) blob.Reader {
	t.Helper()
	r, err := b.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func testRangedReads(t *testing.T, b *blob.Bucket) {
	if err := b.WriteAll(t.Context(), "digits", []byte("0123456789")); err != nil {
		t.Fatal(err)
	}
	r := open(t, b, "digits")
	if r.Size() != 10 {
		t.Errorf("size: got %d, want 10", r.Size())
	}
	for _, c := range []struct {
		off  int64
		n    int
		want string
		eof  bool
	}{
		{0, 3, "012", false}, {4, 2, "45", false}, {8, 2, "89", false}, {8, 5, "89", true}, {10, 1, "", true}, {99, 4, "", true},
	} {
		p := make([]byte, c.n)
		n, err := r.ReadAt(p, c.off)
		if string(p[:n]) != c.want || c.eof && err != io.EOF || !c.eof && err != nil && err != io.EOF {
			t.Errorf("ReadAt(%d bytes, %d): got %q, %v; want %q, end of file %v", c.n, c.off, p[:n], err, c.want, c.eof)
		}
	}
	if _, err := r.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("ReadAt at -1: got no error")
	}
	if p, err := b.ReadAll(t.Context(), "digits", 10); string(p) != "0123456789" || err != nil {
		t.Errorf("ReadAll: got %q, %v", p, err)
	}
	if _, err := b.ReadAll(t.Context(), "digits", 9); err == nil {
		t.Error("ReadAll above its limit: got no error")
	}
}

func testConcurrentReads(t *testing.T, b *blob.Bucket) {
	p := make([]byte, 1<<16)
	for i := range p {
		p[i] = byte(i % 251)
	}
	if err := b.WriteAll(t.Context(), "x", p); err != nil {
		t.Fatal(err)
	}
	r := open(t, b, "x")
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			for range 100 {
				off := rng.Int64N(1 << 16)
				q := make([]byte, rng.Int64N(1<<16-off)+1)
				if n, err := r.ReadAt(q, off); err != nil && err != io.EOF || !bytes.Equal(q[:n], p[off:off+int64(n)]) {
					t.Errorf("ReadAt(%d, %d): wrong bytes or %v", len(q), off, err)
				}
			}
		})
	}
	wg.Wait()
}

func testStat(t *testing.T, b *blob.Bucket) {
	put(t, b, "a/b")
	i, err := b.Stat(t.Context(), "a/b")
	if err != nil || i.Name != "a/b" || i.Size != int64(len("content of a/b")) || i.Tag == "" || i.ModTime.IsZero() {
		t.Errorf("stat: got %+v, %v", i, err)
	}
	for l := range b.List(t.Context(), "") {
		if l.Name != i.Name || l.Size != i.Size || l.Tag != i.Tag {
			t.Errorf("list says %+v, stat %+v", l, i)
		}
	}
}

func testCommit(t *testing.T, b *blob.Bucket) {
	w, err := b.Create(t.Context(), "dir/x")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if n, err := w.Write([]byte("abc")); n != 3 || err != nil {
			t.Fatalf("write: got %d, %v", n, err)
		}
	}
	if _, err := b.Stat(t.Context(), "dir/x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before commit: got %v, want fs.ErrNotExist", err)
	}
	want(t, "before commit", list(t, b, ""), []string{})
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	want(t, "after commit", list(t, b, ""), []string{"dir/x"})
	if p, err := b.ReadAll(t.Context(), "dir/x", 100); string(p) != "abcabcabc" || err != nil {
		t.Errorf("after commit: got %q, %v", p, err)
	}
	if err := w.Abort(); err != nil {
		t.Errorf("abort after commit: got %v, want a no-op", err)
	}
	if err := w.Commit(); err == nil {
		t.Error("second commit: got no error")
	}
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("write after commit: got no error")
	}
	want(t, "at the end", list(t, b, ""), []string{"dir/x"})
}

func testAbort(t *testing.T, b *blob.Bucket) {
	w, err := b.Create(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("abc"))
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(); err != nil {
		t.Errorf("second abort: got %v", err)
	}
	if err := w.Commit(); err == nil {
		t.Error("commit after abort: got no error")
	}
	want(t, "after abort", list(t, b, ""), []string{})
	if n, err := b.Sweep(t.Context(), ""); n != 0 || err != nil {
		t.Errorf("sweep after abort: got %d, %v; abort left something", n, err)
	}
}

// testOverwrite replaces an object while readers look: they see the old bytes or the new, never a mix.
func testOverwrite(t *testing.T, b *blob.Bucket) {
	old, new := bytes.Repeat([]byte("o"), 1<<16), bytes.Repeat([]byte("n"), 1<<15)
	if err := b.WriteAll(t.Context(), "x", old); err != nil {
		t.Fatal(err)
	}
	before, err := b.Stat(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	r := open(t, b, "x")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			p, err := b.ReadAll(t.Context(), "x", 1<<20)
			if err != nil || !bytes.Equal(p, old) && !bytes.Equal(p, new) {
				t.Errorf("read during overwrite: %d bytes, %v", len(p), err)
				return
			}
		}
	})
	for range 20 {
		for _, p := range [][]byte{new, old, new} {
			if err := b.WriteAll(t.Context(), "x", p); err != nil {
				t.Error(err)
			}
		}
	}
	close(stop)
	wg.Wait()
	after, err := b.Stat(t.Context(), "x")
	if err != nil || after.Tag == before.Tag {
		t.Errorf("tag after overwrite: got %q, %v; want another than before", after.Tag, err)
	}
	p := make([]byte, r.Size())
	if _, err := r.ReadAt(p, 0); err != nil && err != io.EOF || !bytes.Equal(p, old) {
		t.Errorf("a reader opened before the overwrite does not see the old bytes (%v)", err)
	}
}

func testDelete(t *testing.T, b *blob.Bucket) {
	put(t, b, "a/b", "a/c")
	for range 2 {
		if err := b.Delete(t.Context(), "a/b"); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
	if err := b.Delete(t.Context(), "never/was"); err != nil {
		t.Errorf("delete of nothing: %v", err)
	}
	if err := b.Delete(t.Context(), "a"); err != nil {
		t.Errorf("delete of a folder's name: %v", err)
	}
	want(t, "after delete", list(t, b, ""), []string{"a/c"})
}

func testNotExist(t *testing.T, b *blob.Bucket) {
	put(t, b, "dir/file")
	long := strings.Repeat("x", 5000)
	for _, name := range []string{"nope", "dir", "dir/file/below", "dir/nope", long, "dir/" + long + "/y"} {
		if _, err := b.Open(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("open %.20s: got %v, want fs.ErrNotExist", name, err)
		} else if !strings.Contains(err.Error(), name) {
			t.Errorf("open %.20s: the error does not name it: %v", name, err)
		}
		if _, err := b.Stat(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("stat %.20s: got %v, want fs.ErrNotExist", name, err)
		}
		if _, err := b.ReadAll(t.Context(), name, 1); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("read %.20s: got %v, want fs.ErrNotExist", name, err)
		}
	}
}

func testUnsafeNames(t *testing.T, b *blob.Bucket) {
	for _, name := range []string{"", ".", "..", "../x", "/x", "a/../../x", "a//b", "a/", "./a", "a/./b", `a\b`, `..\x`, "a\x00b"} {
		if _, err := b.Open(t.Context(), name); !errors.Is(err, blob.ErrUnsafeName) {
			t.Errorf("open %q: got %v, want ErrUnsafeName", name, err)
		}
		if _, err := b.Create(t.Context(), name); !errors.Is(err, blob.ErrUnsafeName) {
			t.Errorf("create %q: got %v, want ErrUnsafeName", name, err)
		}
		if _, err := b.Stat(t.Context(), name); !errors.Is(err, blob.ErrUnsafeName) {
			t.Errorf("stat %q: got %v, want ErrUnsafeName", name, err)
		}
		if err := b.Delete(t.Context(), name); !errors.Is(err, blob.ErrUnsafeName) {
			t.Errorf("delete %q: got %v, want ErrUnsafeName", name, err)
		}
	}
}

func testOddNames(t *testing.T, b *blob.Bucket) {
	names := []string{" ", "a b", "a%20b", "..a", "a..", "...", ".hidden", "*", "[x]", "{a,b}", "日本", "x:y", "a/..b/c",
		strings.Repeat("n", 240), "a\nb", "-rf", "~"}
	put(t, b, names...)
	slices.Sort(names)
	want(t, "list", list(t, b, ""), names)
	for _, n := range names {
		if p, err := b.ReadAll(t.Context(), n, 1000); string(p) != "content of "+n || err != nil {
			t.Errorf("read %q: got %q, %v", n, p, err)
		}
	}
}

// testConcurrentWriters lets writers of one name and of many race: the shared name ends as one of them, whole.
func testConcurrentWriters(t *testing.T, b *blob.Bucket, conditional bool) {
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			p := bytes.Repeat([]byte{byte('a' + g)}, 10000+g)
			if err := b.WriteAll(t.Context(), "deep/er/shared", p); err != nil && !(conditional && errors.Is(err, driver.ErrConflict)) {
				t.Error(err)
			}
			if err := b.WriteAll(t.Context(), fmt.Sprintf("deep/%02d/own", g), p); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(list(t, b, "deep/")); n != 17 {
		t.Errorf("%d objects, want 17", n)
	}
	p, err := b.ReadAll(t.Context(), "deep/er/shared", 1<<20)
	if err != nil || len(p) != 10000+int(p[0]-'a') || len(bytes.Trim(p, string(p[:1]))) != 0 {
		t.Errorf("shared object: %d bytes, %v; not the whole of one writer", len(p), err)
	}
}

// testConflict lets a second writer commit while a first one is at work: equal bytes are no conflict.
func testConflict(t *testing.T, b *blob.Bucket, conditional bool) {
	for _, c := range []struct {
		name, before, first, second string
		conflict                    bool
	}{
		{"new", "", "one", "two", true}, {"new-equal", "", "one", "one", false}, {"old", "zero", "one", "two", true},
		{"old-equal", "zero", "one", "one", false}, {"new-empty", "", "", "two", true}, {"same-length", "zero", "abc", "abd", true},
	} {
		if c.before != "" {
			if err := b.WriteAll(t.Context(), c.name, []byte(c.before)); err != nil {
				t.Fatal(err)
			}
		}
		w, err := b.Create(t.Context(), c.name)
		if err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(c.first))
		if err := b.WriteAll(t.Context(), c.name, []byte(c.second)); err != nil {
			t.Fatal(err)
		}
		err = w.Commit()
		want := c.first
		if conditional && c.conflict {
			want = c.second
			if !errors.Is(err, driver.ErrConflict) {
				t.Errorf("%s: got %v, want ErrConflict", c.name, err)
			}
		} else if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if p, err := b.ReadAll(t.Context(), c.name, 100); string(p) != want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", c.name, p, err, want)
		}
	}
}

// testSweep leaves writers open, as a killed process does.
func testSweep(t *testing.T, b *blob.Bucket) {
	put(t, b, "data/part-0", "data/.hidden", "rejects/part-0")
	for _, n := range []string{"data/part-0", "data/part-1", "rejects/part-1", "data/sub/x"} {
		w, err := b.Create(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		w.Write([]byte("partial"))
	}
	all := []string{"data/.hidden", "data/part-0", "rejects/part-0"}
	want(t, "with open writers", list(t, b, ""), all)
	first, err := b.Sweep(t.Context(), "data/part-")
	if err != nil {
		t.Error(err)
	}
	rest, err := b.Sweep(t.Context(), "")
	if err != nil {
		t.Error(err)
	}
	if first+rest != 0 && (first != 2 || rest != 2) {
		t.Errorf("sweep removed %d below data/part- and %d others, want 2 and 2 (or nothing to do)", first, rest)
	}
	if again, err := b.Sweep(t.Context(), ""); again != 0 || err != nil {
		t.Errorf("second sweep: got %d, %v", again, err)
	}
	want(t, "after sweep", list(t, b, ""), all)
	if p, err := b.ReadAll(t.Context(), "data/part-0", 100); string(p) != "content of data/part-0" || err != nil {
		t.Errorf("after sweep: got %q, %v", p, err)
	}
}

func testBigObject(t *testing.T, b *blob.Bucket) {
	const size = 24<<20 + 5
	rng := rand.NewChaCha8([32]byte{1})
	w, err := b.Create(t.Context(), "big")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if n, err := io.CopyN(w, rng, size); n != size || err != nil {
		t.Fatalf("write: got %d, %v", n, err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	r := open(t, b, "big")
	if r.Size() != size {
		t.Fatalf("size: got %d, want %d", r.Size(), size)
	}
	got, err := io.ReadAll(io.NewSectionReader(r, 0, size))
	if err != nil {
		t.Fatal(err)
	}
	wantBytes := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(wantBytes)
	if !bytes.Equal(got, wantBytes) {
		t.Error("bytes differ")
	}
}

func testEmptyObject(t *testing.T, b *blob.Bucket) {
	if err := b.WriteAll(t.Context(), "empty", nil); err != nil {
		t.Fatal(err)
	}
	r := open(t, b, "empty")
	if n, err := r.ReadAt(make([]byte, 1), 0); n != 0 || err != io.EOF || r.Size() != 0 {
		t.Errorf("got %d bytes, %v, size %d", n, err, r.Size())
	}
}

func testCancel(t *testing.T, b *blob.Bucket) {
	put(t, b, "x", "y")
	open, cancelOpen := context.WithCancel(t.Context())
	w, err := b.Create(open, "late")
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("abc"))
	cancelOpen()
	if err := w.Commit(); !errors.Is(err, context.Canceled) {
		t.Errorf("commit after cancel: got %v", err)
	}
	w.Abort()
	want(t, "after cancelled commit", list(t, b, ""), []string{"x", "y"})

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Stat(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("stat: got %v", err)
	}
	if _, err := b.Open(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("open: got %v", err)
	}
	if _, err := b.Create(ctx, "z"); !errors.Is(err, context.Canceled) {
		t.Errorf("create: got %v", err)
	}
	if err := b.Delete(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("delete: got %v", err)
	}
	if _, err := b.Sweep(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("sweep: got %v", err)
	}
	n := 0
	for _, err := range b.List(ctx, "") {
		if n++; !errors.Is(err, context.Canceled) {
			t.Errorf("list: got %v", err)
		}
	}
	if n != 1 {
		t.Errorf("list yielded %d times after cancel, want the error alone", n)
	}
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, err := range b.List(ctx, "") {
		last = err
		cancel()
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("list cancelled on the way: last error %v", last)
	}
}
