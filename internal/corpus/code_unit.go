package corpus

import (
	"context"

	"sower/internal/blob"
	"sower/schemas"
)

// UnitWriter writes a unit of one data table and its rejects, in the layout CodeLayout.
type UnitWriter[T any] struct {
	*Unit
	data    *Part[T]
	rejects *Part[schemas.RejectRow]
}

// CreateUnit starts a unit's parts.
func CreateUnit[T any](ctx context.Context, b *blob.Bucket, id schemas.Identity, unit, units int, bloom ...string) (*UnitWriter[T], error) {
	w := &UnitWriter[T]{Unit: NewUnit(unit)}
	names := CodeLayout.Names(unit, units)
	var err error
	if w.rejects, err = AddPart[schemas.RejectRow](ctx, w.Unit, b, id, names[0]); err == nil {
		w.data, err = AddPart[T](ctx, w.Unit, b, id, names[1], bloom...)
	}
	if err != nil {
		w.Abort()
		return nil, err
	}
	return w, nil
}

// Row adds a row that has a result.
func (w *UnitWriter[T]) Row(row T, bytes int) error {
	w.Counts.In++
	w.Counts.Encoded++
	return w.data.Append(row, bytes)
}

// Reject adds a row that has none.
func (w *UnitWriter[T]) Reject(row schemas.RejectRow) error {
	w.Counts.In++
	w.Counts.Rejected[row.Reason]++
	return w.rejects.Append(row, len(row.Key)+len(row.Detail)+64)
}
