package s3blob_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"sower/internal/blob"
	"sower/internal/blob/driver"
	"sower/internal/blob/drivertest"
	"sower/internal/blob/faulttest"
	"sower/internal/blob/readahead"
	_ "sower/internal/blob/s3blob"
	"sower/internal/blob/s3test"
	"sower/internal/blob/wire"
)

func open(t *testing.T, url string) *blob.Bucket {
	t.Helper()
	b, err := blob.OpenBucket(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func content(seed byte, n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name, folder  string
		unconditional bool
	}{{"bucket", "", false}, {"folder", "/some/folder/", false}, {"store without conditional writes", "", true}} {
		t.Run(c.name, func(t *testing.T) {
			s := s3test.New(t)
			s.Unconditional = c.unconditional
			n := 0
			drivertest.Run(t, drivertest.Harness{Conditional: !c.unconditional, Open: func(t *testing.T) *blob.Bucket {
				n++
				name := fmt.Sprintf("bucket-%d", n)
				s.CreateBucket(name)
				return open(t, "s3://"+name+c.folder)
			}})
			if n := s.Uploads(); n != 0 {
				t.Errorf("%d uploads left", n)
			}
		})
	}
}

func uploads(r *faulttest.Request) bool   { return r.Upload }
func reads(r *faulttest.Request) bool     { return r.Read }
func stats(r *faulttest.Request) bool     { return r.Stat }
func lists(r *faulttest.Request) bool     { return r.List }
func deletions(r *faulttest.Request) bool { return r.Method == "DELETE" }

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
		{"reset listing", lists, faulttest.Reset},
		{"cut listing", lists, faulttest.Cut},
		{"refused listing", lists, faulttest.TooMany},
		{"refused deletion", deletions, faulttest.Unavailable},
		{"deletion's answer lost", deletions, faulttest.Lose},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := s3test.New(t, "b")
			ctx := t.Context()
			b := open(t, "s3://b/out")
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
				sum, ok := r.(driver.Summed).CRC32C()
				if !ok || sum != readahead.Sum(p) {
					t.Errorf("%s: checksum %08x, %v", name, sum, ok)
				}
				r.Close()
				if again, err := b.Stat(ctx, name); err != nil || again.Tag != i.Tag {
					t.Errorf("%s was written twice: %s, then %s (%v)", name, i.Tag, again.Tag, err)
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
			if after := blob.Trouble().Sub(before); after.Retries < 1 || after.Lost <= 0 || after.Retries > most {
				t.Errorf("%+v: want about 2 retries and the time they took", after)
			}
			// An upload whose beginning was done and not heard of has a twin that Sweep ends.
			if _, err := b.Sweep(ctx, ""); err != nil || s.Uploads() != 0 {
				t.Errorf("%d uploads left, %v", s.Uploads(), err)
			}
		})
	}
}

func TestDeadService(t *testing.T) {
	s := s3test.New(t, "b")
	b := open(t, "s3://b")
	for name, f := range map[string]faulttest.Fault{"refuses": faulttest.Unavailable, "resets": faulttest.Reset} {
		s.Inject(nil)
		if err := b.WriteAll(t.Context(), "x", content(3, 900<<10)); err != nil {
			t.Fatal(err)
		}
		s.Reset()
		s.Inject(func(*faulttest.Request) faulttest.Fault { return f })
		if _, err := b.ReadAll(t.Context(), "x", 1<<30); err == nil {
			t.Errorf("%s: read: got no error", name)
		}
		if err := b.WriteAll(t.Context(), "y", nil); err == nil {
			t.Errorf("%s: write: got no error", name)
		}
		if n := s.Counts().Injected; n < wire.Attempts || n > 4*wire.Attempts {
			t.Errorf("%s: %d attempts", name, n)
		}
	}
}

func TestReplacedWhileRead(t *testing.T) {
	s3test.New(t, "b")
	b := open(t, "s3://b")
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

// TestSweep ends the upload of a writer that is gone.
func TestSweep(t *testing.T) {
	s := s3test.New(t, "b")
	b := open(t, "s3://b/out")
	for _, n := range []string{"data/part-0", "other/part-0"} {
		w, err := b.Create(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content(1, 20<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := b.Sweep(t.Context(), "data/"); n != 1 || err != nil || s.Uploads() != 1 {
		t.Errorf("swept %d, %v; %d left, want one each", n, err, s.Uploads())
	}
}

// TestWalkSkips passes over a folder of many objects without listing all of them.
func TestWalkSkips(t *testing.T) {
	s := s3test.New(t, "b")
	s.Page = 10
	for i := range 65 {
		s.Put("b", fmt.Sprintf("in/images/%05d.jpg", i), nil)
	}
	for _, n := range []string{"in/", "in/a.tar", "in/images.tar", "in/images/", "in/z.tar", "other/x"} {
		s.Put("b", n, nil)
	}
	b := open(t, "s3://b")
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
}

func TestOpenErrors(t *testing.T) {
	s3test.New(t, "b")
	for _, url := range []string{"s3://", "s3:///x", "s3://b/../x", "s3://b/a//c"} {
		if _, err := blob.OpenBucket(t.Context(), url); err == nil {
			t.Errorf("%s: got no error", url)
		}
	}
	b := open(t, "s3://nowhere/x")
	for _, err := range b.List(t.Context(), "") {
		if err == nil || !strings.Contains(err.Error(), `no bucket "nowhere"`) {
			t.Errorf("list in a bucket that is not there: got %v", err)
		}
	}
	if err := b.WriteAll(t.Context(), "y", nil); err == nil || !strings.Contains(err.Error(), `no bucket "nowhere"`) {
		t.Errorf("write to a bucket that is not there: got %v", err)
	}
}
