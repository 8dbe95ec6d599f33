// Package blob is the one door through which data files are read and written. A Bucket is a root (a local folder, an
// in-memory store, a bucket of an object store) with objects below it; writes appear whole at Commit or not at all, which is
// what resume and exactly-once output rest on.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"strings"
	"time"

	"sower/internal/blob/driver"
)

// Info, Reader and Writer are the driver's; see there for the contract.
type (
	Info   = driver.Info
	Reader = driver.Reader
	Writer = driver.Writer
)

// ErrHeld marks buckets at which another run is at work.
var ErrHeld = driver.ErrHeld

// ErrUnsafeName marks names that would leave the bucket's root.
var ErrUnsafeName = errors.New("name leaves its folder")

// Bucket is an opened root.
type Bucket struct {
	url string
	d   driver.Bucket
}

// New wraps a driver; url is how messages name it.
func New(url string, d driver.Bucket) *Bucket { return &Bucket{url: url, d: d} }

// URL is the root as it was opened.
func (b *Bucket) URL() string { return b.url }

func (b *Bucket) fail(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("blob: %s %s: %w", op, Join(b.url, name), err)
}

// CheckName reports whether name is relative, clean and stays below the root.
func CheckName(name string) error {
	if name == "" || strings.HasPrefix(name, "/") || strings.Contains(name, "\x00") || strings.Contains(name, `\`) ||
		path.Clean(name) != name || name == "." || name == ".." || strings.HasPrefix(name, "../") {
		return fmt.Errorf("%q: %w", name, ErrUnsafeName)
	}
	return nil
}

// Join appends an object's name to a root.
func Join(url, name string) string {
	if url == "" || strings.HasSuffix(url, "/") {
		return url + name
	}
	return url + "/" + name
}

// List yields the objects below prefix in ascending order of name.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		for i, err := range b.d.List(ctx, prefix) {
			if !yield(i, b.fail("list", prefix, err)) || err != nil {
				return
			}
		}
	}
}

// Stat describes one object; errors.Is(err, fs.ErrNotExist) when there is none.
func (b *Bucket) Stat(ctx context.Context, name string) (Info, error) {
	if err := CheckName(name); err != nil {
		return Info{}, b.fail("stat", name, err)
	}
	i, err := b.d.Stat(ctx, name)
	return i, b.fail("stat", name, err)
}

// Open opens an object for ranged reads.
func (b *Bucket) Open(ctx context.Context, name string) (Reader, error) {
	if err := CheckName(name); err != nil {
		return nil, b.fail("open", name, err)
	}
	r, err := b.d.Open(ctx, name)
	return r, b.fail("open", name, err)
}

// ReadAll reads a whole object of at most limit bytes.
func (b *Bucket) ReadAll(ctx context.Context, name string, limit int64) ([]byte, error) {
	r, err := b.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if r.Size() > limit {
		return nil, b.fail("read", name, fmt.Errorf("%d bytes, more than the limit of %d", r.Size(), limit))
	}
	p := make([]byte, r.Size())
	if _, err := io.ReadFull(io.NewSectionReader(r, 0, r.Size()), p); err != nil {
		return nil, b.fail("read", name, err)
	}
	return p, nil
}

// Create starts a write that appears under name at Commit.
func (b *Bucket) Create(ctx context.Context, name string) (Writer, error) {
	if err := CheckName(name); err != nil {
		return nil, b.fail("create", name, err)
	}
	w, err := b.d.Create(ctx, name)
	return w, b.fail("create", name, err)
}

// WriteAll commits a small object.
func (b *Bucket) WriteAll(ctx context.Context, name string, p []byte) error {
	w, err := b.Create(ctx, name)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write(p); err != nil {
		return b.fail("write", name, err)
	}
	return b.fail("commit", name, w.Commit())
}

// Delete removes an object if it is there.
func (b *Bucket) Delete(ctx context.Context, name string) error {
	if err := CheckName(name); err != nil {
		return b.fail("delete", name, err)
	}
	return b.fail("delete", name, b.d.Delete(ctx, name))
}

// Sweep removes what killed writers left below prefix; call it when no writer is at work there.
func (b *Bucket) Sweep(ctx context.Context, prefix string) (int, error) {
	n, err := b.d.Sweep(ctx, prefix)
	return n, b.fail("sweep", prefix, err)
}

// heldFor is how long Hold waits: a process that was killed takes a moment to let go.
const heldFor = 2 * time.Second

// Hold keeps the bucket for this run until release is called or the process ends; an error that matches ErrHeld says that another run has it.
// Stores that cannot tell (object stores, file systems without locks) let everybody in.
func (b *Bucket) Hold(ctx context.Context) (release func(), err error) {
	h, ok := b.d.(driver.Holder)
	if !ok {
		return func() {}, nil
	}
	for began := time.Now(); ; {
		release, err = h.Hold()
		if !errors.Is(err, driver.ErrHeld) || time.Since(began) > heldFor {
			return release, b.fail("hold", "", err)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Close releases the driver.
func (b *Bucket) Close() error { return b.d.Close() }
