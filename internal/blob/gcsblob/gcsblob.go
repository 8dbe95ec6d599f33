// Package gcsblob stores objects in Google Cloud Storage: gs://bucket or gs://bucket/folder. An object appears whole when
// its upload ends, under a precondition on what was there when the write began, so that neither a lost answer nor a second
// writer can tear or undo it. Readers are pinned to the generation that they opened.
package gcsblob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"strconv"
	"strings"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"

	"sower/internal/blob"
	"sower/internal/blob/driver"
	"sower/internal/blob/readahead"
	"sower/internal/blob/wire"
)

func init() {
	blob.Register("gs", func(_ context.Context, url string) (driver.Bucket, error) { return open(url) })
}

// longestName is the service's limit for a name, in bytes of UTF-8.
const longestName = 1024

func open(url string) (*bucket, error) {
	name, folder, err := blob.SplitBucket(url)
	if err != nil {
		return nil, err
	}
	c, err := client()
	if err != nil {
		return nil, err
	}
	return &bucket{b: c.Bucket(name), name: name, folder: folder}, nil
}

// bucket is a folder of a bucket; folder is "" or ends in a slash.
type bucket struct {
	b      *storage.BucketHandle
	name   string
	folder string
}

func (b *bucket) object(name string) *storage.ObjectHandle { return b.b.Object(b.folder + name) }

// failure turns the service's answers into the errors that drivers promise.
func (b *bucket) failure(err error) error {
	var api *googleapi.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, storage.ErrObjectNotExist):
		return fmt.Errorf("%w (%w)", fs.ErrNotExist, err)
	case errors.Is(err, storage.ErrBucketNotExist):
		return fmt.Errorf("there is no bucket %q: create it, or look at its spelling (%w)", b.name, err)
	case errors.As(err, &api) && (api.Code == http.StatusForbidden || api.Code == http.StatusUnauthorized):
		return fmt.Errorf("not allowed: the account needs storage.objects.get, list, create and delete on bucket %q, as in the role Storage Object User (%w)", b.name, err)
	}
	if errors.As(err, &api) && api.Code == http.StatusPreconditionFailed {
		return fmt.Errorf("%w (%w)", driver.ErrConflict, err)
	}
	return err
}

func tag(generation int64) string { return strconv.FormatInt(generation, 10) }

func (b *bucket) info(a *storage.ObjectAttrs) driver.Info {
	return driver.Info{Name: a.Name[len(b.folder):], Size: a.Size, ModTime: a.Updated, Tag: tag(a.Generation)}
}

func (b *bucket) List(ctx context.Context, prefix string) iter.Seq2[driver.Info, error] {
	return b.Walk(ctx, prefix, func(string) bool { return true })
}

// pageSize is the most that the service lists in one answer.
const pageSize = 1000

// Walk implements driver.Walker. A listing is one sequence in order of name, so that a refused folder that reaches beyond
// the page at hand is passed over by asking for what comes after it. No more pages are asked for than List asks for.
func (b *bucket) Walk(ctx context.Context, prefix string, enter func(folder string) bool) iter.Seq2[driver.Info, error] {
	return func(yield func(driver.Info, error) bool) {
		after := ""
		for {
			next, err := b.walk(ctx, prefix, after, enter, yield)
			if err != nil {
				yield(driver.Info{}, b.failure(err))
				return
			}
			if next == "" {
				return
			}
			after = next
		}
	}
}

// walk lists from a name on. It gives the name to go on from where a refused folder was left before its end, else "".
func (b *bucket) walk(ctx context.Context, prefix, from string, enter func(string) bool, yield func(driver.Info, error) bool) (next string, err error) {
	q := &storage.Query{Prefix: b.folder + prefix, StartOffset: from, Projection: storage.ProjectionNoACL}
	if err := q.SetAttrSelection([]string{"Name", "Size", "Generation", "Updated"}); err != nil {
		return "", err
	}
	pager := iterator.NewPager(b.b.Objects(wire.Operation(ctx), q), pageSize, "")
	refused := ""
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		var page []*storage.ObjectAttrs
		token, err := pager.NextPage(&page)
		if err != nil {
			return "", err
		}
		for _, a := range page {
			if err := ctx.Err(); err != nil {
				return "", err
			}
			if strings.HasSuffix(a.Name, "/") {
				continue // what consoles and mounts put down for a folder
			}
			i := b.info(a)
			if refused != "" && strings.HasPrefix(i.Name, refused) {
				continue
			}
			if refused = blob.RefusedFolder(i.Name, prefix, enter); refused != "" {
				continue
			}
			if !yield(i, nil) {
				return "", nil
			}
		}
		if token == "" {
			return "", nil
		}
		if refused != "" {
			return b.folder + refused[:len(refused)-1] + "0", nil // '0' is the byte after '/'
		}
	}
}

