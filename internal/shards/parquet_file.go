package shards

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	pqformat "github.com/parquet-go/parquet-go/format"
)

// Limits on what a Parquet file's own numbers can make a reader allocate. They are far above what writers produce
// (pages of megabytes, footers of a few), and below what would take a worker down.
const (
	maxParquetFooter = 256 << 20
	maxParquetPage   = 1 << 30
)

// guard turns a panic of the decoder, which damaged bytes can cause, into an error.
func guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("decoder panicked: %v", r)
		}
	}()
	return f()
}

// openParquet reads the footer. An error is damage unless src.err is set.
func openParquet(src *source) (*parquet.File, error) {
	if src.size < 12 {
		return nil, fmt.Errorf("%d bytes are too few for a Parquet file", src.size)
	}
	var tail [8]byte
	if _, err := src.ReadAt(tail[:], src.size-8); err != nil && err != io.EOF {
		return nil, err
	}
	// Checked here because the library allocates what the file claims.
	if n := int64(binary.LittleEndian.Uint32(tail[:])); string(tail[4:]) == "PAR1" && (n > src.size-12 || n > maxParquetFooter) {
		return nil, fmt.Errorf("byte %d: a footer of %d bytes is claimed in a file of %d", src.size-8, n, src.size)
	}
	var f *parquet.File
	err := guard(func() (err error) {
		f, err = parquet.OpenFile(src, src.size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true), parquet.ReadBufferSize(64<<10))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("footer: %w", err)
	}
	rows := int64(0)
	for i, g := range f.RowGroups() {
		n := g.NumRows()
		// A row takes a byte at least, unless all of it is null: a footer that claims more would make rejects without end.
		if limit := max(src.size, 1<<16); n < 0 || n > limit || rows+n > limit {
			return nil, fmt.Errorf("footer: row group %d claims %d rows in a file of %d bytes", i, n, src.size)
		}
		rows += n
	}
	return f, nil
}

// columnReader gives the values of one column of one row group row by row. It reads a page at a time.
type columnReader struct {
	name     string
	src      *source
	meta     *pqformat.ColumnMetaData
	rows     int64 // of the row group
	repeated bool
	// limit bounds the bytes of a repeated column's row that are kept, 0 for none; over says that the last row passed it.
	// A few bytes of a file can stand for any number of values.
	limit int64
	over  bool

	pages  parquet.Pages
	page   parquet.Page
	values parquet.ValueReader
	buf    [32]parquet.Value
	n, i   int
	pos    int64 // rows given
	at     int64 // offset of the next page's header
	err    error
}

func newColumnReader(src *source, f *parquet.File, group, column int, repeated bool) (*columnReader, error) {
	meta := f.Metadata()
	if group >= len(meta.RowGroups) || column >= len(meta.RowGroups[group].Columns) {
		return nil, errors.New("the footer describes fewer column chunks than the schema has columns")
	}
	m := &meta.RowGroups[group].Columns[column].MetaData
	c := &columnReader{src: src, meta: m, repeated: repeated, rows: f.RowGroups()[group].NumRows(), at: m.DataPageOffset}
	if m.DictionaryPageOffset != 0 {
		c.at = m.DictionaryPageOffset
	}
	for i, p := range m.PathInSchema {
		if i > 0 {
			c.name += "."
		}
		c.name += p
	}
	// parquet-go up to 0.32 drops what its LZ4 decoder returns and gives stale bytes instead (parquet-go issue 608), and
	// allocates without end on a damaged block.
	if m.Codec == pqformat.Lz4Raw {
		return nil, fmt.Errorf("column %q is compressed with LZ4, which cannot be read: write the file with zstd, snappy or gzip", c.name)
	}
	err := guard(func() error {
		c.pages = f.RowGroups()[group].ColumnChunks()[column].Pages()
		return nil
	})
	return c, err
}

func (c *columnReader) close() {
	if c == nil || c.pages == nil {
		return
	}
	_ = guard(func() error {
		if c.page != nil {
			parquet.Release(c.page)
		}
		return c.pages.Close()
	})
}

