package shards

import (
	"bytes"
	"context"
	"fmt"
	"iter"

	"github.com/parquet-go/parquet-go"

	"sower/schemas"
)

func init() { Register(parquetFormat{}) }

// parquetFormat reads Parquet files (https://parquet.apache.org/docs/file-format) with the image in them: img2dataset's,
// those of the datasets library, and any with a binary column. It goes row group by row group and holds one page of
// each column that it reads; ranges are row groups.
type parquetFormat struct{}

func (parquetFormat) Name() string { return "parquet" }

func (f parquetFormat) Split(ctx context.Context, o *Options, s Source, target int64) ([]Range, error) {
	return splitRowGroups(ctx, o, f.Name(), s, target)
}

// splitRowGroups cuts a Parquet file at row groups, for the format of this name.
func splitRowGroups(ctx context.Context, o *Options, name string, s Source, target int64) ([]Range, error) {
	whole := Range{Source: s, Format: name, End: -1, Bytes: s.Size, Rows: -1}
	src, bad, err := openSource(ctx, o, s)
	if err != nil {
		return nil, err
	}
	if bad != nil {
		return []Range{whole}, nil
	}
	defer src.Close()
	if s.Size <= target {
		return []Range{whole}, nil
	}
	file, _, err := openTable(src, o)
	if src.err != nil {
		return nil, src.err
	}
	if err != nil || len(file.RowGroups()) == 0 {
		return []Range{whole}, nil
	}
	var ranges []Range
	cur := Range{Source: s, Format: name}
	left := s.Size
	groups := file.RowGroups()
	for i, g := range groups {
		size := int64(0)
		for _, c := range file.Metadata().RowGroups[i].Columns {
			size += max(c.MetaData.TotalCompressedSize, 0)
		}
		size = min(size, left)
		left -= size
		cur.Bytes += size
		cur.Rows += g.NumRows()
		cur.End = int64(i) + 1
		if cur.Bytes >= target && i+1 < len(groups) {
			ranges = append(ranges, cur)
			cur = Range{Source: s, Format: name, Start: cur.End, FirstRow: cur.FirstRow + cur.Rows}
		}
	}
	cur.Bytes += left // magic, footer, indexes
	return append(ranges, cur), nil
}

func (parquetFormat) Read(ctx context.Context, o *Options, r Range) iter.Seq2[Pair, error] {
	return func(yield func(Pair, error) bool) {
		src, bad, err := openSource(ctx, o, r.Source)
		if err != nil {
			yield(Pair{}, err)
			return
		}
		if bad != nil {
			yield(Pair{Source: r.Source.Name, Row: r.FirstRow, Reject: bad, Offset: -1}, nil)
			return
		}
		defer src.Close()
		file, columns, err := openTable(src, o)
		if src.err != nil {
			yield(Pair{}, src.err)
			return
		}
		if err != nil {
			yield(lost(r.Source.Name, "", r.FirstRow, err), nil)
			return
		}
		folder, err := openImageFolder(ctx, o, r.Source.Name)
		if err != nil {
			yield(Pair{}, err)
			return
		}
		defer folder.Close()
		groups := file.RowGroups()
		end := r.End
		if end < 0 || end > int64(len(groups)) {
			end = int64(len(groups))
		}
		row := r.FirstRow
		for g := r.Start; g < end; g++ {
			rows := rowGroup{o: o, src: src, folder: folder, sel: columns, number: int(g)}
			rows.open(file)
			ok := true
			for i := int64(0); ok && i < groups[g].NumRows(); i++ {
				if err := ctx.Err(); err != nil {
					ok = false
					yield(Pair{}, err)
					break
				}
				p, err := rows.pair(ctx, i, row)
				if src.err != nil {
					err = src.err
				}
				if err != nil {
					ok = false
					yield(Pair{}, err)
					break
				}
				ok = yield(p, nil)
				row++
			}
			rows.close()
			if !ok {
				return
			}
		}
	}
}

// openTable reads the footer and finds the columns. Split does both too: a file whose schema cannot be made sense of is
// one row, however it would be split.
func openTable(src *source, o *Options) (file *parquet.File, columns parquetColumns, err error) {
	if file, err = openParquet(src); err != nil {
		return nil, columns, err
	}
	err = guard(func() error {
		columns = selectColumns(file.Root(), o)
		return nil
	})
	return file, columns, err
}