func (b *bucket) Stat(ctx context.Context, name string) (driver.Info, error) {
	a, err := b.attrs(ctx, name)
	if err != nil {
		return driver.Info{}, err
	}
	return b.info(a), nil
}

func (b *bucket) attrs(ctx context.Context, name string) (*storage.ObjectAttrs, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(b.folder)+len(name) > longestName {
		return nil, fmt.Errorf("%w (names have %d bytes at most)", fs.ErrNotExist, longestName)
	}
	a, err := b.object(name).Attrs(wire.Operation(ctx))
	return a, b.failure(err)
}

// held is the size up to which an object is read when it is opened: it takes one request, and survives replacement.
const held = 256 << 10

func (b *bucket) Open(ctx context.Context, name string) (driver.Reader, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(b.folder)+len(name) > longestName {
		return nil, fmt.Errorf("%w (names have %d bytes at most)", fs.ErrNotExist, longestName)
	}
	o := b.object(name)
	r, err := o.NewRangeReader(wire.Operation(ctx), 0, held)
	var api *googleapi.Error
	if errors.As(err, &api) && api.Code == http.StatusRequestedRangeNotSatisfiable {
		return b.openEmpty(ctx, name)
	}
	if err != nil {
		return nil, b.failure(err)
	}
	defer r.Close()
	first := make([]byte, min(held, r.Attrs.Size))
	if _, err := io.ReadFull(r, first); err != nil {
		return nil, b.failure(err)
	}
	object := readahead.Object{Size: r.Attrs.Size, CRC32C: r.Attrs.CRC32C}
	if r.Attrs.Size <= held {
		if got := readahead.Sum(first); got != r.Attrs.CRC32C {
			return nil, fmt.Errorf("%w (CRC-32C %08x, want %08x)", readahead.ErrChecksum, got, r.Attrs.CRC32C)
		}
	}
	pinned := o.Generation(r.Attrs.Generation)
	object.Fetch = func(ctx context.Context, p []byte, off int64) error { return b.fetch(ctx, pinned, p, off) }
	return readahead.New(ctx, object, first), nil
}

// openEmpty opens an object that has no bytes to ask for.
func (b *bucket) openEmpty(ctx context.Context, name string) (driver.Reader, error) {
	a, err := b.attrs(ctx, name)
	if err != nil {
		return nil, err
	}
	if a.Size != 0 {
		return nil, fmt.Errorf("%w (%d bytes now, none a moment ago)", driver.ErrReplaced, a.Size)
	}
	return readahead.New(ctx, readahead.Object{}, nil), nil
}

// fetch reads a range of one generation.
func (b *bucket) fetch(ctx context.Context, pinned *storage.ObjectHandle, p []byte, off int64) error {
	r, err := pinned.NewRangeReader(wire.Operation(ctx), off, int64(len(p)))
	if err == nil {
		defer r.Close()
		_, err = io.ReadFull(r, p)
	}
	if errors.Is(err, storage.ErrObjectNotExist) {
		return fmt.Errorf("%w (%w)", driver.ErrReplaced, err)
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return b.failure(err)
}

func (b *bucket) Delete(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := b.object(name).Delete(wire.Operation(ctx))
	if errors.Is(err, storage.ErrObjectNotExist) {
		return nil
	}
	return b.failure(err)
}

// Sweep finds nothing: an upload that did not end is no object, and the service drops it after a week.
func (b *bucket) Sweep(ctx context.Context, _ string) (int, error) { return 0, ctx.Err() }

// Close leaves the client to the process's other buckets.
func (b *bucket) Close() error { return nil }
