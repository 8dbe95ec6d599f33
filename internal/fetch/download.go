package fetch

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"sower/internal/blob"
	"sower/internal/blob/driver"
)

const (
	section = 16 << 20 // bytes of one request
	atOnce  = 8        // requests
)

// download brings the files into a folder, whole, checked and on disk.
func download(ctx context.Context, w *wanted, dir string, note func(string, ...any)) error {
	began := time.Now()
	var done atomic.Int64
	if w.bytes >= worthANote {
		note("fetching %s: %d files, %s, to %s", w.arg, len(w.files), size(w.bytes), dir)
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			tick := time.NewTicker(rate)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					n := done.Load()
					note("fetching %s: %s of %s, %s/s", w.arg, size(n), size(w.bytes), size(int64(float64(n)/time.Since(began).Seconds())))
				}
			}
		}()
	}
	for _, f := range w.files {
		if err := one(ctx, w.bucket, f, filepath.Join(dir, f.Name), &done); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	if w.bytes >= worthANote {
		note("fetched %s in %s", w.arg, time.Since(began).Round(time.Second))
	}
	return nil
}

// one brings one file, in sections that come at once.
func one(ctx context.Context, b *blob.Bucket, info blob.Info, path string, done *atomic.Int64) (err error) {
	r, err := b.Open(ctx, info.Name)
	if err != nil {
		return err
	}
	defer r.Close()
	if r.Size() != info.Size {
		return errChanged
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for at := int64(0); at < info.Size && ctx.Err() == nil; at += section {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			p := make([]byte, min(section, info.Size-at))
			if n, err := r.ReadAt(p, at); n < len(p) {
				if err == nil || err == io.EOF {
					err = io.ErrUnexpectedEOF
				}
				return err
			}
			done.Add(int64(len(p)))
			_, err := f.WriteAt(p, at)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		if errors.Is(err, driver.ErrReplaced) {
			return errChanged
		}
		return err
	}
	if err := check(r, f, info.Size); err != nil {
		return err
	}
	return f.Sync()
}

// check compares what is in the file with the store's checksum, where it has one.
func check(r blob.Reader, f *os.File, size int64) error {
	s, ok := r.(driver.Summed)
	if !ok {
		return nil
	}
	want, ok := s.CRC32C()
	if !ok {
		return nil
	}
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	if _, err := io.CopyBuffer(struct{ io.Writer }{h}, io.NewSectionReader(f, 0, size), make([]byte, 1<<20)); err != nil {
		return err
	}
	if got := h.Sum32(); got != want {
		return fmt.Errorf("the file that came has CRC-32C %08x, the store says %08x", got, want)
	}
	return nil
}
