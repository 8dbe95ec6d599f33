package shards

import (
	"context"
	"fmt"
	"iter"
	"unicode/utf8"

	"sower/schemas"
)

func init() {
	Register(table{"csv", dialect{quotes: true, delim: ',', header: true}})
	Register(table{"tsv", dialect{delim: '\t', header: true}})
}

// table reads files of one row a record whose first record names the columns: CSV after RFC 4180, with quotes and line
// breaks inside of them, and TSV as IANA registered it (text/tab-separated-values), where a quote is a character like
// any other and a field holds neither tab nor line break. Both plain or gzip-compressed. All values are strings.
type table struct {
	name string
	d    dialect
}

func (f table) Name() string { return f.name }

func (f table) Split(ctx context.Context, o *Options, s Source, target int64) ([]Range, error) {
	return splitText(ctx, o, f.name, f.d, s, target)
}

func (f table) Read(ctx context.Context, o *Options, r Range) iter.Seq2[Pair, error] {
	return readText(ctx, o, r, f.d, func(t textRow) (fields, *Fault) {
		row, bad := f.values(o, t)
		if bad == nil {
			bad = f.missing(o, t.header, row)
		}
		return row, bad
	})
}

// values names the values of a record. A record of another number of fields than the header is refused: which of its
// values stand in the wrong column cannot be known.
func (f table) values(o *Options, t textRow) (fields, *Fault) {
	values := f.d.splitFields(t.data)
	row := fields{}
	var bad *Fault
	for i, v := range values[:min(len(values), len(t.header))] {
		name := t.header[i]
		switch {
		case !utf8.ValidString(v):
			if bad == nil {
				bad = fault(schemas.TextNotUTF8, "column %q is not UTF-8", name)
			}
			row[name] = escapeInvalid(v)
		case len(v) > maxFieldBytes && !mayBeUsed(o, name):
			row.skip(name)
		default:
			row[name] = v
		}
	}
	if len(values) != len(t.header) {
		bad = fault(schemas.UnreadableSource, "%d fields, the header has %d", len(values), len(t.header))
	}
	return row, bad
}

// missing refuses the rows of a table whose header has no image column.
func (f table) missing(o *Options, header []string, row fields) *Fault {
	if o.ImageColumn != "" {
		if _, _, ok := row.lookup(o.ImageColumn, true); ok {
			return nil
		}
		return fault(schemas.MissingColumn, "no column %q (have: %s)", o.ImageColumn, fmt.Sprintf("%q", header))
	}
	for _, n := range imageFields {
		if _, _, ok := row.lookup(n, false); ok {
			return nil
		}
	}
	return fault(schemas.MissingColumn, "no image column (have: %s)", fmt.Sprintf("%q", header))
}
