package fileblob

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"sower/internal/blob/driver"
)

// Uncommitted writes lie beside their target as .NAME.sower-tmp-RANDOM, which List does not show and Sweep removes.
const tempMark = ".sower-tmp-"

// maxBase keeps the temporary file's name within the 255 bytes that file systems give a name.
const maxBase = 255 - len(".") - len(tempMark) - 26

func tempName(name string) string {
	dir, base := path.Split(name)
	return dir + "." + base[:min(len(base), maxBase)] + tempMark + rand.Text()
}

func isTemp(name string) bool {
	base := path.Base(name)
	return base[0] == '.' && strings.Contains(base, tempMark)
}

// target is the name that a temporary file was going to get (cut to maxBase where it was longer).
func target(temp string) string {
	dir, base := path.Split(temp)
	return dir + base[1:strings.LastIndex(base, tempMark)]
}

func (b *bucket) Create(ctx context.Context, name string) (driver.Writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if isTemp(name) {
		return nil, fmt.Errorf("names like .*%s* are kept for uncommitted writes", tempMark)
	}
	path := b.path(name)
	if err := makeFolder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	temp := b.path(tempName(name))
	// The mode passes through the process's umask, as for any file a program writes; os.CreateTemp would make it 0600
	// and lock out the readers of a shared folder.
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	return &writer{ctx: ctx, f: f, temp: temp, path: path}, nil
}

type writer struct {
	ctx        context.Context
	f          *os.File
	temp, path string
	err        error // first failed write: what is on disk has a hole, so Commit must refuse it
	done       bool
}

func (w *writer) Write(p []byte) (int, error) {
	if w.done {
		return 0, fs.ErrClosed
	}
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.f.Write(p)
	w.err = err
	return n, err
}

func (w *writer) Commit() error {
	if w.done {
		return fmt.Errorf("commit after the write had ended: %w", fs.ErrClosed)
	}
	err := w.err
	if err == nil {
		err = w.ctx.Err()
	}
	if err == nil {
		err = w.f.Sync()
	}
	if err != nil {
		return errors.Join(err, w.Abort())
	}
	w.done = true
	if err := w.f.Close(); err != nil {
		return errors.Join(err, os.Remove(w.temp))
	}
	if err := os.Rename(w.temp, w.path); err != nil {
		return errors.Join(err, os.Remove(w.temp))
	}
	return syncFolder(filepath.Dir(w.path))
}

func (w *writer) Abort() error {
	if w.done {
		return nil
	}
	w.done = true
	return errors.Join(w.f.Close(), os.Remove(w.temp))
}

// makeFolder is os.MkdirAll that also puts the new entries on disk: a durable file in a lost folder is lost.
func makeFolder(path string) error {
	if i, err := os.Stat(path); err == nil && i.IsDir() {
		return nil
	}
	parent := filepath.Dir(path)
	if parent == path {
		return os.MkdirAll(path, 0o755)
	}
	if err := makeFolder(parent); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o755); err != nil {
		if i, serr := os.Stat(path); serr == nil && i.IsDir() { // another writer was first
			return nil
		}
		return err
	}
	return syncFolder(parent)
}

// syncFolder puts a folder's entries on disk. File systems that cannot say EINVAL or ENOTSUP, and then do it by
// themselves or not at all.
func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return err
	}
	return nil
}
