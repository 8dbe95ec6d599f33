package readahead

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"sync"
	"testing"
)

// store counts requests and holds their bytes.
type store struct {
	data []byte

	mu       sync.Mutex
	requests int
	bytes    int64
	fail     func(off int64) error
}

func (s *store) fetch(ctx context.Context, p []byte, off int64) error {
	s.mu.Lock()
	s.requests++
	s.bytes += int64(len(p))
	fail := s.fail
	s.mu.Unlock()
	if fail != nil {
		if err := fail(off); err != nil {
			return err
		}
	}
	copy(p, s.data[off:off+int64(len(p))])
	return ctx.Err()
}

func newStore(size int) *store {
	s := &store{data: make([]byte, size)}
	rand.NewChaCha8([32]byte{byte(size)}).Read(s.data)
	return s
}

func (s *store) open(ctx context.Context, first int) *Reader {
	return New(ctx, Object{Size: int64(len(s.data)), CRC32C: Sum(s.data), Fetch: s.fetch}, s.data[:min(first, len(s.data))])
}

// TestReadsAreRight reads at random and in order, by several goroutines, through blocks that come and go.
func TestReadsAreRight(t *testing.T) {
	for _, size := range []int{0, 1, Small - 1, Small, 3<<20 + 7, 20 << 20} {
		s := newStore(size)
		r := s.open(t.Context(), 1000)
		var wg sync.WaitGroup
		for g := range 6 {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(g), uint64(size)))
				at := int64(0)
				for range 60 {
					if rng.IntN(4) == 0 && size > 0 {
						at = rng.Int64N(int64(size))
					}
					p := make([]byte, rng.IntN(300<<10))
					if rng.IntN(20) == 0 {
						p = make([]byte, largest+rng.IntN(1000))
					}
					n, err := r.ReadAt(p, at)
					want := s.data[at:min(at+int64(len(p)), int64(size))]
					if !bytes.Equal(p[:n], want) || n < len(p) != (err == io.EOF) {
						t.Errorf("size %d: ReadAt(%d, %d): %d bytes, %v", size, len(p), at, n, err)
						return
					}
					if at += int64(n); at == int64(size) {
						at = 0
					}
				}
			})
		}
		wg.Wait()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if _, err := r.ReadAt(make([]byte, 1), 0); size > 0 && !errors.Is(err, fs.ErrClosed) {
			t.Errorf("after close: got %v", err)
		}
	}
}

// TestRequests holds the reader to how many requests the ways of reading take.
func TestRequests(t *testing.T) {
	const size = 64 << 20
	inOrder := func(from, to int64, step int) func(*testing.T, *Reader) {
		return func(t *testing.T, r *Reader) {
			p := make([]byte, step)
			for at := from; at < to; at += int64(step) {
				if _, err := r.ReadAt(p[:min(int64(step), to-at)], at); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, c := range []struct {
		name     string
		first    int
		read     func(*testing.T, *Reader)
		requests int
		bytes    int64
	}{
		{"nothing", 0, func(*testing.T, *Reader) {}, 0, 0},
		{"all in order", 256 << 10, inOrder(0, size, 256<<10), 30, size},
		{"all in tiny steps", 0, inOrder(0, 8<<20, 512), 24, 12 << 20},
		{"all at once", 256 << 10, inOrder(0, size, size), 1, size},
		{"first bytes", 256 << 10, inOrder(0, 200<<10, 1000), 0, 0},
		{"jumps over small gaps", 0, func(t *testing.T, r *Reader) {
			for at := int64(0); at < 32<<20; at += 40 << 10 { // headers of a tar whose members have 40 KB
				if _, err := r.ReadAt(make([]byte, 8<<10), at); err != nil {
					t.Fatal(err)
				}
			}
		}, 30, 42 << 20},
		{"a Parquet footer", 0, func(t *testing.T, r *Reader) {
			for _, at := range []int64{8, 30000} {
				if _, err := r.ReadAt(make([]byte, at), size-at); err != nil {
					t.Fatal(err)
				}
			}
		}, 1, Small},
		{"four columns side by side", 0, func(t *testing.T, r *Reader) {
			p := make([]byte, 64<<10)
			for at := int64(0); at < 4<<20; at += int64(len(p)) {
				for column := range int64(4) {
					if _, err := r.ReadAt(p, column*(16<<20)+at); err != nil {
						t.Fatal(err)
					}
				}
			}
		}, 80, 24 << 20},
		{"here and there", 0, func(t *testing.T, r *Reader) {
			rng := rand.New(rand.NewPCG(1, 1))
			for range 50 {
				if _, err := r.ReadAt(make([]byte, 100), rng.Int64N(size/200)*200); err != nil {
					t.Fatal(err)
				}
			}
		}, 55, 60 * Small}, // neighbours by chance are taken for a run
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStore(size)
			r := s.open(t.Context(), c.first)
			c.read(t, r)
			r.Close()
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.requests > c.requests || s.bytes > c.bytes {
				t.Errorf("%d requests for %d bytes, want at most %d for %d", s.requests, s.bytes, c.requests, c.bytes)
			}
		})
	}
}

// TestMemory looks at what a reader holds after every read of the worst case: many runs in order.
func TestMemory(t *testing.T) {
	s := newStore(96 << 20)
	r := s.open(t.Context(), 0)
	defer r.Close()
	most := int64(0)
	p := make([]byte, 128<<10)
	for step := range int64(24) {
		for run := range int64(12) {
			if _, err := r.ReadAt(p, run*(8<<20)+step*int64(len(p))); err != nil {
				t.Fatal(err)
			}
			held := int64(0)
			r.mu.Lock()
			for _, s := range r.runs {
				for _, b := range s.blocks {
					held += int64(len(b.data))
				}
			}
			r.mu.Unlock()
			most = max(most, held)
		}
	}
	if most > budget+2*largest {
		t.Errorf("holds %d bytes, want %d and the two of a run that had more before", most, budget)
	}
}

func TestChecksum(t *testing.T) {
	s := newStore(10 << 20)
	want := Sum(s.data)
	s.data[9<<20] ^= 1
	for name, step := range map[string]int{"in steps": 100 << 10, "in large steps": 5 << 20, "at once": 10 << 20} {
		r := New(t.Context(), Object{Size: 10 << 20, CRC32C: want, Fetch: s.fetch}, nil)
		_, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{io.NewSectionReader(r, 0, 10<<20)}, make([]byte, step))
		if !errors.Is(err, ErrChecksum) {
			t.Errorf("%s: got %v, want ErrChecksum", name, err)
		}
		r.Close()
	}
	r := New(t.Context(), Object{Size: 10 << 20, CRC32C: want, Fetch: s.fetch}, nil)
	defer r.Close()
	if _, err := r.ReadAt(make([]byte, 6<<20), 4<<20); err != nil {
		t.Errorf("a part, of which there is no checksum: %v", err)
	}
}

