package s3blob_test

import (
	"fmt"
	"strings"
	"testing"

	"sower/internal/blob"
	"sower/internal/blob/drivertest"
	"sower/internal/blob/faulttest"
	_ "sower/internal/blob/s3blob"
	"sower/internal/blob/s3test"
)

func open(t *testing.T, url string) *blob.Bucket {
	t.Helper()
	b, err := blob.OpenBucket(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return b
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

func TestFaults(t *testing.T) {
	faulttest.Run(t, faulttest.Harness{New: func(t *testing.T) faulttest.Store {
		s := s3test.New(t, "b")
		return faulttest.Store{Door: &s.Door, URL: "s3://b", Uploads: s.Uploads}
	}})
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
		if _, err := w.Write(faulttest.Content(1, 20<<20)); err != nil {
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
