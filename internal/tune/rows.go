package tune

import (
	"context"
	"errors"
	"fmt"

	"sower/internal/blob"
	"sower/internal/corpus"
	"sower/schemas"
)

// row is a row of the corpus as training reads it: one or more sequences, one after the other.
type row struct {
	InputIDs        []int32 `parquet:"input_ids,list,dict"`
	Labels          []int32 `parquet:"labels,list,dict"`
	SequenceLengths []int32 `parquet:"sequence_lengths,list,optional"`
}

// plainRow is one of an unpacked table.
type plainRow struct {
	InputIDs []int32 `parquet:"input_ids,list,dict"`
	Labels   []int32 `parquet:"labels,list,dict"`
}

// read yields n rows of the files, in their order, from row first on, and begins anew at the end. Where packed is false, each
// row is one sequence.
func read(ctx context.Context, b *blob.Bucket, files []schemas.File, packed bool, first, n int64, yield func(row) error) error {
	total := int64(0)
	for _, f := range files {
		total += f.Rows
	}
	if total == 0 {
		return errors.New("tune: the corpus has no rows to read")
	}
	for n > 0 {
		at := first % total
		for _, f := range files {
			if at >= f.Rows {
				at -= f.Rows
				continue
			}
			take := min(n, f.Rows-at)
			var err error
			if packed {
				err = corpus.ReadRange(ctx, b, f.Path, at, at+take, yield)
			} else {
				err = corpus.ReadRange(ctx, b, f.Path, at, at+take, func(r plainRow) error {
					return yield(row{r.InputIDs, r.Labels, []int32{int32(len(r.InputIDs))}})
				})
			}
			if err != nil {
				return err
			}
			n, first, at = n-take, first+take, 0
			if n == 0 {
				return nil
			}
		}
	}
	return nil
}

// batch reads the rows of a step.
func (c *Config) batch(ctx context.Context, b *blob.Bucket, packed bool, step int) ([]row, error) {
	var rows []row
	err := read(ctx, b, c.Train, packed, int64(step)*int64(c.BatchRows), int64(c.BatchRows), func(r row) error {
		rows = append(rows, r)
		return r.check()
	})
	if err != nil {
		return nil, fmt.Errorf("tune: rows of step %d: %w", step, err)
	}
	return rows, nil
}

func (r row) check() error {
	sum := 0
	for _, n := range r.SequenceLengths {
		if n < 1 {
			return fmt.Errorf("a sequence of %d ids", n)
		}
		sum += int(n)
	}
	if sum != len(r.InputIDs) || len(r.Labels) != sum {
		return fmt.Errorf("a row of %d ids and %d labels in sequences of %d: the corpus is damaged; sower validate says where", len(r.InputIDs), len(r.Labels), sum)
	}
	return nil
}

// joined puts the sequences of rows one after the other into as few passes of at most limit tokens as their order allows. A row
// is never cut.
func joined(rows []row, limit int) []row {
	var out []row
	for _, r := range rows {
		if last := len(out) - 1; last >= 0 && len(out[last].InputIDs)+len(r.InputIDs) <= limit {
			out[last].InputIDs = append(out[last].InputIDs, r.InputIDs...)
			out[last].Labels = append(out[last].Labels, r.Labels...)
			out[last].SequenceLengths = append(out[last].SequenceLengths, r.SequenceLengths...)
			continue
		}
		out = append(out, row{append([]int32{}, r.InputIDs...), append([]int32{}, r.Labels...), append([]int32{}, r.SequenceLengths...)})
	}
	return out
}
