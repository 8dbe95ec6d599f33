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

// unitKey is the footer key of what a unit's parts say about the unit, beside schemas.IdentityKey.
const unitKey = "sower.unit"

// unitFooter stands alike in every part of a unit.
type unitFooter struct {
	Unit   int            `json:"unit"`
	Counts schemas.Counts `json:"counts"`
	Rows   []int64        `json:"rows"` // of each part, in order of the layout
}

// UnitInfo is what a committed unit tells the manifest.
type UnitInfo struct {
	Unit    int
	Counts  schemas.Counts
	Files   []schemas.File
	Resumed bool // committed by an earlier run
	// Replaces and Reused are a retry's: the counts of the unit whose parts these take the place of, and how many images kept their
	// codes without the model.
	Replaces *schemas.Counts `json:",omitempty"`
	Reused   int64           `json:",omitempty"`
}

// Layout names the parts of a unit as folder/stem ("data/part"), in the order in which they are committed. A unit is done
// when the last one is there.
type Layout []string

// The layouts of Sower's pipelines.
var (
	CodeLayout     = Layout{"rejects/part", "data/part"}
	DocumentLayout = Layout{"rejects/part", "documents/part", "data/part"}
	SequenceLayout = Layout{"data/validation", "data/train"}
)

// Names are the parts of one unit.
func (l Layout) Names(unit, units int) []string {
	out := make([]string, len(l))
	for i, p := range l {
		out[i] = partName(p, unit, units)
	}
	return out
}

// Unit is a unit's parts being written. Its users append rows to the parts and count them here.
type Unit struct {
	Counts schemas.Counts

	unit  int
	parts []part
}

// part is a Part of any row type.
type part interface {
	Rows() int64
	SetFooter(key, value string)
	Commit() (schemas.File, error)
	Abort()
}

// NewUnit starts a unit; its parts are added with AddPart in order of the layout.
func NewUnit(unit int) *Unit {
	return &Unit{unit: unit, Counts: schemas.Counts{Rejected: map[string]int64{}}}
}

// AddPart creates a unit's next part, named as its layout says.
func AddPart[T any](ctx context.Context, u *Unit, b *blob.Bucket, id schemas.Identity, name string, bloom ...string) (*Part[T], error) {
	p, err := Create[T](ctx, b, name, map[string]string{schemas.IdentityKey: id.JSON()}, bloom...)
	if err != nil {
		return nil, err
	}
	u.parts = append(u.parts, p)
	return p, nil
}

// Commit makes the parts visible, one after another.
func (u *Unit) Commit() (UnitInfo, error) {
	defer u.Abort()
	info := UnitInfo{Unit: u.unit, Counts: u.Counts}
	if err := u.Counts.Check(); err != nil {
		return info, err
	}
	footer := unitFooter{Unit: u.unit, Counts: u.Counts}
	for _, p := range u.parts {
		footer.Rows = append(footer.Rows, p.Rows())
	}
	text, err := json.Marshal(footer)
	if err != nil {
		return info, err
	}
	for _, p := range u.parts {
		p.SetFooter(unitKey, string(text))
	}
	for _, p := range u.parts {
		f, err := p.Commit()
		if err != nil {
			return info, err
		}
		info.Files = append(info.Files, f)
	}
	return info, nil
}

// Abort drops the parts that are not committed.
func (u *Unit) Abort() {
	for _, p := range u.parts {
		p.Abort()
	}
}

// Committed reports whether a unit is done: all its parts are whole, belong to this unit, carry this identity and agree about
// counts and rows; nil if not. Parts of another identity are an error, which names the fields.
func Committed(ctx context.Context, b *blob.Bucket, id schemas.Identity, layout Layout, unit, units int) (*UnitInfo, error) {
	info := &UnitInfo{Unit: unit, Resumed: true}
	var said unitFooter
	var first string
	for i, name := range layout.Names(unit, units) {
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
		text := f.Values[unitKey]
		if i > 0 && text != first || json.Unmarshal([]byte(text), &said) != nil || said.Unit != unit || len(said.Rows) != len(layout) || said.Rows[i] != f.Rows || said.Counts.Check() != nil {
			return nil, nil
		}
		first = text
		sum, err := Digest(ctx, b, name)
		if err != nil {
			return nil, err
		}
		info.Files = append(info.Files, schemas.File{Path: name, Rows: f.Rows, Bytes: f.Bytes, SHA256: sum})
	}
	info.Counts = said.Counts
	return info, nil
}

// UnitCounts are the counts of a unit, as each of its parts has them in its footer.
func UnitCounts(f *Footer) (schemas.Counts, error) {
	var said unitFooter
	if err := json.Unmarshal([]byte(f.Values[unitKey]), &said); err != nil {
		return said.Counts, fmt.Errorf("no counts of its unit in its footer (%s): %w", unitKey, err)
	}
	return said.Counts, nil
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
