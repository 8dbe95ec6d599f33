package shards

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"iter"

	"sower/schemas"
)

// dialect says how a text file is cut into records and what of it is no row.
type dialect struct {
	quotes bool // RFC 4180: a field that starts with a quote runs to the closing one, line breaks included
	delim  byte
	header bool // the first record names the columns
}

// record is one line, or one CSV record of several.
type record struct {
	data  []byte // without its line break; valid until the next record; nil when over
	start int64
	size  int64 // bytes with the line break
	over  bool  // longer than maxLineBytes
	open  int64 // offset of a quote that the file never closes, else -1
}

// blank says that a record is no row: an empty line, or one of white space.
func (r *record) blank() bool { return !r.over && r.open < 0 && len(bytes.TrimSpace(r.data)) == 0 }

// recordScanner cuts a stream into records. The same scanner finds boundaries for Split and rows for Read, so that the
// two agree on every input, broken ones included.
type recordScanner struct {
	r   *bufio.Reader
	d   dialect
	off int64
	buf []byte
}

// State of the quotes within a record.
const (
	fieldStart = iota
	bareField
	inQuotes
	quoteInQuotes // the closing quote, or the first of a doubled one
)

// step is the state after byte c. Text after a closing quote belongs to the field, as Python's csv module reads it.
func step(state int, c, delim byte) int {
	switch {
	case state == inQuotes && c == '"':
		return quoteInQuotes
	case state == inQuotes, state == quoteInQuotes && c == '"', state == fieldStart && c == '"':
		return inQuotes
	case c == delim:
		return fieldStart
	}
	return bareField
}

// next gives the next record, blank ones included; io.EOF at the end.
func (s *recordScanner) next() (record, error) {
	rec := record{start: s.off, open: -1}
	s.buf = s.buf[:0]
	state, opened := fieldStart, int64(-1)
	for {
		p, err := s.r.ReadSlice('\n')
		if s.d.quotes {
			for i, c := range p {
				was := state
				if state = step(state, c, s.d.delim); state == inQuotes && was == fieldStart {
					opened = s.off + int64(i)
				}
			}
		}
		s.off += int64(len(p))
		rec.size += int64(len(p))
		if rec.over = rec.over || len(s.buf)+len(p) > maxLineBytes; rec.over {
			s.buf = s.buf[:0]
		} else {
			s.buf = append(s.buf, p...)
		}
		if err == bufio.ErrBufferFull || err == nil && state == inQuotes {
			continue
		}
		if err != nil && err != io.EOF {
			return rec, err
		}
		if err == io.EOF {
			if rec.size == 0 {
				return rec, io.EOF
			}
			if state == inQuotes {
				rec.open = opened
			}
		}
		if !rec.over {
			rec.data = bytes.TrimSuffix(bytes.TrimSuffix(s.buf, []byte("\n")), []byte("\r"))
		}
		return rec, nil
	}
}

// splitFields cuts a record at its delimiters and takes the quotes off.
func (d dialect) splitFields(p []byte) []string {
	var all []string
	var field []byte
	state := fieldStart
	for _, c := range p {
		was := state
		if !d.quotes {
			if c == d.delim {
				all, field = append(all, string(field)), field[:0]
			} else {
				field = append(field, c)
			}
			continue
		}
		state = step(state, c, d.delim)
		switch {
		case state == fieldStart:
			all, field = append(all, string(field)), field[:0]
		case state == quoteInQuotes || was == fieldStart && state == inQuotes: // quotes around the field
		default:
			field = append(field, c)
		}
	}
	return append(all, string(field))
}

// textFile is a range of a text file, opened.
type textFile struct {
	*recordScanner
	src    *source
	zipped bool
}

// openText positions a scanner at the range's start. A byte order mark at the start of the file is passed over.
func openText(src *source, d dialect, start, end int64) (*textFile, error) {
	zipped, err := isGzip(src)
	if err != nil {
		return nil, err
	}
	if end < 0 {
		end = src.size
	}
	t := &textFile{recordScanner: &recordScanner{d: d, off: start}, src: src, zipped: zipped}
	if zipped {
		z, err := gzip.NewReader(bufio.NewReaderSize(src.reader(0, src.size), readAhead))
		if err != nil {
			return nil, err
		}
		t.r = bufio.NewReaderSize(z, 64<<10)
	} else {
		t.r = bufio.NewReaderSize(src.reader(start, end), readAhead)
	}
	if p, _ := t.r.Peek(len(utf8BOM)); start == 0 && bytes.Equal(p, utf8BOM) {
		t.r.Discard(len(utf8BOM))
		t.off = int64(len(utf8BOM))
	}
	return t, nil
}

