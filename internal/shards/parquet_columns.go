package shards

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	pqformat "github.com/parquet-go/parquet-go/format"

	"sower/schemas"
)

// leafColumn is a column that is read.
type leafColumn struct {
	name     string // top-level name, which is the field's
	index    int    // of the leaf in the schema
	repeated bool
	kind     parquet.Kind
	text     bool // strings, by annotation or by the column's role
	unsigned bool
	scale    int // digits after the point of a decimal
}

// parquetColumns says which columns of a file are read, and as what.
type parquetColumns struct {
	image  *leafColumn
	path   *leafColumn // beside image bytes in a struct
	fields []leafColumn
	bad    *Fault // no image column: every row is rejected with it
}

var imageBinary = slices.Concat(imageExts, []string{"image", "img", "image_bytes", "img_bytes", "bytes"})

func oneOf(names []string, name string) int {
	return slices.IndexFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}

func leaf(c *parquet.Column, name string) leafColumn {
	l := leafColumn{name: name, index: int(c.Index()), repeated: c.MaxRepetitionLevel() > 0, kind: c.Type().Kind()}
	if t := c.Type().LogicalType(); t != nil {
		switch t := t.Value.(type) {
		case *pqformat.StringType, *pqformat.EnumType, *pqformat.JsonType:
			l.text = true
		case *pqformat.IntType:
			l.unsigned = !t.IsSigned
		case *pqformat.DecimalType:
			l.scale = int(t.Scale)
		}
	}
	return l
}

// child is the leaf of a group with this name, nil if there is none.
func child(c *parquet.Column, name string) *parquet.Column {
	for _, x := range c.Columns() {
		if strings.EqualFold(x.Name(), name) && x.Leaf() {
			return x
		}
	}
	return nil
}

// selectColumns finds the image column: the one asked for, or the first of
//
//  1. a binary column named after an encoding (img2dataset) or image, img, image_bytes, …
//  2. a struct of that name with a field "bytes" (the datasets library's Image), or any struct of bytes and path
//  3. the only binary column of the file
//  4. a string column named as in imageFields, holding paths or base64
//
// and the other columns that go to text, key and metadata: top-level columns of scalar type. Binary columns, lists and
// structs are not read, but for a list of strings that is the caption.
func selectColumns(root *parquet.Column, o *Options) parquetColumns {
	var sel parquetColumns
	var names []string
	for _, c := range root.Columns() {
		names = append(names, c.Name())
	}
	sel.image, sel.path = imageColumn(root, o)
	if sel.image == nil {
		want := "no image column"
		if o.ImageColumn != "" {
			want = fmt.Sprintf("no image column %q", o.ImageColumn)
		}
		sel.bad = fault(schemas.MissingColumn, "%s (have: %s)", want, strings.Join(names, ", "))
	}
	taken := map[string]bool{}
	for _, c := range root.Columns() {
		name := c.Name()
		if sel.image != nil && sel.image.name == name || taken[name] {
			continue
		}
		isText := name == o.TextColumn || o.TextColumn == "" && oneOf(textFields, name) >= 0
		isKey := name == o.KeyColumn || o.KeyColumn == "" && oneOf(keyFields, name) >= 0
		if sel.bad != nil && !isKey {
			continue // nothing else of such rows is reported
		}
		var l leafColumn
		switch {
		case c.Leaf():
			l = leaf(c, name)
			l.text = l.text || l.kind == parquet.ByteArray && (isText || isKey)
			if l.repeated && !(isText && l.text) || l.kind == parquet.Int96 || l.kind == parquet.FixedLenByteArray || l.kind == parquet.ByteArray && !l.text {
				continue
			}
		case isText:
			e := c
			for !e.Leaf() && len(e.Columns()) == 1 {
				e = e.Columns()[0]
			}
			if !e.Leaf() || e.MaxRepetitionLevel() != 1 {
				continue
			}
			if l = leaf(e, name); l.kind != parquet.ByteArray {
				continue
			}
			l.text = true
		default:
			continue
		}
		taken[name] = true
		sel.fields = append(sel.fields, l)
	}
	return sel
}

