package shardtest

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"

	"sower/internal/blob"
	"sower/internal/blob/driver"
)

// ErrStore is what the store of Flaky fails with.
var ErrStore = errors.New("shardtest: the store is down")

// Flaky is b with reads that fail with ErrStore after the first n of them (opens count as reads).
func Flaky(b *blob.Bucket, n int64) *blob.Bucket {
	f := &flaky{b: b}
	f.left.Store(n)
	return blob.New(b.URL(), f)
}

type flaky struct {
	b    *blob.Bucket
	left atomic.Int64
}

func (f *flaky) fail() error {
	if f.left.Add(-1) < 0 {
		return ErrStore
	}
	return nil
}

func (f *flaky) List(ctx context.Context, prefix string) iter.Seq2[driver.Info, error] {
	return func(yield func(driver.Info, error) bool) {
		if err := f.fail(); err != nil {
			yield(driver.Info{}, err)
			return
		}
		f.b.List(ctx, prefix)(yield)
	}
}

func (f *flaky) Stat(ctx context.Context, name string) (driver.Info, error) {
	if err := f.fail(); err != nil {
		return driver.Info{}, err
	}
	return f.b.Stat(ctx, name)
}

func (f *flaky) Open(ctx context.Context, name string) (driver.Reader, error) {
	if err := f.fail(); err != nil {
		return nil, err
	}
	r, err := f.b.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return &flakyReader{r, f}, nil
}

type flakyReader struct {
	driver.Reader
	f *flaky
}

func (r *flakyReader) ReadAt(p []byte, off int64) (int, error) {
	if err := r.f.fail(); err != nil {
		return 0, err
	}
	return r.Reader.ReadAt(p, off)
}

func (f *flaky) Create(ctx context.Context, name string) (driver.Writer, error) {
	return f.b.Create(ctx, name)
}
func (f *flaky) Delete(ctx context.Context, name string) error { return f.b.Delete(ctx, name) }
func (f *flaky) Sweep(ctx context.Context, prefix string) (int, error) {
	return f.b.Sweep(ctx, prefix)
}
func (f *flaky) Close() error { return nil }
