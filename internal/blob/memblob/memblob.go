// Package memblob keeps objects in memory: the reference that other drivers are measured against, and the store of most
// tests. mem://name (or mem://name/folder) opens a store that every bucket of this process with that name shares.
package memblob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sower/internal/blob"
	"sower/internal/blob/driver"
)

func init() {
	blob.Register("mem", func(_ context.Context, url string) (driver.Bucket, error) { return named(url) })
}

// New returns an empty bucket that nobody else sees.
func New() *blob.Bucket { return blob.New("mem://", &bucket{store: newStore()}) }

var (
	storesMu sync.Mutex
	stores   = map[string]*store{}
)

// named opens the shared store of a mem://name or mem://name/folder URL.
func named(url string) (driver.Bucket, error) {
	_, rest := blob.SplitScheme(url)
	name, folder, _ := strings.Cut(strings.TrimRight(rest, "/"), "/")
	if name == "" {
		return nil, errors.New("want mem://name")
	}
	if folder != "" {
		if err := blob.CheckName(folder); err != nil {
			return nil, err
		}
		folder += "/"
	}
	storesMu.Lock()
	defer storesMu.Unlock()
	s := stores[name]
	if s == nil {
		s = newStore()
		stores[name] = s
	}
	return &bucket{store: s, folder: folder}, nil
}

// store maps names to immutable objects: a write replaces the object, never its bytes, so open readers are undisturbed.
type store struct {
	mu      sync.RWMutex
	objects map[string]*object
	writes  int64 // commits so far; the tag of an object is the number of its commit
}

func newStore() *store { return &store{objects: map[string]*object{}} }

type object struct {
	data    []byte
	modTime time.Time
	tag     string
}

// bucket is a folder of a store; folder is "" or ends in a slash.
type bucket struct {
	store  *store
	folder string
}

func (b *bucket) info(full string, o *object) driver.Info {
	return driver.Info{Name: full[len(b.folder):], Size: int64(len(o.data)), ModTime: o.modTime, Tag: o.tag}
}

func (b *bucket) List(ctx context.Context, prefix string) iter.Seq2[driver.Info, error] {
	return func(yield func(driver.Info, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(driver.Info{}, err)
			return
		}
		var found []driver.Info
		b.store.mu.RLock()
		for name, o := range b.store.objects {
			if strings.HasPrefix(name, b.folder+prefix) {
				found = append(found, b.info(name, o))
			}
		}
		b.store.mu.RUnlock()
		slices.SortFunc(found, func(x, y driver.Info) int { return strings.Compare(x.Name, y.Name) })
		for _, i := range found {
			if err := ctx.Err(); err != nil {
				yield(driver.Info{}, err)
				return
			}
			if !yield(i, nil) {
				return
			}
		}
	}
}

func (b *bucket) get(ctx context.Context, name string) (*object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.store.mu.RLock()
	defer b.store.mu.RUnlock()
	if o := b.store.objects[b.folder+name]; o != nil {
		return o, nil
	}
	return nil, fs.ErrNotExist
}

func (b *bucket) Stat(ctx context.Context, name string) (driver.Info, error) {
	o, err := b.get(ctx, name)
	if err != nil {
		return driver.Info{}, err
	}
	return b.info(b.folder+name, o), nil
}

func (b *bucket) Open(ctx context.Context, name string) (driver.Reader, error) {
	o, err := b.get(ctx, name)
	if err != nil {
		return nil, err
	}
	return reader{bytes.NewReader(o.data)}, nil
}

func (b *bucket) Create(ctx context.Context, name string) (driver.Writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return &writer{ctx: ctx, b: b, name: name}, nil
}

func (b *bucket) Delete(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	delete(b.store.objects, b.folder+name)
	return nil
}

// Sweep finds nothing: what is not committed is not in the store.
func (b *bucket) Sweep(ctx context.Context, _ string) (int, error) { return 0, ctx.Err() }

// Close keeps the objects: the store outlives its buckets, as a disk does.
func (b *bucket) Close() error { return nil }

type reader struct{ *bytes.Reader }

func (reader) Close() error { return nil }

type writer struct {
	ctx  context.Context
	b    *bucket
	name string
	buf  bytes.Buffer
	done bool
}

func (w *writer) Write(p []byte) (int, error) {
	if w.done {
		return 0, fs.ErrClosed
	}
	return w.buf.Write(p)
}

func (w *writer) Commit() error {
	if w.done {
		return fmt.Errorf("commit after the write had ended: %w", fs.ErrClosed)
	}
	w.done = true
	if err := w.ctx.Err(); err != nil {
		return err
	}
	s := w.b.store
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	s.objects[w.b.folder+w.name] = &object{w.buf.Bytes(), time.Now(), strconv.FormatInt(s.writes, 10)}
	return nil
}

func (w *writer) Abort() error {
	w.done, w.buf = true, bytes.Buffer{}
	return nil
}

var _ io.ReaderAt = reader{}
