package plan

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sower/internal/blob"
	"sower/internal/blob/driver"
	"sower/internal/shards"
)

// synthetic is a store of so many tars that are nowhere: it lists them, and counts what is asked of it. Names, sizes and tags are
// like those of a bucket.
type synthetic struct {
	shards              int
	list, stat, open    *atomic.Int64
	sizeOf              func(i int) int64
	perFolder, shardLen int
}

func (s *synthetic) info(i int) driver.Info {
	return driver.Info{Name: fmt.Sprintf("laion/part-%03d/%0*d.tar", i/s.perFolder, s.shardLen, i), Size: s.sizeOf(i), ModTime: time.Unix(int64(1_700_000_000+i), 0), Tag: fmt.Sprint(1_700_000_000_000_000 + i)}
}

// Walk gives pages of a thousand names, and none of a refused folder.
func (s *synthetic) Walk(ctx context.Context, prefix string, enter func(string) bool) iter.Seq2[driver.Info, error] {
	return func(yield func(driver.Info, error) bool) {
		n := 0
		for first := 0; first < s.shards; first += s.perFolder {
			folder := filepath.Dir(s.info(first).Name) + "/"
			if !strings.HasPrefix(folder, prefix) && !strings.HasPrefix(prefix, folder) {
				continue
			}
			if len(folder) > len(prefix) && blob.RefusedFolder(folder, prefix, enter) != "" {
				n = (n + 1000) / 1000 * 1000 // the page goes on in the next folder
				s.list.Add(1)
				continue
			}
			for i := first; i < min(s.shards, first+s.perFolder); i++ {
				info := s.info(i)
				if !strings.HasPrefix(info.Name, prefix) {
					continue
				}
				if n%1000 == 0 {
					s.list.Add(1)
				}
				n++
				if !yield(info, ctx.Err()) {
					return
				}
			}
		}
	}
}

func (s *synthetic) List(ctx context.Context, prefix string) iter.Seq2[driver.Info, error] {
	return s.Walk(ctx, prefix, func(string) bool { return true })
}

func (s *synthetic) Stat(_ context.Context, name string) (driver.Info, error) {
	s.stat.Add(1)
	base := strings.TrimSuffix(filepath.Base(name), ".tar")
	if i, err := strconv.Atoi(base); err == nil && i < s.shards && s.info(i).Name == name {
		return s.info(i), nil
	}
	return driver.Info{}, fs.ErrNotExist
}

func (s *synthetic) Open(_ context.Context, name string) (driver.Reader, error) {
	s.open.Add(1)
	info, err := s.Stat(context.Background(), name)
	return zeros(info.Size), err
}

func (s *synthetic) Create(context.Context, string) (driver.Writer, error) {
	return nil, fs.ErrPermission
}
func (s *synthetic) Delete(context.Context, string) error       { return fs.ErrPermission }
func (s *synthetic) Sweep(context.Context, string) (int, error) { return 0, nil }
func (s *synthetic) Close() error                               { return nil }

// zeros is an archive without files.
type zeros int64

func (z zeros) Size() int64  { return int64(z) }
func (z zeros) Close() error { return nil }
func (z zeros) ReadAt(p []byte, off int64) (int, error) {
	n := min(int64(len(p)), int64(z)-off)
	clear(p[:n])
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

// below is a folder of a store.
type below struct {
	*synthetic
	prefix string
}

func (b below) Walk(ctx context.Context, prefix string, enter func(string) bool) iter.Seq2[driver.Info, error] {
	return func(yield func(driver.Info, error) bool) {
		for info, err := range b.synthetic.Walk(ctx, b.prefix+prefix, func(folder string) bool { return enter(strings.TrimPrefix(folder, b.prefix)) }) {
			info.Name = strings.TrimPrefix(info.Name, b.prefix)
			if !yield(info, err) {
				return
			}
		}
	}
}
func (b below) List(ctx context.Context, prefix string) iter.Seq2[driver.Info, error] {
	return b.Walk(ctx, prefix, func(string) bool { return true })
}
func (b below) Stat(ctx context.Context, name string) (driver.Info, error) {
	return b.synthetic.Stat(ctx, b.prefix+name)
}
func (b below) Open(ctx context.Context, name string) (driver.Reader, error) {
	return b.synthetic.Open(ctx, b.prefix+name)
}

var store = &synthetic{list: new(atomic.Int64), stat: new(atomic.Int64), open: new(atomic.Int64), perFolder: 10_000, shardLen: 7,
	sizeOf: func(i int) int64 { return 150<<20 + int64(i*7919%1000)*1000 }}

func init() {
	blob.Register("synthetic", func(_ context.Context, url string) (driver.Bucket, error) {
		_, rest := blob.SplitScheme(url)
		_, prefix, _ := strings.Cut(rest, "/")
		if prefix != "" {
			prefix += "/"
		}
		return below{store, prefix}, nil
	})
}

// peak is the largest resident memory of this process so far, in bytes; 0 where the system does not say.
func peak() int64 {
	p, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(p), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n << 10
		}
	}
	return 0
}

