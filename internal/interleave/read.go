package interleave

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"sower/internal/blob"
	"sower/internal/corpus"
	"sower/schemas"
)

// Formats of the ranges in an interleave plan.
const (
	FormatPairs     = "pairs"     // rows [Start, End) of a code table without documents
	FormatDocuments = "documents" // a whole part of a code table and its part of the document table
	FormatText      = "text"      // the lines that start in bytes [Start, End)
)

// maxLine bounds one line of a text input.
const maxLine = 64 << 20

// codeColumns are what sequences need of the code table; the others are not read.
type codeColumns struct {
	Key      string   `parquet:"key"`
	Source   string   `parquet:"source,dict"`
	Row      int64    `parquet:"row,delta"`
	Document *string  `parquet:"document,optional"`
	Position int32    `parquet:"position"`
	Text     *string  `parquet:"text,optional"`
	Codes    []uint16 `parquet:"codes,list,dict"`
}

func (c *codeColumns) identity() string { return fmt.Sprintf("%s\x00%d", c.Source, c.Row) }

func (c *codeColumns) pair() Record {
	r := Record{Kind: Pair, Key: c.Key, Identity: c.identity(), Elements: []Element{{Codes: c.Codes, Key: c.Key}}}
	if c.Text != nil {
		r.Elements = append(r.Elements, Element{Text: *c.Text})
	}
	return r
}

// readRange yields the records of one range of the plan; drop is set for rows that give none.
func readRange(ctx context.Context, in *blob.Bucket, input Input, r schemas.PlanRow, name string, yield func(rec Record, drop Drop) error) error {
	switch r.Format {
	case FormatPairs:
		return corpus.ReadRange(ctx, in, name, r.Start, r.End, func(c codeColumns) error { return yield(c.pair(), "") })
	case FormatDocuments:
		return readDocuments(ctx, in, name, yield)
	case FormatText:
		return readLines(ctx, in, name, input.Field, r.Start, r.End, yield)
	}
	return fmt.Errorf("interleave: range of format %q", r.Format)
}