// row gives the values of row i (one, unless the column is repeated), which must not lie before the last one asked for.
// They are valid until the next call. After an error the rest of the column is lost.
func (c *columnReader) row(i int64) (v []parquet.Value, err error) {
	if c.err != nil {
		return nil, c.err
	}
	err = guard(func() error {
		for ; c.pos <= i; c.pos++ {
			if v, err = c.read(v[:0]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		if err == io.EOF {
			err = fmt.Errorf("ends after %d of %d rows", c.pos, c.rows)
		}
		c.err = fmt.Errorf("column %q: %w", c.name, err)
		return nil, c.err
	}
	return v, nil
}

func (c *columnReader) read(v []parquet.Value) ([]parquet.Value, error) {
	if c.i == c.n {
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
	if !c.repeated {
		c.i++
		return append(v, c.buf[c.i-1]), nil
	}
	size := int64(0)
	c.over = false
	for {
		if size += 64; c.buf[c.i].Kind() == parquet.ByteArray || c.buf[c.i].Kind() == parquet.FixedLenByteArray {
			size += int64(len(c.buf[c.i].ByteArray()))
		}
		if c.over = c.over || c.limit > 0 && size > c.limit; !c.over {
			v = append(v, c.buf[c.i].Clone()) // the next value may be on the next page
		}
		c.i++
		if c.i == c.n {
			if err := c.fill(); err == io.EOF {
				return v, nil
			} else if err != nil {
				return nil, err
			}
		}
		if c.buf[c.i].RepetitionLevel() == 0 {
			return v, nil
		}
	}
}

// fill gets the next values, io.EOF at the column's end.
func (c *columnReader) fill() error {
	c.i, c.n = 0, 0
	for {
		if c.values != nil {
			n, err := c.values.ReadValues(c.buf[:])
			if n > 0 {
				c.n = n
				return nil
			}
			if err != nil && err != io.EOF {
				return err
			}
			parquet.Release(c.page)
			c.page, c.values = nil, nil
		}
		if err := c.checkPage(); err != nil {
			return err
		}
		page, err := c.pages.ReadPage()
		if err != nil {
			return err
		}
		c.page, c.values = page, page.Values()
	}
}

// checkPage looks at the headers of the next data page, and of a dictionary before it, for sizes that must not be
// believed: the library allocates them before it reads.
func (c *columnReader) checkPage() error {
	first := c.meta.DataPageOffset
	if c.meta.DictionaryPageOffset != 0 {
		first = c.meta.DictionaryPageOffset
	}
	end := first + c.meta.TotalCompressedSize
	if first < 0 || end < first || end > c.src.size {
		return fmt.Errorf("bytes [%d, %d) are claimed in a file of %d", first, end, c.src.size)
	}
	for c.at < end {
		h, size, err := pageHeader(c.src, c.at, end)
		if err != nil {
			return fmt.Errorf("page header at byte %d: %w", c.at, err)
		}
		body := c.at + size
		values := int64(h.DataPageHeader.V.NumValues) + int64(h.DataPageHeaderV2.V.NumValues)
		switch {
		case h.CompressedPageSize < 0 || h.UncompressedPageSize < 0 || values < 0:
			return fmt.Errorf("page at byte %d: negative sizes", c.at)
		case int64(h.CompressedPageSize) > end-body:
			return fmt.Errorf("page at byte %d: %d bytes are claimed, its column has %d left", c.at, h.CompressedPageSize, end-body)
		case h.UncompressedPageSize > maxParquetPage:
			return fmt.Errorf("page at byte %d: %d bytes after decompression, more than %d", c.at, h.UncompressedPageSize, maxParquetPage)
		case !c.repeated && values > c.rows:
			return fmt.Errorf("page at byte %d: %d values in a row group of %d rows", c.at, values, c.rows)
		case values > int64(maxParquetPage):
			return fmt.Errorf("page at byte %d: %d values", c.at, values)
		}
		c.at = body + int64(h.CompressedPageSize)
		if h.Type != pqformat.DictionaryPage {
			return nil
		}
	}
	return nil
}

// pageHeader decodes the page header at off. Headers with statistics can be long, so the window grows as needed.
func pageHeader(src *source, off, end int64) (*pqformat.PageHeader, int64, error) {
	for window := int64(1 << 10); ; window <<= 4 {
		p := make([]byte, min(window, end-off))
		if n, err := src.ReadAt(p, off); err != nil && err != io.EOF {
			return nil, 0, err
		} else {
			p = p[:n]
		}
		var protocol thrift.CompactProtocol
		r := protocol.NewReaderFromBytes(p)
		h := new(pqformat.PageHeader)
		err := thrift.NewDecoder(r).Decode(h)
		if err == nil {
			return h, int64(r.BytesRead()), nil
		}
		if window >= end-off || window >= 64<<20 {
			return nil, 0, err
		}
	}
}