// TestScale plans an input of very many shards with the real planner: patterns, listing, cut, digest, file, and what one worker then
// reads of it. docs/scale.md has the figures of
//
//	SOWER_SCALE=1000000 go test ./internal/plan -run TestScale -v
func TestScale(t *testing.T) {
	n := 20_000
	if v := os.Getenv("SOWER_SCALE"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	}
	store.shards = n
	ctx := context.Background()
	out, err := blob.OpenBucket(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	for _, pattern := range []string{"synthetic://bucket/laion/**/*.tar", fmt.Sprintf("synthetic://bucket/laion/part-000/{0000000..%07d}.tar", min(n, 10_000)-1)} {
		store.list.Store(0)
		store.stat.Store(0)
		store.open.Store(0)
		debug.FreeOSMemory()
		began := time.Now()
		in, err := shards.Resolve(ctx, []string{pattern}, "")
		if err != nil {
			t.Fatal(err)
		}
		listed := time.Since(began)
		unit := UnitBytes(in.Bytes(), true)
		p, err := Build(in.Ranges(ctx, &shards.Options{}, unit), unit, map[string]string{"a": "b"})
		if err != nil {
			t.Fatal(err)
		}
		built := time.Since(began)
		if err := p.Write(ctx, out); err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		info, err := out.Stat(ctx, p.Name())
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d shards of %d bytes in %d units of %d: listed in %v, planned in %v, written (%d bytes) in %v; peak memory %d MiB; %d pages listed, %d asked for, %d opened", pattern,
			len(in.Sources), in.Bytes(), p.Units, unit, listed.Round(time.Millisecond), (built - listed).Round(time.Millisecond), info.Size, (took - built).Round(time.Millisecond),
			peak()>>20, store.list.Load(), store.stat.Load(), store.open.Load())
		if limit := max(10*time.Second, time.Minute*time.Duration(n)/1_000_000); took > limit {
			t.Errorf("took %v, want at most %v", took, limit)
		}
		if peak() > 2<<30 {
			t.Errorf("%d MiB of memory, want at most 2 GiB", peak()>>20)
		}
		if store.stat.Load() > 100 || store.open.Load() > 100 {
			t.Errorf("%d files were asked for and %d opened one by one: a listing tells all that is needed", store.stat.Load(), store.open.Load())
		}
		worker(t, ctx, out, p)
		began = time.Now()
		old, err := readPlan(ctx, out, p.Name())
		if err != nil || old.Digest != p.Digest || old.Units != p.Units || len(Changes(old, p)) > 0 {
			t.Fatalf("read back: %v", err)
		}
		t.Logf("read back and compared in %v; peak memory %d MiB", time.Since(began).Round(time.Millisecond), peak()>>20)
		runtime.KeepAlive(in)
		in.Root.Close()
	}
}

// worker measures what workers read of a plan for a unit each.
func worker(t *testing.T, ctx context.Context, out *blob.Bucket, p *Plan) {
	t.Helper()
	var reads, bytes atomic.Int64
	counted := blob.New("counted", counting{out, &reads, &bytes})
	began := time.Now()
	const units = 20
	for i := range units {
		u := i * (p.Units - 1) / (units - 1)
		rows, err := ReadUnit(ctx, counted, p.Name(), u)
		if err != nil || len(rows) == 0 || int(rows[0].Unit) != u {
			t.Fatalf("unit %d: %d rows, %v", u, len(rows), err)
		}
	}
	t.Logf("a worker reads %d bytes of the plan in %d calls and %v for its unit", bytes.Load()/units, reads.Load()/units, (time.Since(began) / units).Round(10*time.Microsecond))
	if each := bytes.Load() / units; each > 4<<20 {
		t.Errorf("a worker reads %d bytes of the plan for one unit", each)
	}
}

// counting counts what is read of a store.
type counting struct {
	b            *blob.Bucket
	reads, bytes *atomic.Int64
}

func (c counting) List(ctx context.Context, prefix string) iter.Seq2[driver.Info, error] {
	return c.b.List(ctx, prefix)
}
func (c counting) Stat(ctx context.Context, name string) (driver.Info, error) {
	return c.b.Stat(ctx, name)
}
func (c counting) Create(ctx context.Context, name string) (driver.Writer, error) {
	return c.b.Create(ctx, name)
}
func (c counting) Delete(ctx context.Context, name string) error { return c.b.Delete(ctx, name) }
func (c counting) Sweep(ctx context.Context, prefix string) (int, error) {
	return c.b.Sweep(ctx, prefix)
}
func (c counting) Close() error { return nil }
func (c counting) Open(ctx context.Context, name string) (driver.Reader, error) {
	r, err := c.b.Open(ctx, name)
	return countingReader{r, c}, err
}

type countingReader struct {
	driver.Reader
	c counting
}

func (r countingReader) ReadAt(p []byte, off int64) (int, error) {
	r.c.reads.Add(1)
	r.c.bytes.Add(int64(len(p)))
	return r.Reader.ReadAt(p, off)
}
