package corpus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/parquet-go/parquet-go"

	"sower/internal/blob"
	"sower/schemas"
)

// ErrDamaged marks a file that is not whole or not Parquet.
var ErrDamaged = errors.New("not a whole Parquet file")

// Footer is what the end of a Parquet file says about it.
type Footer struct {
	Rows   int64
	Bytes  int64
	Values map[string]string // key-value metadata
	Schema *parquet.Schema
	Groups []Group
}

// Group is a row group: the bytes it takes in the file, and the uncompressed bytes of each column by dotted path.
type Group struct {
	Bytes   int64
	Columns map[string]int64
}

// ColumnBytes are the uncompressed bytes of a column.
func (f *Footer) ColumnBytes(path string) (n int64) {
	for _, g := range f.Groups {
		n += g.Columns[path]
	}
	return n
}

// withFile opens a part, hands it to use and closes it. The library's panics on damaged input become errors that match
// ErrDamaged.
func withFile(ctx context.Context, b *blob.Bucket, name string, use func(f *parquet.File) error, options ...parquet.FileOption) (err error) {
	r, err := b.Open(ctx, name)
	if err != nil {
		return err
	}
	defer r.Close()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("corpus: %s: %w: %v", name, ErrDamaged, p)
		}
	}()
	f, err := parquet.OpenFile(r, r.Size(), append(options, parquet.SkipBloomFilters(true))...)
	if err != nil {
		return fmt.Errorf("corpus: %s: %w: %w", name, ErrDamaged, err)
	}
	return use(f)
}

// ReadFooter reads a part's footer. A file that is no whole Parquet file is an error that matches ErrDamaged.
func ReadFooter(ctx context.Context, b *blob.Bucket, name string) (*Footer, error) {
	var out *Footer
	err := withFile(ctx, b, name, func(f *parquet.File) error {
		out = &Footer{Rows: f.NumRows(), Bytes: f.Size(), Values: map[string]string{}, Schema: f.Schema()}
		for _, kv := range f.Metadata().KeyValueMetadata {
			out.Values[kv.Key] = kv.Value
		}
		for _, g := range f.Metadata().RowGroups {
			group := Group{Columns: map[string]int64{}}
			for _, c := range g.Columns {
				group.Bytes += c.MetaData.TotalCompressedSize
				group.Columns[strings.Join(c.MetaData.PathInSchema, ".")] += c.MetaData.TotalUncompressedSize
			}
			out.Groups = append(out.Groups, group)
		}
		return nil
	}, parquet.SkipPageIndex(true))
	return out, err
}

// Read yields the rows of a part in order, a few at a time; it never holds the file.
func Read[T any](ctx context.Context, b *blob.Bucket, name string, yield func(T) error) error {
	return ReadRange(ctx, b, name, 0, -1, yield)
}

// ReadRange yields the rows [from, to) of a part; to -1 is its end. T may have fewer columns than the file: the others are
// not read.
func ReadRange[T any](ctx context.Context, b *blob.Bucket, name string, from, to int64, yield func(T) error) error {
	return withFile(ctx, b, name, func(f *parquet.File) error {
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
	})
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

// Describe lists a committed file as manifests do: bytes, SHA-256, and the rows of Parquet.
func Describe(ctx context.Context, b *blob.Bucket, name string) (schemas.File, error) {
	info, err := b.Stat(ctx, name)
	if err != nil {
		return schemas.File{}, err
	}
	f := schemas.File{Path: name, Bytes: info.Size}
	if f.SHA256, err = Digest(ctx, b, name); err != nil {
		return f, err
	}
	if strings.HasSuffix(name, ".parquet") {
		footer, err := ReadFooter(ctx, b, name)
		if err != nil {
			return f, err
		}
		f.Rows = footer.Rows
	}
	return f, nil
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
