package gcsblob_test

import (
	"testing"

	"github.com/fsouza/fake-gcs-server/fakestorage"

	"sower/internal/blob"
	"sower/internal/blob/drivertest"
	_ "sower/internal/blob/gcsblob"
	"sower/internal/blob/gcstest"
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
	s := gcstest.New(t)
	n := 0
	for _, folder := range []string{"", "/some/folder/"} {
		t.Run("folder "+folder, func(t *testing.T) {
			drivertest.Run(t, drivertest.Harness{Conditional: true, Open: func(t *testing.T) *blob.Bucket {
				n++
				name := "bucket-" + string(rune('a'+n/26)) + string(rune('a'+n%26))
				s.Fake.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: name})
				return open(t, "gs://"+name+folder)
			}})
		})
	}
}
