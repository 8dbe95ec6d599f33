// Package readahead makes an io.ReaderAt of ranged requests to a distant store. Bytes that are read in order come from
// requests that grow to megabytes and are sent before they are asked for; bytes read here and there, as of a Parquet
// file's footer and columns, come from small ones. Several runs of reading in order, one a column, go on side by side.
package readahead

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"sync"
)

// Sizes of requests, and what a reader may hold in memory.
const (
	Small   = 64 << 10 // of a read that continues none
	largest = 4 << 20  // of a read ahead
	budget  = 16 << 20 // of all blocks of a reader
	runs    = 8        // that are remembered
)

// Fetch fills p with the bytes from off on, after as many attempts as it deems right.
type Fetch func(ctx context.Context, p []byte, off int64) error

// Object describes what is read.
type Object struct {
	Size int64
	// CRC32C is compared when all bytes have been read in order from the first to the last, unless Unsummed.
	CRC32C   uint32
	Unsummed bool
	// Late, where the store's answers bring no checksum, asks for it: once, when it is needed. false: the store has none of this object.
	Late  func(context.Context) (sum uint32, ok bool, err error)
	Fetch Fetch
}

// ErrChecksum marks objects whose bytes are not those that the store has a checksum of.
var ErrChecksum = errors.New("checksum of what came is not the object's")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Sum is the CRC-32C of p.
func Sum(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }

// Reader reads one object. It may be used from several goroutines.
type Reader struct {
	o      Object
	ctx    context.Context
	cancel context.CancelFunc

	mu     sync.Mutex
	runs   []*run // the one used last at the end
	summed int64  // bytes from the first on that are in sum
	sum    uint32
	bad    error
}

// run is a stretch that is read in order: the block at hand and the one after it.
type run struct {
	blocks  []*block
	from    int64 // where it began
	size    int64 // of the last request
	inOrder bool
}

func (r *run) end() int64 {
	b := r.blocks[len(r.blocks)-1]
	return b.off + int64(len(b.data))
}

type block struct {
	off     int64
	data    []byte
	done    chan struct{}
	err     error
	waiting int
	cancel  context.CancelFunc
}

func (b *block) holds(at int64) bool { return at >= b.off && at < b.off+int64(len(b.data)) }

// New makes a reader. first are the object's first bytes as far as they are known already, or nil. Reading ends with ctx.
func New(ctx context.Context, o Object, first []byte) *Reader {
	r := &Reader{o: o}
	r.ctx, r.cancel = context.WithCancel(ctx)
	if len(first) > 0 {
		b := &block{data: first, done: make(chan struct{}), cancel: func() {}}
		close(b.done)
		r.runs = []*run{{blocks: []*block{b}, size: int64(len(first))}}
	}
	return r
}

// Size is the object's size in bytes.
func (r *Reader) Size() int64 { return r.o.Size }

// CRC32C implements driver.Summed.
func (r *Reader) CRC32C() (uint32, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.late()
	return r.o.CRC32C, err == nil && !r.o.Unsummed
}

// late asks for a checksum that did not come with the object. The lock is held.
func (r *Reader) late() error {
	if !r.o.Unsummed || r.o.Late == nil {
		return nil
	}
	sum, ok, err := r.o.Late(r.ctx)
	if err != nil {
		return err
	}
	r.o.CRC32C, r.o.Unsummed, r.o.Late = sum, !ok, nil
	return nil
}

// Close ends what is under way. It does not wait.
func (r *Reader) Close() error {
	r.cancel()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.runs, r.bad = nil, fs.ErrClosed
	return nil
}

