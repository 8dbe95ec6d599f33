package shards

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"iter"

	"sower/schemas"
)

// arrayScanner cuts a JSON array (RFC 8259) into its elements without reading it whole: it counts brackets outside of
// strings and leaves everything else to the decoder of the element. Like recordScanner it serves Split and Read both, so
// that the two agree on every input.
type arrayScanner struct {
	r      *bufio.Reader
	off    int64
	buf    []byte
	state  int
	toEnd  bool // the range goes to the end of the file, where the array must be closed
	closed bool
}

const (
	beforeArray = iota
	firstElement
	nextElement // behind a comma
	afterArray
)

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// next gives the next element; io.EOF at the end. record.open is set, to where it begins, on what hides the rest.
func (s *arrayScanner) next() (record, error) {
	c, err := s.skipSpace()
	if s.state == beforeArray {
		if err != nil {
			return record{}, err
		}
		if c != '[' {
			return s.broken(s.off - 1)
		}
		s.state = firstElement
		c, err = s.skipSpace()
	}
	switch {
	case err == io.EOF && (s.state == afterArray || !s.toEnd):
		return record{}, io.EOF
	case err != nil && err != io.EOF:
		return record{}, err
	case err == io.EOF:
		return s.broken(s.off)
	case s.state == afterArray:
		return s.broken(s.off - 1)
	case c == ']' && s.state == firstElement:
		s.state = afterArray
		return s.next()
	}
	rec := record{start: s.off - 1, open: -1}
	s.buf = s.buf[:0]
	depth, quoted, escaped := 0, false, false
	for depth > 0 || quoted || c != ',' && c != ']' {
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case (c == '}' || c == ']') && depth > 0:
			depth--
		}
		if rec.over = rec.over || len(s.buf) == maxLineBytes; rec.over {
			s.buf = s.buf[:0]
		} else {
			s.buf = append(s.buf, c)
		}
		if c, err = s.readByte(); err == io.EOF {
			return s.broken(rec.start)
		} else if err != nil {
			return record{}, err
		}
	}
	if s.state = nextElement; c == ']' {
		s.state = afterArray
	}
	rec.size = s.off - rec.start
	if !rec.over {
		rec.data = bytes.TrimSpace(s.buf)
	}
	return rec, nil
}

// skipSpace gives the next byte that is no white space.
func (s *arrayScanner) skipSpace() (byte, error) {
	for {
		if c, err := s.readByte(); err != nil || !isSpace(c) {
			return c, err
		}
	}
}

func (s *arrayScanner) readByte() (byte, error) {
	c, err := s.r.ReadByte()
	if err == nil {
		s.off++
	}
	return c, err
}

// broken ends the scan with a record that stands for all that is left.
func (s *arrayScanner) broken(at int64) (record, error) {
	if s.closed {
		return record{}, io.EOF
	}
	s.closed, s.state = true, afterArray
	s.r = bufio.NewReader(bytes.NewReader(nil))
	return record{start: at, open: at}, nil
}

// openArray positions a scanner at the range's start: the bracket, or an element behind a comma.
func openArray(src *source, start, end int64) (s *arrayScanner, zipped bool, err error) {
	if zipped, err = isGzip(src); err != nil {
		return nil, false, err
	}
	if end < 0 {
		end = src.size
	}
	s = &arrayScanner{off: start, toEnd: end >= src.size}
	if start > 0 {
		s.state = nextElement
	}
	if zipped {
		z, err := gzip.NewReader(bufio.NewReaderSize(src.reader(0, src.size), readAhead))
		if err != nil {
			return nil, true, err
		}
		s.r = bufio.NewReaderSize(z, 64<<10)
	} else {
		s.r = bufio.NewReaderSize(src.reader(start, end), readAhead)
	}
	if p, _ := s.r.Peek(len(utf8BOM)); start == 0 && bytes.Equal(p, utf8BOM) {
		s.r.Discard(len(utf8BOM))
		s.off = int64(len(utf8BOM))
	}
	return s, zipped, nil
}

// isArray says whether a text file's first character is that of an array.
func isArray(src *source) (bool, error) {
	s, _, err := openArray(src, 0, -1)
	if src.err != nil {
		return false, src.err
	}
	if err != nil {
		return false, nil
	}
	c, _ := s.skipSpace()
	return c == '[', src.err
}

// splitArray cuts an array at its elements.
func splitArray(ctx context.Context, src *source, name string, s Source, target int64) ([]Range, error) {
	cur := Range{Source: s, Format: name, End: s.Size, Bytes: s.Size, Rows: -1}
	t, zipped, err := openArray(src, 0, -1)
	if src.err != nil {
		return nil, src.err
	}
	if err != nil || zipped {
		cur.End = -1
		return []Range{cur}, nil
	}
	if s.Size <= target {
		return []Range{cur}, nil
	}
	var ranges []Range
	var row int64
	for {
		rec, err := t.next()
		if err != nil && err != io.EOF {
			return nil, src.err
		}
		if err == nil && rec.open < 0 && row > cur.FirstRow && rec.start-cur.Start >= target {
			cur.End, cur.Rows = rec.start, row-cur.FirstRow
			cur.Bytes = cur.End - cur.Start
			ranges = append(ranges, cur)
			cur = Range{Source: s, Format: name, Start: rec.start, FirstRow: row}
		}
		if err == nil {
			row++
			continue
		}
		cur.End, cur.Rows = s.Size, row-cur.FirstRow
		cur.Bytes = cur.End - cur.Start
		return append(ranges, cur), ctx.Err()
	}
}

// elements yields the elements of a range of an array as rows.
func elements(src *source, r Range) iter.Seq2[textRow, error] {
	return func(yield func(textRow, error) bool) {
		row := r.FirstRow
		fail := func(at int64, err error) {
			if src.err != nil {
				yield(textRow{}, src.err)
				return
			}
			yield(textRow{row: row, start: at, bad: fault(schemas.UnreadableSource, "byte %d: %v; all after it is lost", at, err)}, nil)
		}
		s, _, err := openArray(src, r.Start, r.End)
		if err != nil {
			fail(r.Start, err)
			return
		}
		for {
			rec, err := s.next()
			if err == io.EOF && src.err == nil {
				return
			}
			if err != nil {
				fail(s.off, err)
				return
			}
			if err := src.ctx.Err(); err != nil {
				yield(textRow{}, err)
				return
			}
			out := textRow{row: row, start: rec.start, data: rec.data}
			switch {
			case rec.open >= 0:
				fail(rec.open, errors.New("the array, or what begins here, does not end, or more comes after its end"))
				return
			case rec.over:
				out.bad = fault(schemas.TooLarge, "byte %d: an element of %d bytes, more than %d", rec.start, rec.size, maxLineBytes)
			}
			if !yield(out, nil) {
				return
			}
			row++
		}
	}
}