// rowGroup reads the rows of one row group. A column that breaks loses the rest of the group: each of its rows is
// rejected, with its key as long as that column holds.
type rowGroup struct {
	o      *Options
	src    *source
	folder *imageFolder
	sel    parquetColumns
	number int

	image, path *columnReader
	fields      []*columnReader
	err         error // the group cannot be read at all
}

func (g *rowGroup) open(f *parquet.File) {
	reader := func(l *leafColumn) *columnReader {
		if l == nil || g.err != nil {
			return nil
		}
		var c *columnReader
		c, g.err = newColumnReader(g.src, f, g.number, l.index, l.repeated)
		return c
	}
	g.image, g.path = reader(g.sel.image), reader(g.sel.path)
	for i := range g.sel.fields {
		g.fields = append(g.fields, reader(&g.sel.fields[i]))
	}
}

func (g *rowGroup) close() {
	g.image.close()
	g.path.close()
	for _, c := range g.fields {
		c.close()
	}
}

// pair makes row i of the group, row of the file.
func (g *rowGroup) pair(ctx context.Context, i, row int64) (Pair, error) {
	f, bad := fields{}, g.sel.bad
	broken := func(err error) {
		if bad == nil || bad.Reason != schemas.UnreadableSource {
			bad = fault(schemas.UnreadableSource, "row group %d: %v", g.number, err)
		}
	}
	if g.err != nil {
		broken(g.err)
	} else {
		for n, c := range g.fields {
			l := &g.sel.fields[n]
			values, err := c.row(i)
			if err != nil {
				broken(err)
				continue
			}
			v, notUTF8, ok := l.value(values)
			if notUTF8 != nil && bad == nil {
				bad = notUTF8
			}
			if s, long := v.(string); long && len(s) > maxFieldBytes && !mayBeUsed(g.o, l.name) {
				f.skip(l.name)
			} else if ok || l.name == g.o.TextColumn {
				f[l.name] = v
			}
		}
	}
	before := g.folder.reads
	p, err := finishRow(g.o, g.src.name, row, f, bad, func() ([]byte, *Fault, error) {
		if !g.o.wants(row) {
			return nil, nil, nil
		}
		return g.imageOf(ctx, i, f)
	})
	p.Outside = g.folder.reads > before
	return p, err
}

func (g *rowGroup) imageOf(ctx context.Context, i int64, f fields) ([]byte, *Fault, error) {
	values, err := g.image.row(i)
	if err != nil {
		return nil, fault(schemas.UnreadableSource, "row group %d: %v", g.number, err), nil
	}
	path := ""
	if g.path != nil {
		p, err := g.path.row(i)
		if err != nil {
			return nil, fault(schemas.UnreadableSource, "row group %d: %v", g.number, err), nil
		}
		if !p[0].IsNull() {
			path = escapeInvalid(string(p[0].ByteArray()))
		}
		if path != "" && len(path) <= maxFieldBytes {
			f.set("path", path)
		}
	}
	v := values[0]
	name := g.sel.image.name
	if v.IsNull() {
		detail := fmt.Sprintf("column %q is null", name)
		if status, _ := f["status"].(string); status != "" && status != "success" {
			why, _ := f["error_message"].(string)
			detail += fmt.Sprintf(" (%s: %s)", status, why)
		} else if path != "" {
			detail += fmt.Sprintf(" (path %s is not embedded)", path)
		}
		return nil, fault(schemas.NoImage, "%s", detail), nil
	}
	data := v.ByteArray()
	if g.sel.image.text {
		s := escapeInvalid(string(data))
		if p, bad, inline := inlineImage(name, s, g.folder.limit); inline {
			return p, bad, nil
		}
		f.set(name, s)
		return g.folder.read(ctx, s)
	}
	switch {
	case len(data) == 0:
		return nil, fault(schemas.NoImage, "column %q has 0 bytes", name), nil
	case int64(len(data)) > g.folder.limit:
		return nil, fault(schemas.TooLarge, "column %q holds %d bytes, more than %d", name, len(data), g.folder.limit), nil
	}
	return bytes.Clone(data), nil, nil
}
