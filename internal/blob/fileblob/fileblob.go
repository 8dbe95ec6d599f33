// Package fileblob stores objects as files below a local folder. A write goes to a hidden file beside its target and is
// renamed at Commit after both file and folder are on disk, so that a crash leaves the old object or the new one.
package fileblob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"sower/internal/blob"
	"sower/internal/blob/driver"
)

func init() {
	blob.Register("file", func(_ context.Context, path string) (driver.Bucket, error) { return open(path) })
}

// Open returns the bucket of a folder, which the first Create makes if it is not there.
func Open(folder string) (*blob.Bucket, error) {
	d, err := open(folder)
	if err != nil {
		return nil, fmt.Errorf("blob: open %s: %w", folder, err)
	}
	return blob.New(folder, d), nil
}

// open fixes the root as an absolute path, so that a later change of the working folder does not move it.
func open(folder string) (*bucket, error) {
	if folder == "" {
		return nil, errors.New("empty path")
	}
	root, err := filepath.Abs(folder)
	if err != nil {
		return nil, err
	}
	if i, err := os.Stat(root); err == nil && !i.IsDir() {
		return nil, fmt.Errorf("%s is a file, want a folder", root)
	}
	return &bucket{root}, nil
}

type bucket struct{ root string }

func (b *bucket) path(name string) string { return filepath.Join(b.root, filepath.FromSlash(name)) }

// notExist turns the errors by which a file system says that a name cannot be there into fs.ErrNotExist: names come
// from data files, and a hostile one must read as missing and not as a broken disk.
func notExist(err error) error {
	if errors.Is(err, syscall.ENAMETOOLONG) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP) {
		return fmt.Errorf("%w (%w)", fs.ErrNotExist, err)
	}
	return err
}

// regular describes a file, links followed. Folders, sockets, pipes and devices are no objects.
func regular(path string) (fs.FileInfo, error) {
	i, err := os.Stat(path)
	if err != nil {
		return nil, notExist(err)
	}
	if !i.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file: %w", path, fs.ErrNotExist)
	}
	return i, nil
}

func info(name string, i fs.FileInfo) driver.Info {
	t := i.ModTime()
	return driver.Info{Name: name, Size: i.Size(), ModTime: t, Tag: fmt.Sprintf("%d-%d", t.UnixNano(), i.Size())}
}

func (b *bucket) List(ctx context.Context, prefix string) iter.Seq2[driver.Info, error] {
	return b.Walk(ctx, prefix, func(string) bool { return true })
}

// Walk implements driver.Walker.
func (b *bucket) Walk(ctx context.Context, prefix string, enter func(string) bool) iter.Seq2[driver.Info, error] {
	return func(yield func(driver.Info, error) bool) {
		w := walk{b: b, ctx: ctx, prefix: prefix, enter: enter}
		w.visit = func(name string, i fs.FileInfo) bool {
			return isTemp(name) || yield(info(name, i), nil)
		}
		if err := w.start(); err != nil && !errors.Is(err, errStop) {
			yield(driver.Info{}, err)
		}
	}
}

var errStop = errors.New("stop")

// walk visits the regular files below a bucket in byte order of their names.
type walk struct {
	b      *bucket
	ctx    context.Context
	prefix string
	enter  func(folder string) bool
	visit  func(name string, i fs.FileInfo) bool
}

// start visits the folder that the prefix names, without reading those above it.
func (w *walk) start() error {
	dir := w.prefix[:strings.LastIndexByte(w.prefix, '/')+1]
	if dir != "" && blob.CheckName(dir[:len(dir)-1]) != nil {
		return nil // no object has such a name
	}
	return w.folder(dir, nil)
}