// readDocuments joins a part of the document table with its part of the code table. Both are in input order, a document's images
// adjacent, so the join is a merge; rows without a document are pairs.
func readDocuments(ctx context.Context, in *blob.Bucket, data string, yield func(Record, Drop) error) error {
	docs := map[string]schemas.DocumentRow{}
	var order []string
	name := strings.Replace(data, "data/", "documents/", 1)
	err := corpus.Read(ctx, in, name, func(d schemas.DocumentRow) error {
		id := fmt.Sprintf("%s\x00%d", d.Source, d.Row)
		if _, twice := docs[id]; twice {
			return fmt.Errorf("interleave: %s: two documents of row %d of %s", name, d.Row, d.Source)
		}
		docs[id] = d
		order = append(order, id)
		return nil
	})
	if err != nil {
		return err
	}
	images := map[string][]codeColumns{}
	err = corpus.Read(ctx, in, data, func(c codeColumns) error {
		if c.Document == nil {
			return yield(c.pair(), "")
		}
		images[c.identity()] = append(images[c.identity()], c)
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range order {
		r, err := documentRecord(id, docs[id], images[id])
		if err != nil {
			return fmt.Errorf("interleave: %s: %w", name, err)
		}
		if err := yield(r, ""); err != nil {
			return err
		}
	}
	return nil
}

func documentRecord(id string, d schemas.DocumentRow, images []codeColumns) (Record, error) {
	r := Record{Kind: Kind(d.Kind), Key: d.Document, Identity: id}
	at := map[int32]*codeColumns{}
	for i := range images {
		at[images[i].Position] = &images[i]
	}
	for _, e := range d.Elements {
		out := Element{}
		if e.Role != nil {
			out.Role = *e.Role
		}
		switch {
		case e.Type == schemas.ElementImage && e.Image != nil:
			c := at[*e.Image]
			if c == nil {
				return r, fmt.Errorf("document %q names image %d, which is not in the code table", d.Document, *e.Image)
			}
			out.Codes, out.Key = c.Codes, c.Key
		case e.Type == schemas.ElementText && e.Text != nil:
			out.Text = *e.Text
		default:
			return r, fmt.Errorf("document %q has an element of type %q without content", d.Document, e.Type)
		}
		r.Elements = append(r.Elements, out)
	}
	return r, nil
}

// noLines are the first bytes of files that people take for files of lines.
var noLines = []struct{ magic, what, do string }{
	{"\x1f\x8b", "gzip-compressed", "decompress it (gunzip)"}, // could be read, but not in parts: one file would be one unit
	{"\x28\xb5\x2f\xfd", "zstd-compressed", "decompress it (zstd -d)"},
	{"BZh", "bzip2-compressed", "decompress it (bunzip2)"},
	{"\xfd7zXZ", "xz-compressed", "decompress it (xz -d)"},
	{"PK\x03\x04", "a ZIP archive", "unpack it"},
	{"PAR1", "Parquet", "write its texts as JSON lines"},
	{"\xff\xfe", "UTF-16", "convert it to UTF-8"},
	{"\xfe\xff", "UTF-16", "convert it to UTF-8"},
}

// CheckLines refuses a file that would lose every line.
func CheckLines(ctx context.Context, b *blob.Bucket, name string) error {
	f, err := b.Open(ctx, name)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, min(f.Size(), 8))
	if _, err := f.ReadAt(head, 0); err != nil && err != io.EOF {
		return fmt.Errorf("interleave: read %s: %w", name, err)
	}
	for _, n := range noLines {
		if bytes.HasPrefix(head, []byte(n.magic)) {
			return fmt.Errorf("interleave: --text %s is %s, not lines of text: %s", blob.Join(b.URL(), name), n.what, n.do)
		}
	}
	return nil
}

// readLines yields the texts of the lines that start in [start, end) of a file.
func readLines(ctx context.Context, in *blob.Bucket, name, field string, start, end int64, yield func(Record, Drop) error) error {
	f, err := in.Open(ctx, name)
	if err != nil {
		return err
	}
	defer f.Close()
	from := max(start-1, 0) // one byte back: a line that starts exactly at start is ours, the rest of an older one is not
	r := bufio.NewReaderSize(io.NewSectionReader(f, from, f.Size()-from), 1<<20)
	at := from
	if start > 0 {
		n, err := skipLine(r)
		at += n
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("interleave: read %s: %w", name, err)
		}
	}
	asJSON := !strings.HasSuffix(strings.ToLower(name), ".txt")
	for at < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		line, n, err := readLine(r)
		if n == 0 && err == io.EOF {
			return nil
		}
		if err != nil && err != io.EOF && !errors.Is(err, errLongLine) {
			return fmt.Errorf("interleave: read %s: %w", name, err)
		}
		if at == 0 { // Windows editors and exports put a mark in front of the first line; it is no part of it
			line = bytes.TrimPrefix(line, utf8BOM)
		}
		rec := Record{Kind: Text, Key: fmt.Sprintf("%s:%d", name, at), Identity: fmt.Sprintf("%s\x00%d", name, at)}
		at += n
		drop := Drop("")
		if errors.Is(err, errLongLine) {
			drop = BadText
		} else if len(bytes.TrimSpace(line)) == 0 {
			continue // a blank line is no record
		} else {
			drop = textRecord(&rec, line, asJSON, field)
		}
		if err := yield(rec, drop); err != nil {
			return err
		}
	}
	return nil
}

func textRecord(rec *Record, line []byte, asJSON bool, field string) Drop {
	if !utf8.Valid(line) {
		return BadText
	}
	if !asJSON {
		rec.Elements = []Element{{Text: string(line)}}
		return ""
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(line, &m); err != nil {
		return BadText
	}
	var text string
	if json.Unmarshal(m[field], &text) != nil {
		return NoText
	}
	for _, k := range []string{"key", "id", "__key__"} {
		var key string
		if json.Unmarshal(m[k], &key) == nil && key != "" {
			rec.Key = key
			break
		}
	}
	rec.Elements = []Element{{Text: text}}
	return ""
}

var utf8BOM = []byte("\xef\xbb\xbf")

var errLongLine = errors.New("line above the limit")

// readLine reads one line without its end; n counts what it took in the file.
func readLine(r *bufio.Reader) (line []byte, n int64, err error) {
	for {
		part, err := r.ReadSlice('\n')
		n += int64(len(part))
		if int64(len(line)+len(part)) > maxLine {
			if err == bufio.ErrBufferFull {
				m, e := skipLine(r)
				n += m
				if e != nil && e != io.EOF {
					return nil, n, e
				}
			}
			return nil, n, errLongLine
		}
		line = append(line, part...)
		if err != bufio.ErrBufferFull {
			return bytes.TrimRight(line, "\r\n"), n, err
		}
	}
}

func skipLine(r *bufio.Reader) (n int64, err error) {
	for {
		part, err := r.ReadSlice('\n')
		n += int64(len(part))
		if err != bufio.ErrBufferFull {
			return n, err
		}
	}
}
