package shards

import (
	"context"
	"iter"

	"github.com/parquet-go/parquet-go"

	"sower/schemas"
)

// documentTable is how a format finds documents in the columns of a Parquet file. It is made from the schema alone.
type documentTable interface {
	// columns are the leaves that document reads, nil for one that is not there.
	columns() []*leafColumn
	// fault is why no row can be read, nil if they can.
	fault() *Fault
	// document puts row i of a row group together.
	document(ctx context.Context, d *draft, g *documentGroup, i int64)
}

// documentGroup is an opened row group of a table of documents.
type documentGroup struct {
	src     *source
	folder  *imageFolder
	number  int
	readers []*columnReader // one for each of the table's columns
	scalars []*columnReader
	err     error // the group cannot be read at all
}

func (g *documentGroup) close() {
	for _, c := range g.readers {
		c.close()
	}
	for _, c := range g.scalars {
		c.close()
	}
}

// rootOf reads the schema of a Parquet file.
func rootOf(src *source) (root *parquet.Column, err error) {
	file, err := openParquet(src)
	if err != nil {
		return nil, err
	}
	err = guard(func() error {
		root = file.Root()
		return nil
	})
	return root, err
}

// scalarColumns are the top-level columns that go to key and metadata: those of scalar type that the table does not use.
func scalarColumns(root *parquet.Column, o *Options, t documentTable) (all []leafColumn) {
	used := map[int]bool{}
	for _, l := range t.columns() {
		if l != nil {
			used[l.index] = true
		}
	}
	for _, c := range root.Columns() {
		if !c.Leaf() || used[int(c.Index())] {
			continue
		}
		l := leaf(c, c.Name())
		isKey := l.name == o.KeyColumn || o.KeyColumn == "" && oneOf(keyFields, l.name) >= 0
		l.text = l.text || isKey && l.kind == parquet.ByteArray
		if l.repeated || l.kind == parquet.Int96 || l.kind == parquet.FixedLenByteArray || l.kind == parquet.ByteArray && !l.text {
			continue
		}
		all = append(all, l)
	}
	return all
}

// readDocumentTable yields the documents of a range of a Parquet file. It holds a row of each column, at most
// maxDocumentBytes, and a page.
func readDocumentTable(ctx context.Context, o *Options, r Range, kind string, newTable func(*parquet.Column) documentTable) iter.Seq2[Pair, error] {
	return func(yield func(Pair, error) bool) {
		src, bad, err := openSource(ctx, o, r.Source)
		if err != nil {
			yield(Pair{}, err)
			return
		}
		if bad != nil {
			yield(lostDocument(Pair{Source: r.Source.Name, Row: r.FirstRow, Reject: bad, Offset: -1}), nil)
			return
		}
		defer src.Close()
		var table documentTable
		var scalars []leafColumn
		file, err := openParquet(src)
		if err == nil {
			err = guard(func() error {
				table = newTable(file.Root())
				scalars = scalarColumns(file.Root(), o, table)
				return nil
			})
		}
		if src.err != nil {
			yield(Pair{}, src.err)
			return
		}
		if err != nil {
			yield(lostDocument(lost(r.Source.Name, "", r.FirstRow, err)), nil)
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
		for n := r.Start; n < end; n++ {
			g := &documentGroup{src: src, folder: folder, number: int(n)}
			g.open(file, table, scalars)
			ok := true
			for i := int64(0); ok && i < groups[n].NumRows(); i++ {
				ok = g.row(ctx, o, table, scalars, kind, i, row, yield)
				row++
			}
			g.close()
			if !ok {
				return
			}
		}
	}
}

func (g *documentGroup) open(f *parquet.File, table documentTable, scalars []leafColumn) {
	reader := func(l *leafColumn) *columnReader {
		if l == nil || g.err != nil {
			return nil
		}
		var c *columnReader
		if c, g.err = newColumnReader(g.src, f, g.number, l.index, l.repeated); g.err == nil {
			c.limit = maxDocumentBytes
		}
		return c
	}
	if table.fault() == nil {
		for _, l := range table.columns() {
			g.readers = append(g.readers, reader(l))
		}
	}
	for i := range scalars {
		g.scalars = append(g.scalars, reader(&scalars[i]))
	}
}

// row yields one document.
func (g *documentGroup) row(ctx context.Context, o *Options, table documentTable, scalars []leafColumn, kind string, i, row int64, yield func(Pair, error) bool) bool {
	if err := ctx.Err(); err != nil {
		yield(Pair{}, err)
		return false
	}
	d := newDraft(g.src.name, row, kind)
	d.folder, d.skip = g.folder, !o.wants(row)
	if g.err != nil {
		d.faultf(schemas.UnreadableSource, "row group %d: %v", g.number, g.err)
	}
	for n, c := range g.scalars {
		if g.err != nil {
			break
		}
		l := &scalars[n]
		values, err := c.row(i)
		if err != nil {
			d.faultf(schemas.UnreadableSource, "row group %d: %v", g.number, err)
			continue
		}
		v, notUTF8, ok := l.value(values)
		if notUTF8 != nil {
			d.fault(notUTF8)
		}
		if s, long := v.(string); long && len(s) > maxFieldBytes {
			d.meta.skip(l.name)
		} else if ok {
			d.meta[l.name] = v
		}
	}
	d.takeKey(o)
	if bad := table.fault(); bad != nil {
		d.fault(bad)
	}
	if g.err == nil && table.fault() == nil {
		table.document(ctx, d, g, i) // also of a document that is lost: columns are read row by row
	}
	if g.src.err != nil {
		yield(Pair{}, g.src.err)
		return false
	}
	return d.emit(ctx, yield)
}
