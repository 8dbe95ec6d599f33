// Package corpus writes and reads the Parquet parts that a corpus consists of. A part is a function of its rows and its
// footer alone, so the same unit gives the same bytes on every run, and it appears under its name whole or not at all.
package corpus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"sower/internal/blob"
	"sower/schemas"
)

const (
	// maxGroupRows and maxGroupBytes end a row group, whichever comes first; readers of remote files want groups of at most
	// about 100 MB.
	maxGroupRows  = 100_000
	maxGroupBytes = 64 << 20
	// writeRows is how many rows are handed to the Parquet writer at a time.
	writeRows = 256
)

// PartName names part i of n in a folder: data/part-00007-of-00064.parquet. The width grows with n.
func PartName(folder, stem string, i, n int) string { return partName(folder+"/"+stem, i, n) }

func partName(path string, i, n int) string {
	width := max(5, len(fmt.Sprint(n)))
	return fmt.Sprintf("%s-%0*d-of-%0*d.parquet", path, width, i, width, n)
}

// Part is one Parquet file being written.
type Part[T any] struct {
	name  string
	sink  *sink
	pq    *parquet.GenericWriter[T]
	rows  []T
	total int64
	// group counts what the current row group holds so far.
	groupRows, groupBytes int
}

// Create starts a part. bloom names the columns that get a bloom filter.
func Create[T any](ctx context.Context, b *blob.Bucket, name string, footer map[string]string, bloom ...string) (*Part[T], error) {
	out, err := b.Create(ctx, name)
	if err != nil {
		return nil, err
	}
	p := &Part[T]{name: name, sink: &sink{Writer: out, sum: sha256.New()}}
	options := []parquet.WriterOption{
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedDefault}),
		parquet.MaxRowsPerRowGroup(maxGroupRows),
		// The version is not the program's: equal rows must give equal bytes from one release to the next.
		parquet.CreatedBy("sower", "1", "parquet"),
	}
	for _, column := range bloom {
		options = append(options, parquet.BloomFilters(parquet.SplitBlockFilter(10, column)))
	}
	for k, v := range footer {
		options = append(options, parquet.KeyValueMetadata(k, v))
	}
	p.pq = parquet.NewGenericWriter[T](p.sink, options...)
	return p, nil
}

// sink counts and hashes what goes to the store.
type sink struct {
	blob.Writer
	sum  hash.Hash
	size int64
}

func (s *sink) Write(b []byte) (int, error) {
	n, err := s.Writer.Write(b)
	s.sum.Write(b[:n])
	s.size += int64(n)
	return n, err
}

// Append adds a row; bytes is about how much memory it takes, for bounding row groups.
func (p *Part[T]) Append(row T, bytes int) error {
	p.rows = append(p.rows, row)
	p.total++
	p.groupRows++
	p.groupBytes += bytes
	end := p.groupRows >= maxGroupRows || p.groupBytes >= maxGroupBytes
	if len(p.rows) < writeRows && !end {
		return nil
	}
	if err := p.flush(); err != nil {
		return err
	}
	if end {
		p.groupRows, p.groupBytes = 0, 0
		if err := p.pq.Flush(); err != nil {
			return fmt.Errorf("corpus: write %s: %w", p.name, err)
		}
	}
	return nil
}

func (p *Part[T]) flush() error {
	if _, err := p.pq.Write(p.rows); err != nil {
		return fmt.Errorf("corpus: write %s: %w", p.name, err)
	}
	clear(p.rows)
	p.rows = p.rows[:0]
	return nil
}

// Rows is the number of rows appended so far.
func (p *Part[T]) Rows() int64 { return p.total }

// SetFooter adds a footer value that is known only at the end.
func (p *Part[T]) SetFooter(key, value string) { p.pq.SetKeyValueMetadata(key, value) }

// Commit finishes the file and makes it visible.
func (p *Part[T]) Commit() (schemas.File, error) {
	defer p.Abort()
	if err := p.flush(); err != nil {
		return schemas.File{}, err
	}
	if err := p.pq.Close(); err != nil {
		return schemas.File{}, fmt.Errorf("corpus: write %s: %w", p.name, err)
	}
	if err := p.sink.Commit(); err != nil {
		return schemas.File{}, fmt.Errorf("corpus: commit %s: %w", p.name, err)
	}
	return schemas.File{Path: p.name, Rows: p.total, Bytes: p.sink.size, SHA256: hex.EncodeToString(p.sink.sum.Sum(nil))}, nil
}

// Abort drops what was written; after Commit it does nothing.
func (p *Part[T]) Abort() { p.sink.Abort() }

// Footer is what the end of a Parquet file says about it.
type Footer struct {
	Rows   int64
	Bytes  int64
	Values map[string]string
}