// TestLateChecksum asks for a checksum that answers do not bring: when all bytes have come, once, and never for a part.
func TestLateChecksum(t *testing.T) {
	s := newStore(10 << 20)
	broken := errors.New("broken")
	for _, c := range []struct {
		name string
		sum  uint32
		ok   bool
		err  error
		want error
	}{{"right", Sum(s.data), true, nil, nil}, {"wrong", 1, true, nil, ErrChecksum}, {"none", 0, false, nil, nil}, {"error", 0, false, broken, broken}} {
		asked := 0
		r := New(t.Context(), Object{Size: 10 << 20, Unsummed: true, Fetch: s.fetch, Late: func(context.Context) (uint32, bool, error) {
			asked++
			return c.sum, c.ok, c.err
		}}, nil)
		if _, err := r.ReadAt(make([]byte, 9<<20), 0); err != nil || asked != 0 {
			t.Errorf("%s: a part: %v, asked %d times", c.name, err, asked)
		}
		if _, err := io.Copy(io.Discard, io.NewSectionReader(r, 0, 10<<20)); !errors.Is(err, c.want) || asked != 1 {
			t.Errorf("%s: got %v, want %v; asked %d times", c.name, err, c.want, asked)
		}
		if sum, ok := r.CRC32C(); ok != c.ok || ok && sum != c.sum {
			t.Errorf("%s: checksum %08x, %v", c.name, sum, ok)
		}
		r.Close()
	}
}

// TestErrors lets requests fail: the error comes with the read that needs those bytes, and the next read asks again.
func TestErrors(t *testing.T) {
	s := newStore(8 << 20)
	broken := errors.New("broken")
	s.fail = func(off int64) error {
		if off >= 1<<20 {
			return broken
		}
		return nil
	}
	r := s.open(t.Context(), 0)
	defer r.Close()
	p := make([]byte, 64<<10)
	at := int64(0)
	var err error
	for err == nil {
		_, err = r.ReadAt(p, at)
		at += int64(len(p))
	}
	if !errors.Is(err, broken) || at > 2<<20 {
		t.Fatalf("got %v at %d", err, at)
	}
	s.mu.Lock()
	s.fail = nil
	s.mu.Unlock()
	if n, err := r.ReadAt(p, at); n != len(p) || err != nil || !bytes.Equal(p, s.data[at:at+int64(n)]) {
		t.Errorf("after the store has recovered: %d bytes, %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r = s.open(ctx, 0)
	cancel()
	if _, err := r.ReadAt(p, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}