// ReadAt implements io.ReaderAt.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read at %d: negative offset", off)
	}
	n := 0
	for n < len(p) {
		at := off + int64(n)
		if at >= r.o.Size {
			return n, io.EOF
		}
		m, err := r.read(p[n:], at)
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// read gives some bytes at a place before the end.
func (r *Reader) read(p []byte, at int64) (int, error) {
	if err := r.ctx.Err(); err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.bad != nil {
			return 0, r.bad
		}
		return 0, err
	}
	p = p[:min(int64(len(p)), r.o.Size-at)]
	r.mu.Lock()
	if r.bad != nil {
		defer r.mu.Unlock()
		return 0, r.bad
	}
	s, b := r.find(at)
	if b == nil && len(p) >= largest { // goes straight to its place
		r.mu.Unlock()
		if err := r.o.Fetch(r.ctx, p, at); err != nil {
			return 0, err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if err := r.account(p, at); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	if b == nil {
		s, b = r.begin(at, int64(len(p)))
	}
	r.proceed(s, b)
	b.waiting++
	r.mu.Unlock()
	select {
	case <-b.done:
	case <-r.ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	b.waiting--
	select {
	case <-b.done:
	default:
		return 0, r.ctx.Err()
	}
	if b.err != nil {
		r.forget(s) // the next read asks anew
		return 0, b.err
	}
	if err := r.account(b.data, b.off); err != nil {
		return 0, err // and no bytes: io.ReadFull forgets the error of a read that was full
	}
	return copy(p, b.data[at-b.off:]), nil
}

// account takes bytes into the object's checksum if they follow those that are in it. The lock is held.
func (r *Reader) account(p []byte, off int64) error {
	if r.o.Unsummed && r.o.Late == nil || off > r.summed || off+int64(len(p)) <= r.summed {
		return nil
	}
	r.sum = crc32.Update(r.sum, castagnoli, p[r.summed-off:])
	if r.summed = off + int64(len(p)); r.summed < r.o.Size {
		return r.bad
	}
	if err := r.late(); err != nil {
		r.bad = fmt.Errorf("asking for the checksum of what came: %w", err)
	} else if !r.o.Unsummed && r.sum != r.o.CRC32C {
		r.bad = fmt.Errorf("%w (CRC-32C %08x, want %08x)", ErrChecksum, r.sum, r.o.CRC32C)
	}
	return r.bad
}

func (r *Reader) find(at int64) (*run, *block) {
	for _, s := range r.runs {
		for _, b := range s.blocks {
			if b.holds(at) {
				return s, b
			}
		}
	}
	return nil, nil
}

// begin asks for the bytes at a place that no block holds.
func (r *Reader) begin(at, want int64) (*run, *block) {
	for _, s := range r.runs {
		// A jump forward by less than a request is cheaper than a new start.
		if end := s.end(); at >= end && at-end < s.size {
			s.inOrder = true
			s.size = r.next(s, at)
			r.drop(s.blocks)
			b := r.fetch(at, max(want, s.size))
			s.blocks = []*block{b}
			return s, b
		}
	}
	if len(r.runs) == runs {
		r.forget(r.runs[0])
	}
	size := max(want, Small)
	if at+want == r.o.Size { // the end of a file is read backwards
		at = min(at, max(0, r.o.Size-Small))
	}
	b := r.fetch(at, size)
	s := &run{blocks: []*block{b}, from: at, size: size}
	r.runs = append(r.runs, s)
	return s, b
}

// next is the size of a run's next request. It stays a quarter of what has been read in order, so that what comes in vain when
// the run ends early is little beside it.
func (r *Reader) next(s *run, at int64) int64 {
	return min(max(s.size, (at-s.from)/4, Small), r.share())
}

// share is how large the requests of one run may become.
func (r *Reader) share() int64 {
	return min(largest, max(Small, budget/2/int64(max(1, len(r.runs)))))
}

// proceed notes that b is being read: what lies before it is dropped and, in order, the block after it is asked for.
func (r *Reader) proceed(s *run, b *block) {
	if i := slices.Index(r.runs, s); i >= 0 {
		r.runs = append(slices.Delete(r.runs, i, i+1), s)
	}
	if i := slices.Index(s.blocks, b); i > 0 {
		r.drop(s.blocks[:i])
		s.blocks = slices.Delete(s.blocks, 0, i)
	}
	if s.inOrder && len(s.blocks) == 1 && s.end() < r.o.Size {
		s.size = r.next(s, s.end())
		s.blocks = append(s.blocks, r.fetch(s.end(), s.size))
	}
}

func (r *Reader) forget(s *run) {
	if i := slices.Index(r.runs, s); i >= 0 {
		r.runs = slices.Delete(r.runs, i, i+1)
		r.drop(s.blocks)
	}
}

// drop ends requests that nobody waits for any more.
func (r *Reader) drop(blocks []*block) {
	for _, b := range blocks {
		if b.waiting == 0 {
			b.cancel()
		}
	}
}

func (r *Reader) fetch(at, size int64) *block {
	b := &block{off: at, data: make([]byte, min(size, r.o.Size-at)), done: make(chan struct{})}
	ctx, cancel := context.WithCancel(r.ctx)
	b.cancel = cancel
	go func() {
		defer cancel()
		defer close(b.done)
		b.err = r.o.Fetch(ctx, b.data, b.off)
	}()
	return b
}