// splitText cuts a text file at records. Only reading all of it tells how many rows stand before a boundary.
func splitText(ctx context.Context, o *Options, name string, d dialect, s Source, target int64) ([]Range, error) {
	cur := Range{Source: s, Format: name, End: s.Size, Bytes: s.Size, Rows: -1}
	src, bad, err := openSource(ctx, o, s)
	if err != nil {
		return nil, err
	}
	if bad != nil {
		return []Range{cur}, nil
	}
	defer src.Close()
	t, err := openText(src, d, 0, -1)
	if src.err != nil {
		return nil, src.err
	}
	if err != nil || t.zipped {
		cur.End = -1
		return []Range{cur}, nil
	}
	if s.Size <= target {
		return []Range{cur}, nil
	}
	var ranges []Range
	var row int64
	header := d.header
	for {
		rec, err := t.next()
		if err != nil && err != io.EOF {
			return nil, src.err
		}
		if err == io.EOF {
			cur.End, cur.Rows = s.Size, row-cur.FirstRow
			cur.Bytes = cur.End - cur.Start
			return append(ranges, cur), nil
		}
		if rec.blank() {
			continue
		}
		if header {
			if header = false; rec.over || rec.open >= 0 {
				cur.End, cur.Bytes = s.Size, s.Size // nothing can be read without its names: one reject
				return []Range{cur}, nil
			}
			continue
		}
		if row > cur.FirstRow && rec.start-cur.Start >= target {
			cur.End, cur.Rows = rec.start, row-cur.FirstRow
			cur.Bytes = cur.End - cur.Start
			ranges = append(ranges, cur)
			cur = Range{Source: s, Format: name, Start: rec.start, FirstRow: row}
		}
		row++
	}
}

// textRow is one row of a text file before its fields are looked at.
type textRow struct {
	row    int64
	start  int64    // offset of its first byte
	data   []byte   // valid until the next row
	header []string // column names, where the dialect has them
	bad    *Fault
}

// headerNames makes column names distinct and never empty.
func headerNames(names []string) []string {
	seen := map[string]bool{}
	for i, n := range names {
		if n = escapeInvalid(n); n == "" {
			n = fmt.Sprintf("column %d", i+1)
		}
		base := n
		for k := 2; seen[n]; k++ {
			n = fmt.Sprintf("%s#%d", base, k)
		}
		seen[n] = true
		names[i] = n
	}
	return names
}

// records yields the rows of a range as records, with the header where the dialect has one. What cannot be read is
// yielded as a Pair with its Reject.
func records(src *source, d dialect, r Range) iter.Seq2[textRow, error] {
	return func(yield func(textRow, error) bool) {
		row := r.FirstRow
		fail := func(err error) {
			if src.err != nil {
				yield(textRow{}, src.err)
				return
			}
			yield(textRow{row: row, start: -1, bad: fault(schemas.UnreadableSource, "%v; all after it is lost", err)}, nil)
		}
		var header []string
		if d.header {
			t, err := openText(src, d, 0, -1)
			if err != nil {
				fail(err)
				return
			}
			rec, err := t.next()
			for err == nil && rec.blank() {
				rec, err = t.next()
			}
			if err == nil && (rec.over || rec.open >= 0) {
				err = fmt.Errorf("byte %d: the header with the column names does not end", rec.start)
			}
			if err == io.EOF && src.err == nil {
				return // neither header nor rows
			}
			if err != nil {
				fail(err)
				return
			}
			header = headerNames(d.splitFields(rec.data))
		}
		t, err := openText(src, d, r.Start, r.End)
		if err != nil {
			fail(err)
			return
		}
		skipHeader := d.header && r.Start == 0
		for {
			rec, err := t.next()
			if err == io.EOF && src.err == nil {
				return
			}
			if err != nil {
				fail(fmt.Errorf("byte %d: %w", t.off, err))
				return
			}
			if err := src.ctx.Err(); err != nil {
				yield(textRow{}, err)
				return
			}
			if rec.blank() {
				continue
			}
			if skipHeader {
				skipHeader = false
				continue
			}
			out := textRow{row: row, start: rec.start, data: rec.data, header: header}
			switch {
			case rec.open >= 0:
				out.bad = fault(schemas.UnreadableSource, "byte %d: the quote that opens here is never closed; all after it is lost", rec.open)
			case rec.over:
				out.bad = fault(schemas.TooLarge, "byte %d: a line of %d bytes, more than %d", rec.start, rec.size, maxLineBytes)
			}
			if !yield(out, nil) {
				return
			}
			row++
		}
	}
}
