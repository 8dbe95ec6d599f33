package corpus

import (
	"context"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"

	"sower/internal/blob"
)

// Lookup reads the rows of a part whose first column, an int32 that is sorted, has a value; number gives it. Pages that cannot hold
// the value are found by the page index and not read, so that one row of a large part costs a few hundred kilobytes.
func Lookup[T any](ctx context.Context, b *blob.Bucket, name string, value int32, number func(*T) int32) ([]T, error) {
	var out []T
	err := withFile(ctx, b, name, func(f *parquet.File) error {
		for _, g := range f.RowGroups() {
			from, to, err := rowsOf(g, value)
			if err != nil {
				return fmt.Errorf("corpus: read %s: %w", name, err)
			}
			if from == to {
				continue
			}
			rows := parquet.NewGenericRowGroupReader[T](g)
			err = rows.SeekToRow(from)
			for buf := []T(nil); err == nil && from < to; from += int64(len(buf)) {
				buf = make([]T, min(1024, to-from)) // fresh each time: rows may keep slices of it
				var n int
				n, err = rows.Read(buf)
				buf = buf[:n]
				for i := range buf {
					if number(&buf[i]) == value {
						out = append(out, buf[i])
					}
				}
				if err == io.EOF && from+int64(n) < to {
					err = ErrDamaged
				} else if err == io.EOF {
					err = nil
				}
			}
			if closed := rows.Close(); err == nil {
				err = closed
			}
			if err != nil {
				return fmt.Errorf("corpus: read %s: %w", name, err)
			}
		}
		return ctx.Err()
	})
	return out, err
}

// rowsOf is the range of rows of a group whose pages can hold a value of the first column.
func rowsOf(g parquet.RowGroup, value int32) (from, to int64, err error) {
	chunk := g.ColumnChunks()[0]
	index, err := chunk.ColumnIndex()
	if err != nil {
		return 0, 0, err
	}
	offsets, err := chunk.OffsetIndex()
	if err != nil {
		return 0, 0, err
	}
	if index == nil || offsets == nil || index.NumPages() == 0 {
		return 0, g.NumRows(), nil
	}
	found := false
	for i := range index.NumPages() {
		if index.MaxValue(i).Int32() < value {
			continue
		}
		if index.MinValue(i).Int32() > value {
			break
		}
		if !found {
			found, from = true, offsets.FirstRowIndex(i)
		}
		if to = g.NumRows(); i+1 < index.NumPages() {
			to = offsets.FirstRowIndex(i + 1)
		}
	}
	return from, to, nil
}
