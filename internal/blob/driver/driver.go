// Package driver is what a storage system implements to serve as a blob.Bucket. Drivers return raw errors; package blob
// adds the operation and the name. The suite in blob/drivertest is the definition of correct.
package driver

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"
)

// Info describes one object.
type Info struct {
	Name    string // relative to the bucket's root, forward slashes
	Size    int64
	ModTime time.Time
	// Tag changes whenever the content does: modification time and size, generation, or ETag.
	Tag string
}

// Bucket is a flat set of named objects. Names use forward slashes, are relative, clean and never leave the root: the
// front type checks them before a driver sees them. Missing objects are errors that match fs.ErrNotExist.
type Bucket interface {
	// List yields the objects whose names start with prefix, in ascending byte order of name. Uncommitted writes are
	// not listed; a root or folder that does not exist is empty. An error is the last thing yielded.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
	Stat(ctx context.Context, name string) (Info, error)
	Open(ctx context.Context, name string) (Reader, error)
	// Create starts a write. Nothing is visible under name before Commit, and a process that dies leaves nothing that
	// List shows. Folders on the way are made. When ctx is cancelled before Commit, Commit fails.
	Create(ctx context.Context, name string) (Writer, error)
	// Delete removes an object; removing what is not there is no error.
	Delete(ctx context.Context, name string) error
	// Sweep removes what killed writers left below prefix (temporary files). Call it when no writer is at work there.
	Sweep(ctx context.Context, prefix string) (removed int, err error)
	Close() error
}

// ErrReplaced marks reads of an object that was replaced or deleted after it was opened, where the store keeps no old ones.
var ErrReplaced = errors.New("the object was replaced or deleted while it was read")

// ErrConflict marks commits under a name that another writer gave other bytes between Create and Commit.
var ErrConflict = errors.New("another writer put other bytes there meanwhile")

// Walker is an extra of drivers with real folders: List that leaves out the folders that enter refuses, without reading
// them. enter gets the folder's name with a slash at its end, and only for folders longer than prefix.
type Walker interface {
	Walk(ctx context.Context, prefix string, enter func(folder string) bool) iter.Seq2[Info, error]
}

// ErrHeld marks buckets at which another process is at work.
var ErrHeld = errors.New("another run is at work there")

// Holder is an extra of drivers that can tell processes apart.
type Holder interface {
	// Hold keeps the bucket for the caller until release is called or the process ends: ErrHeld while another has it. The root is made. Where
	// the store has no locks, nothing is kept, and that is no error.
	Hold() (release func(), err error)
}

// Reader gives ranged reads of one object. ReadAt may be called from several goroutines; a range that passes the end
// gives what there is and io.EOF. Size is that of the opened object. When it is replaced, its bytes stay readable, except that
// object stores do so for small ones alone and give ErrReplaced for others; new bytes are never mixed in.
type Reader interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Summed is an extra of readers whose store has a checksum of the whole object.
type Summed interface {
	// CRC32C is the CRC-32C (Castagnoli) of the object; false where the store has none of this one.
	CRC32C() (uint32, bool)
}

// Writer is an upload in progress. Exactly one of Commit and Abort ends it; Abort after Commit is a no-op, so
// "defer w.Abort()" is the idiom.
type Writer interface {
	io.Writer
	// Commit makes the object visible under its name, whole and durable, replacing any older one atomically. Object stores
	// replace what was there at Create, and give ErrConflict if that is something else by now and not the same bytes.
	Commit() error
	Abort() error
}
