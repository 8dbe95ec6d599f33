package retry

import (
	"context"
	"fmt"
	"strings"

	"sower/internal/blob"
	"sower/internal/corpus"
	"sower/internal/encode"
	"sower/internal/plan"
	"sower/schemas"
)

// Config is everything that a worker needs.
type Config struct {
	// Encode writes into the staging folder, with the identity that the corpus will have.
	Encode encode.Config
	Corpus string // the corpus as it is
	Work   string // file of schemas.RetryRow in the staging folder
	Units  int    // rows of Work
	// AllowLoss goes on where an image that has codes is now rejected.
	AllowLoss bool
}

// Unit does row n of the work, or finds that an earlier attempt did.
func Unit(ctx context.Context, cfg Config, n int) (info corpus.UnitInfo, err error) {
	w, err := encode.GetWorker(ctx, cfg.Encode)
	if err != nil {
		return info, err
	}
	old, err := blob.OpenBucket(ctx, cfg.Corpus)
	if err != nil {
		return info, err
	}
	defer old.Close()
	staging, err := blob.OpenBucket(ctx, cfg.Encode.Output)
	if err != nil {
		return info, err
	}
	defer staging.Close()
	rows, err := corpus.Lookup(ctx, staging, cfg.Work, int32(n), func(r *schemas.RetryRow) int32 { return r.Work })
	if err != nil {
		return info, err
	}
	if len(rows) != 1 {
		return info, fmt.Errorf("retry: %s has %d rows of number %d", cfg.Work, len(rows), n)
	}
	row := rows[0]
	unit := int(row.Unit)
	var replaces *schemas.Counts
	if row.Replaces >= 0 {
		if replaces, err = replaced(ctx, old, row); err != nil {
			return info, err
		}
	}
	done, err := w.Redone(ctx, unit)
	if err != nil {
		return info, err
	}
	if done != nil {
		done.Replaces = replaces
		return *done, nil
	}
	pieces, err := pieces(ctx, old, staging, cfg.Encode.Plan, row)
	if err != nil {
		return info, err
	}
	info, reused, err := w.Redo(ctx, unit, pieces, cfg.AllowLoss)
	info.Replaces, info.Reused = replaces, reused
	return info, err
}

// replaced gives the counts of the unit whose place this one takes.
func replaced(ctx context.Context, b *blob.Bucket, row schemas.RetryRow) (*schemas.Counts, error) {
	f, err := corpus.ReadFooter(ctx, b, row.Parts[0].Path)
	if err != nil {
		return nil, err
	}
	c, err := corpus.UnitCounts(f)
	if err != nil {
		return nil, fmt.Errorf("retry: %s: %w", row.Parts[0].Path, err)
	}
	return &c, nil
}

// pieces are a unit's ranges with what the corpus has of them.
func pieces(ctx context.Context, old, staging *blob.Bucket, planName string, row schemas.RetryRow) ([]encode.Piece, error) {
	ranges, err := plan.ReadUnit(ctx, staging, planName, int(row.Unit))
	if err != nil {
		return nil, err
	}
	if len(ranges) != len(row.Ranges) {
		return nil, fmt.Errorf("retry: unit %d has %d ranges, the work says %d", row.Unit, len(ranges), len(row.Ranges))
	}
	out := make([]encode.Piece, len(ranges))
	bySource := map[string][]int{}
	for i, r := range ranges {
		out[i].Range, out[i].Read = r, row.Ranges[i].Read
		bySource[r.Source] = append(bySource[r.Source], i)
	}
	find := func(source string, n int64) *encode.Rows {
		for _, i := range bySource[source] {
			if end := row.Ranges[i].End; n >= ranges[i].FirstRow && (end < 0 || n < end) {
				return &out[i].Rows
			}
		}
		return nil // of a neighbour: the cut was another
	}
	for _, p := range row.Parts {
		sum, err := corpus.Digest(ctx, old, p.Path)
		if err != nil {
			return nil, err
		}
		if sum != p.SHA256 {
			return nil, fmt.Errorf("retry: %s has SHA-256 %.16s…, %s says %.16s…: the part is damaged; delete it and run the command that made the corpus again, then retry",
				blob.Join(old.URL(), p.Path), sum, schemas.ManifestName, p.SHA256)
		}
		folder, _, _ := strings.Cut(p.Path, "/")
		switch folder {
		case "data":
			err = corpus.Read(ctx, old, p.Path, func(r schemas.CodeRow) error {
				if to := find(r.Source, r.Row); to != nil {
					to.Codes = append(to.Codes, r)
				}
				return nil
			})
		case "rejects":
			err = corpus.Read(ctx, old, p.Path, func(r schemas.RejectRow) error {
				if to := find(r.Source, r.Row); to != nil {
					to.Rejects = append(to.Rejects, r)
				}
				return nil
			})
		case "documents":
			err = corpus.Read(ctx, old, p.Path, func(r schemas.DocumentRow) error {
				if to := find(r.Source, r.Row); to != nil {
					to.Documents = append(to.Documents, r)
				}
				return nil
			})
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}