// ReadFooter reads a part's footer. A file that is no whole Parquet file is an error that matches ErrDamaged.
func ReadFooter(ctx context.Context, b *blob.Bucket, name string) (*Footer, error) {
	r, err := b.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f, err := open(r, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, fmt.Errorf("corpus: %s: %w", name, err)
	}
	out := &Footer{Rows: f.NumRows(), Bytes: r.Size(), Values: map[string]string{}}
	for _, kv := range f.Metadata().KeyValueMetadata {
		out.Values[kv.Key] = kv.Value
	}
	return out, nil
}

// Sizes reads a part's rows and the uncompressed bytes of one column (a dotted path) from its footer.
func Sizes(ctx context.Context, b *blob.Bucket, name, column string) (rows, bytes int64, err error) {
	r, err := b.Open(ctx, name)
	if err != nil {
		return 0, 0, err
	}
	defer r.Close()
	f, err := open(r, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return 0, 0, fmt.Errorf("corpus: %s: %w", name, err)
	}
	for _, g := range f.Metadata().RowGroups {
		for _, c := range g.Columns {
			if strings.Join(c.MetaData.PathInSchema, ".") == column {
				bytes += c.MetaData.TotalUncompressedSize
			}
		}
	}
	return f.NumRows(), bytes, nil
}

// Schema reads a part's schema.
func Schema(ctx context.Context, b *blob.Bucket, name string) (*parquet.Schema, error) {
	r, err := b.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f, err := open(r, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, fmt.Errorf("corpus: %s: %w", name, err)
	}
	return f.Schema(), nil
}

// RowGroups lists the stored bytes of each row group of a part.
func RowGroups(ctx context.Context, b *blob.Bucket, name string) ([]int64, error) {
	r, err := b.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f, err := open(r, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, fmt.Errorf("corpus: %s: %w", name, err)
	}
	var out []int64
	for _, g := range f.Metadata().RowGroups {
		n := int64(0)
		for _, c := range g.Columns {
			n += c.MetaData.TotalCompressedSize
		}
		out = append(out, n)
	}
	return out, nil
}

// ErrDamaged marks a file that is not whole or not Parquet.
var ErrDamaged = errors.New("not a whole Parquet file")

// open turns the library's panics on damaged input into errors.
func open(r blob.Reader, options ...parquet.FileOption) (f *parquet.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	f, err = parquet.OpenFile(r, r.Size(), options...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return f, nil
}

// Read yields the rows of a part in order, a few at a time; it never holds the file.
func Read[T any](ctx context.Context, b *blob.Bucket, name string, yield func(T) error) error {
	return ReadRange(ctx, b, name, 0, -1, yield)
}

// ReadRange yields the rows [from, to) of a part; to -1 is its end. T may have fewer columns than the file: the others are
// not read.
func ReadRange[T any](ctx context.Context, b *blob.Bucket, name string, from, to int64, yield func(T) error) (err error) {
	r, err := b.Open(ctx, name)
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := open(r, parquet.SkipBloomFilters(true))
	if err != nil {
		return fmt.Errorf("corpus: %s: %w", name, err)
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("corpus: %s: %w: %v", name, ErrDamaged, p)
		}
	}()
	pq := parquet.NewGenericReader[T](f)
	defer pq.Close()
	if from > 0 {
		if err := pq.SeekToRow(from); err != nil {
			return fmt.Errorf("corpus: %s: row %d: %w", name, from, err)
		}
	}
	for to < 0 || from < to {
		n := writeRows
		if to >= 0 {
			n = int(min(int64(n), to-from))
		}
		rows := make([]T, n) // fresh each time: the receiver may keep slices of them
		n, err := pq.Read(rows)
		for _, row := range rows[:n] {
			if err := yield(row); err != nil {
				return err
			}
		}
		from += int64(n)
		if err == io.EOF {
			if to >= 0 && from < to {
				return fmt.Errorf("corpus: %s: %d rows, want %d: %w", name, from, to, ErrDamaged)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("corpus: read %s: %w", name, err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// Digest hashes a committed file.
func Digest(ctx context.Context, b *blob.Bucket, name string) (string, error) {
	r, err := b.Open(ctx, name)
	if err != nil {
		return "", err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(r, 0, r.Size())); err != nil {
		return "", fmt.Errorf("corpus: read %s: %w", name, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Parts lists the parts of a folder of a corpus ("data"), in order of name.
func Parts(ctx context.Context, b *blob.Bucket, folder string) ([]blob.Info, error) {
	var out []blob.Info
	for info, err := range b.List(ctx, folder+"/") {
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(info.Name, ".parquet") {
			out = append(out, info)
		}
	}
	return out, nil
}
