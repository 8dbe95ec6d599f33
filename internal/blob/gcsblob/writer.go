package gcsblob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"net/http"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"

	"sower/internal/blob/driver"
	"sower/internal/blob/wire"
)

const (
	// whole is the size up to which an object is sent in one request at Commit; larger ones go in chunks of that size.
	whole = 8 << 20
	// chunkPatience is how long one chunk is tried.
	chunkPatience = 5 * time.Minute
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Create notes which generation is there now: Commit replaces that one and no other.
func (b *bucket) Create(ctx context.Context, name string) (driver.Writer, error) {
	if n := len(b.folder) + len(name); n > longestName {
		return nil, fmt.Errorf("a name of %d bytes, the service takes %d at most", n, longestName)
	}
	w := &writer{b: b, name: name}
	a, err := b.attrs(ctx, name)
	switch {
	case err == nil:
		w.condition = storage.Conditions{GenerationMatch: a.Generation}
	case errors.Is(err, fs.ErrNotExist):
		w.condition = storage.Conditions{DoesNotExist: true}
	default:
		return nil, err
	}
	w.ctx, w.cancel = context.WithCancel(wire.Operation(ctx))
	return w, nil
}

// writer collects what is written and begins an upload in chunks when that becomes much.
type writer struct {
	b         *bucket
	name      string
	condition storage.Conditions
	ctx       context.Context
	cancel    context.CancelFunc

	buf  bytes.Buffer    // all of it, until upload takes over
	up   *storage.Writer // nil as long as buf has it
	size int64
	sum  uint32
	err  error
	done bool
}

func (w *writer) Write(p []byte) (int, error) {
	if w.done {
		return 0, fs.ErrClosed
	}
	if w.err != nil {
		return 0, w.err
	}
	w.size += int64(len(p))
	w.sum = crc32.Update(w.sum, castagnoli, p)
	if w.up == nil && w.buf.Len()+len(p) <= whole {
		return w.buf.Write(p)
	}
	if w.up == nil {
		w.up = w.begin(whole)
		if _, w.err = w.up.Write(w.buf.Bytes()); w.err != nil {
			return 0, w.b.failure(w.err)
		}
		w.buf = bytes.Buffer{}
	}
	n, err := w.up.Write(p)
	w.err = err
	return n, w.b.failure(err)
}

func (w *writer) begin(chunk int) *storage.Writer {
	up := w.b.object(w.name).If(w.condition).NewWriter(w.ctx)
	up.ChunkSize, up.ChunkRetryDeadline = chunk, chunkPatience
	up.ContentType = "application/octet-stream"
	return up
}

func (w *writer) Commit() error {
	if w.done {
		return fmt.Errorf("commit after the write had ended: %w", fs.ErrClosed)
	}
	w.done = true
	defer w.cancel()
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if w.err != nil { // what the service has is not all: it must not end well
		w.cancel()
		_ = w.up.Close()
		return w.b.failure(w.err)
	}
	var err error
	if w.up != nil {
		err = w.up.Close()
	} else {
		err = w.sendWhole()
	}
	if ctxErr := w.ctx.Err(); err != nil && ctxErr != nil {
		return ctxErr
	}
	if err != nil {
		return w.afterFailure(err)
	}
	a := w.up.Attrs()
	if err := w.check(a); err != nil {
		// The service compares checksums itself, so that this should not be. What is there must not be taken for the object.
		gone := w.b.object(w.name).If(storage.Conditions{GenerationMatch: a.Generation}).Delete(wire.Operation(w.ctx))
		return errors.Join(err, gone)
	}
	return nil
}

// sendWhole sends what fits into one request. The library repeats requests that fail, but not those whose answer begins
// and breaks off. Package wire waits before each.
func (w *writer) sendWhole() (err error) {
	for n := 1; ; n++ {
		// One byte more than there is: a chunk that is not full goes in one request, with its checksum in front.
		w.up = w.begin(w.buf.Len() + 1)
		w.up.SendCRC32C, w.up.CRC32C = true, w.sum
		_, err = w.up.Write(w.buf.Bytes())
		if closed := w.up.Close(); closed != nil {
			err = closed
		}
		if err == nil || !again(err) || n == wire.Attempts {
			return err
		}
	}
}

// afterFailure looks whether the object is there in spite of an error: the answer was lost, or another attempt at the same
// piece of work has put the same bytes there, and all is well. Else the error stands.
func (w *writer) afterFailure(err error) error {
	a, statErr := w.b.attrs(w.ctx, w.name)
	if statErr == nil && w.check(a) == nil {
		return nil
	}
	var api *googleapi.Error
	if !errors.As(err, &api) || api.Code != http.StatusPreconditionFailed {
		return w.b.failure(err)
	}
	if statErr != nil {
		return fmt.Errorf("%w (%w)", driver.ErrConflict, statErr)
	}
	return fmt.Errorf("%w: %d bytes, generation %d of %s; %d bytes were to be written: is another run at work in this folder?",
		driver.ErrConflict, a.Size, a.Generation, a.Updated.UTC().Format(time.RFC3339), w.size)
}

// check makes sure that what the service has is what was written.
func (w *writer) check(a *storage.ObjectAttrs) error {
	if a.Size != w.size || a.CRC32C != w.sum {
		return fmt.Errorf("the service has %d bytes with CRC-32C %08x, %d with %08x were sent", a.Size, a.CRC32C, w.size, w.sum)
	}
	return nil
}

// Abort ends the upload: the library sends nothing more once its context is cancelled.
func (w *writer) Abort() error {
	if w.done {
		return nil
	}
	w.done = true
	w.cancel()
	w.buf = bytes.Buffer{}
	if w.up != nil {
		_ = w.up.Close() // says that it was cancelled
	}
	return nil
}