// imageColumn finds the image's bytes, and the path beside them.
func imageColumn(root *parquet.Column, o *Options) (image, path *leafColumn) {
	asLeaf := func(c *parquet.Column) *leafColumn {
		l := leaf(c, c.Name())
		if l.repeated || l.kind != parquet.ByteArray && l.kind != parquet.FixedLenByteArray {
			return nil
		}
		return &l
	}
	asStruct := func(c *parquet.Column) (image, path *leafColumn) {
		if c.Leaf() {
			return nil, nil
		}
		b := child(c, "bytes")
		if b == nil {
			return nil, nil
		}
		if image = asLeaf(b); image == nil {
			return nil, nil
		}
		image.name, image.text = c.Name(), false
		if p := child(c, "path"); p != nil {
			if path = asLeaf(p); path != nil {
				path.name = c.Name()
			}
		}
		return image, path
	}
	if want := o.ImageColumn; want != "" {
		c := root
		for _, name := range strings.Split(want, ".") {
			if c = c.Column(name); c == nil {
				break
			}
		}
		if c == nil {
			c = root.Column(want) // a name with a dot in it
		}
		if c == nil {
			return nil, nil
		}
		if c.Leaf() {
			if image = asLeaf(c); image != nil {
				image.name, _, _ = strings.Cut(want, ".")
			}
			return image, nil
		}
		return asStruct(c)
	}
	best := len(imageBinary)
	var binaries []*leafColumn
	for _, c := range root.Columns() {
		if !c.Leaf() {
			continue
		}
		l := asLeaf(c)
		if l == nil || l.text || l.kind != parquet.ByteArray || c.Type().LogicalType() != nil {
			continue
		}
		if i := oneOf(imageBinary, c.Name()); i >= 0 && i < best {
			best, image = i, l
		}
		if oneOf(textFields, c.Name()) < 0 && oneOf(keyFields, c.Name()) < 0 {
			binaries = append(binaries, l)
		}
	}
	if image != nil {
		return image, nil
	}
	for _, c := range root.Columns() {
		i := oneOf(imageBinary, c.Name())
		if i < 0 && !c.Leaf() && child(c, "path") != nil {
			i = len(imageBinary) // any struct of bytes and path comes after those with a name
		}
		if i < 0 || image != nil && i >= best {
			continue
		}
		if b, p := asStruct(c); b != nil {
			best, image, path = i, b, p
		}
	}
	if image != nil {
		return image, path
	}
	if len(binaries) == 1 {
		return binaries[0], nil
	}
	for _, want := range imageFields {
		for _, c := range root.Columns() {
			if c.Leaf() && strings.EqualFold(c.Name(), want) {
				if l := asLeaf(c); l != nil && l.kind == parquet.ByteArray {
					l.text = true
					return l, nil
				}
			}
		}
	}
	return nil, nil
}

// value makes a field of a column's values; ok is false for null.
func (l *leafColumn) value(values []parquet.Value) (v any, bad *Fault, ok bool) {
	if l.repeated {
		list := []any{}
		for _, e := range values {
			if !e.IsNull() {
				s := string(e.ByteArray())
				if !utf8.ValidString(s) {
					return nil, fault(schemas.TextNotUTF8, "column %q is not UTF-8", l.name), true
				}
				list = append(list, s)
			}
		}
		return list, nil, true
	}
	e := values[0]
	if e.IsNull() {
		return nil, nil, false
	}
	switch l.kind {
	case parquet.Boolean:
		return e.Boolean(), nil, true
	case parquet.Int32:
		if l.unsigned {
			return json.Number(strconv.FormatUint(uint64(e.Uint32()), 10)), nil, true
		}
		return decimal(int64(e.Int32()), l.scale), nil, true
	case parquet.Int64:
		if l.unsigned {
			return json.Number(strconv.FormatUint(e.Uint64(), 10)), nil, true
		}
		return decimal(e.Int64(), l.scale), nil, true
	case parquet.Float:
		return float(float64(e.Float()), 32), nil, true
	case parquet.Double:
		return float(e.Double(), 64), nil, true
	}
	s := string(e.ByteArray())
	if !utf8.ValidString(s) {
		return escapeInvalid(s), fault(schemas.TextNotUTF8, "column %q is not UTF-8", l.name), true
	}
	return s, nil, true
}

// float is the shortest number that reads back the same; JSON has none for NaN and the infinities, which become text.
func float(v float64, bits int) any {
	s := strconv.FormatFloat(v, 'g', -1, bits)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return s
	}
	return json.Number(s)
}

// decimal writes v·10^-scale.
func decimal(v int64, scale int) json.Number {
	s := strconv.FormatInt(v, 10)
	if scale <= 0 || scale > 30 {
		return json.Number(s)
	}
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	if n := scale + 1 - len(s); n > 0 {
		s = strings.Repeat("0", n) + s
	}
	return json.Number(sign + s[:len(s)-scale] + "." + s[len(s)-scale:])
}