// folder visits dir ("" or with a slash at its end). above holds the folders on the way here: a link back to one of
// them would never end, and shows nothing that is not listed already.
func (w *walk) folder(dir string, above []fs.FileInfo) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	path := w.b.path(dir)
	self, err := os.Stat(path)
	if err != nil {
		if errors.Is(notExist(err), fs.ErrNotExist) {
			return nil
		}
		return err
	}
	if slices.ContainsFunc(above, func(i fs.FileInfo) bool { return os.SameFile(i, self) }) {
		return nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		if errors.Is(notExist(err), fs.ErrNotExist) { // removed meanwhile, or a file of that name
			return nil
		}
		return err
	}
	// Byte order of whole names is not the order of a folder's entries: "a.b" sorts before "a/b", yet after "a". So
	// folders take part in the sort with their slash.
	type item struct {
		name     string
		isDir    bool
		linked   bool
		dangling bool
		entry    fs.DirEntry
	}
	items := make([]item, 0, len(entries))
	for _, e := range entries {
		it := item{name: dir + e.Name(), isDir: e.IsDir(), entry: e}
		if e.Type()&fs.ModeSymlink != 0 {
			// A link that leads nowhere is listed, as an object that cannot be opened: who reads the folder must be told.
			if i, err := os.Stat(w.b.path(it.name)); err == nil {
				it.isDir, it.linked = i.IsDir(), true
			} else {
				it.dangling = true
			}
		}
		if it.isDir {
			it.name += "/"
		}
		if strings.HasPrefix(it.name, w.prefix) || it.isDir && strings.HasPrefix(w.prefix, it.name) {
			items = append(items, it)
		}
	}
	slices.SortFunc(items, func(x, y item) int { return strings.Compare(x.name, y.name) })
	above = append(slices.Clip(above), self)
	for _, it := range items {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if it.isDir {
			if len(it.name) > len(w.prefix) && !w.enter(it.name) {
				continue
			}
			if err := w.folder(it.name, above); err != nil {
				return err
			}
			continue
		}
		i, err := it.entry.Info()
		if it.dangling && err == nil {
			if !w.visit(it.name, i) {
				return errStop
			}
			continue
		}
		if it.linked {
			i, err = os.Stat(w.b.path(it.name))
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return err
		}
		if i.Mode().IsRegular() && !w.visit(it.name, i) {
			return errStop
		}
	}
	return nil
}

func (b *bucket) Stat(ctx context.Context, name string) (driver.Info, error) {
	if err := ctx.Err(); err != nil {
		return driver.Info{}, err
	}
	i, err := regular(b.path(name))
	if err != nil {
		return driver.Info{}, err
	}
	return info(name, i), nil
}

func (b *bucket) Open(ctx context.Context, name string) (driver.Reader, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// Asked before opening, because opening a pipe waits for a writer.
	if _, err := regular(b.path(name)); err != nil {
		return nil, err
	}
	f, err := os.Open(b.path(name))
	if err != nil {
		return nil, notExist(err)
	}
	i, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &reader{f, i.Size()}, nil
}

type reader struct {
	*os.File
	size int64
}

func (r *reader) Size() int64 { return r.size }

func (b *bucket) Delete(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// Asked first, because os.Remove would also take an empty folder of that name; a link is removed, not its target.
	if i, err := os.Lstat(b.path(name)); err == nil && i.IsDir() {
		return nil
	}
	if err := os.Remove(b.path(name)); err != nil && !errors.Is(notExist(err), fs.ErrNotExist) {
		return err
	}
	return nil
}

func (b *bucket) Sweep(ctx context.Context, prefix string) (int, error) {
	removed := 0
	var failed error
	// A temporary file's own name starts with a dot, so the walk is by the prefix's folder and the target's name decides.
	w := walk{b: b, ctx: ctx, prefix: prefix[:strings.LastIndexByte(prefix, '/')+1]}
	w.enter = func(folder string) bool {
		return strings.HasPrefix(folder, prefix) || strings.HasPrefix(prefix, folder)
	}
	w.visit = func(name string, _ fs.FileInfo) bool {
		if !isTemp(name) || !strings.HasPrefix(target(name), prefix) {
			return true
		}
		if err := os.Remove(b.path(name)); err == nil {
			removed++
		} else if !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(failed, err)
		}
		return true
	}
	if err := w.start(); err != nil {
		return removed, err
	}
	return removed, failed
}

func (b *bucket) Close() error { return nil }
