package corpus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"sower/internal/blob"
	"sower/schemas"
)

// Footer keys of a unit's parts, beside schemas.IdentityKey.
const (
	unitKey   = "sower.unit"   // number of the unit
	countsKey = "sower.counts" // schemas.Counts as JSON
)

// UnitInfo is what a committed unit tells the manifest.
type UnitInfo struct {
	Unit    int
	Counts  schemas.Counts
	Files   []schemas.File
	Resumed bool // committed by an earlier run
}

// UnitWriter writes the parts of one unit: rows of T into data/ and rejects into rejects/.
type UnitWriter[T any] struct {
	unit    int
	data    *Part[T]
	rejects *Part[schemas.RejectRow]
	counts  schemas.Counts
}

// names gives a unit's data and reject parts.
func names(unit, units int) (data, rejects string) {
	return PartName("data", "part", unit, units), PartName("rejects", "part", unit, units)
}

// CreateUnit starts a unit's parts.
func CreateUnit[T any](ctx context.Context, b *blob.Bucket, id schemas.Identity, unit, units int, bloom ...string) (*UnitWriter[T], error) {
	footer := map[string]string{schemas.IdentityKey: id.JSON(), unitKey: fmt.Sprint(unit)}
	dataName, rejectName := names(unit, units)
	data, err := Create[T](ctx, b, dataName, footer, bloom...)
	if err != nil {
		return nil, err
	}
	rejects, err := Create[schemas.RejectRow](ctx, b, rejectName, footer)
	if err != nil {
		data.Abort()
		return nil, err
	}
	return &UnitWriter[T]{unit: unit, data: data, rejects: rejects, counts: schemas.Counts{Rejected: map[string]int64{}}}, nil
}

// Row adds a row that has a result.
func (w *UnitWriter[T]) Row(row T, bytes int) error {
	w.counts.In++
	w.counts.Encoded++
	return w.data.Append(row, bytes)
}

// Reject adds a row that has none.
func (w *UnitWriter[T]) Reject(row schemas.RejectRow) error {
	w.counts.In++
	w.counts.Rejected[row.Reason]++
	return w.rejects.Append(row, len(row.Key)+len(row.Detail)+64)
}

// Commit makes both parts visible, the rejects first: a unit is done when its data part is there.
func (w *UnitWriter[T]) Commit() (UnitInfo, error) {
	defer w.Abort()
	info := UnitInfo{Unit: w.unit, Counts: w.counts}
	if err := w.counts.Check(); err != nil {
		return info, err
	}
	p, err := json.Marshal(w.counts)
	if err != nil {
		return info, err
	}
	w.data.SetFooter(countsKey, string(p))
	w.rejects.SetFooter(countsKey, string(p))
	rejects, err := w.rejects.Commit()
	if err != nil {
		return info, err
	}
	data, err := w.data.Commit()
	if err != nil {
		return info, err
	}
	info.Files = []schemas.File{data, rejects}
	return info, nil
}

// Abort drops both parts if they are not committed.
func (w *UnitWriter[T]) Abort() {
	w.data.Abort()
	w.rejects.Abort()
}

// Committed reports whether a unit is done: both parts are whole, belong to this unit, carry this identity and agree
// about the counts. Parts of another identity are an error, which names the fields; damaged ones count as not done.
func Committed(ctx context.Context, b *blob.Bucket, id schemas.Identity, unit, units int) (*UnitInfo, error) {
	info := &UnitInfo{Unit: unit, Resumed: true}
	dataName, rejectName := names(unit, units)
	var stated [2]string
	var rows [2]int64
	for i, name := range []string{dataName, rejectName} {
		f, err := ReadFooter(ctx, b, name)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrDamaged) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if err := SameIdentity(name, f, id); err != nil {
			return nil, err
		}
		if f.Values[unitKey] != fmt.Sprint(unit) || f.Values[countsKey] == "" {
			return nil, nil
		}
		sum, err := Digest(ctx, b, name)
		if err != nil {
			return nil, err
		}
		stated[i], rows[i] = f.Values[countsKey], f.Rows
		info.Files = append(info.Files, schemas.File{Path: name, Rows: f.Rows, Bytes: f.Bytes, SHA256: sum})
	}
	if stated[0] != stated[1] || json.Unmarshal([]byte(stated[0]), &info.Counts) != nil || info.Counts.Check() != nil ||
		rows[0] != info.Counts.Encoded || rows[1] != info.Counts.RejectedTotal() {
		return nil, nil
	}
	return info, nil
}

// ErrMixed marks files of another identity in the output folder.
var ErrMixed = errors.New("made with other settings")

// SameIdentity compares a part's footer with the identity of the run.
func SameIdentity(name string, f *Footer, id schemas.Identity) error {
	text, ok := f.Values[schemas.IdentityKey]
	if !ok {
		return fmt.Errorf("corpus: %s has no %s in its footer: not a file of this program", name, schemas.IdentityKey)
	}
	old, err := schemas.ParseIdentity(text)
	if err != nil {
		return fmt.Errorf("corpus: %s: %w", name, err)
	}
	if diff := old.Diff(id); len(diff) > 0 {
		return &MixedError{Name: name, Fields: diff}
	}
	return nil
}

// MixedError says which fields of a file's identity differ from the run's.
type MixedError struct {
	Name   string
	Fields []string // `name: "theirs" → "ours"`
}

func (e *MixedError) Error() string {
	s := fmt.Sprintf("corpus: %s was made with other settings:", e.Name)
	for _, f := range e.Fields {
		s += "\n    " + f
	}
	return s
}

// Is makes errors.Is(err, ErrMixed) true.
func (e *MixedError) Is(target error) bool { return target == ErrMixed }
