// Package corpus writes and reads the Parquet parts that a corpus consists of. A part is a function of its rows and its
// footer alone, so the same unit gives the same bytes on every run, and it appears under its name whole or not at all.
package corpus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"strconv"
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

// PartUnit is the unit that a part's name says it is of.
func PartUnit(name string) (unit int, ok bool) {
	name, _, ok = strings.Cut(name[strings.LastIndexByte(name, '/')+1:], "-of-")
	if !ok {
		return 0, false
	}
	unit, err := strconv.Atoi(name[strings.LastIndexByte(name, '-')+1:])
	return unit, err == nil && unit >= 0
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
