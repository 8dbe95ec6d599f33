package shards

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"sower/internal/blob"
	"sower/schemas"
)

// source is an opened input file that remembers whether the store failed under it, so that a reader can tell a damaged
// file (a fault of the data) from a failed read (an error).
type source struct {
	ctx  context.Context
	name string
	r    blob.Reader
	size int64
	err  error // first failure of the store, or cancellation
}

// openSource opens s as planned. A missing or unnameable file is a fault of the data, a file of another size than
// planned is an error: its rows would not be where the plan says.
func openSource(ctx context.Context, o *Options, s Source) (*source, *Fault, error) {
	if o == nil || o.Root == nil {
		return nil, nil, fmt.Errorf("shards: read %s: no root in the options", s.Name)
	}
	r, err := o.Root.Open(ctx, s.Name)
	if err != nil {
		return nil, openFault(schemas.UnreadableSource, s.Name, err), openError(err)
	}
	if r.Size() != s.Size {
		r.Close()
		return nil, nil, fmt.Errorf("shards: read %s: %d bytes, the plan says %d: the file changed since", s.Name, r.Size(), s.Size)
	}
	return &source{ctx: ctx, name: s.Name, r: r, size: s.Size}, nil, nil
}

// openFault is the row's fault for a file that cannot be opened, nil if that is not the data's fault. It gives the name
// alone: the root is another on every machine, and reject files must be the same.
func openFault(missing schemas.Reason, name string, err error) *Fault {
	switch {
	case errors.Is(err, blob.ErrUnsafeName):
		return fault(schemas.UnsafeName, "%q leaves its folder", name)
	case errors.Is(err, fs.ErrNotExist):
		f := fault(missing, "%s does not exist", name)
		f.Retryable = true
		return f
	}
	return nil
}

// openError is err where openFault gives no fault.
func openError(err error) error {
	if openFault("", "", err) != nil {
		return nil
	}
	return fmt.Errorf("shards: %w", err)
}

func (s *source) Close() error { return s.r.Close() }

// ReadAt reads from the store and records its failures.
func (s *source) ReadAt(p []byte, off int64) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	if err := s.ctx.Err(); err != nil {
		s.err = err
		return 0, err
	}
	n, err := s.r.ReadAt(p, off)
	if n == len(p) {
		return n, nil
	}
	if err == io.EOF && off+int64(n) >= s.size {
		return n, err
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF // the store gave less than the size it states
	}
	s.err = fmt.Errorf("shards: read %s at byte %d: %w", s.name, off+int64(n), err)
	return n, s.err
}

// reader reads the bytes [start, end) in order, buffered by the caller.
func (s *source) reader(start, end int64) io.Reader { return io.NewSectionReader(s, start, end-start) }
