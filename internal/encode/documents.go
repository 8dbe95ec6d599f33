package encode

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"sower/internal/blob"
	"sower/internal/corpus"
	"sower/internal/shards"
	"sower/schemas"
)

// What becomes of a document that lost an image (--missing-image).
const (
	DropElement  = "drop-element"  // the document goes without the image
	DropDocument = "drop-document" // the document is rejected; its other images keep their codes
)

// Layout names the parts of a unit: plans with a format of documents have one more.
func (c *Config) Layout() corpus.Layout {
	if c.Documents {
		return corpus.DocumentLayout
	}
	return corpus.CodeLayout
}

// output is the parts of a unit being written.
type output struct {
	*corpus.Unit
	rejects   *corpus.Part[schemas.RejectRow]
	documents *corpus.Part[schemas.DocumentRow] // nil without documents
	data      *corpus.Part[schemas.CodeRow]
	missing   string // Config.MissingImage
	// lost are the images of the document at hand that have no codes, in order.
	lost []lostImage
}

type lostImage struct {
	position int32
	fault    *shards.Fault
}

func (c *Config) createOutput(ctx context.Context, b *blob.Bucket, unit int) (*output, error) {
	o := &output{Unit: corpus.NewUnit(unit), missing: c.MissingImage}
	names := c.Layout().Names(unit, c.Units)
	var err error
	o.rejects, err = corpus.AddPart[schemas.RejectRow](ctx, o.Unit, b, c.Identity, names[0])
	if err == nil && c.Documents {
		o.Counts.Documents = &schemas.DocumentCounts{Rejected: map[string]int64{}}
		o.documents, err = corpus.AddPart[schemas.DocumentRow](ctx, o.Unit, b, c.Identity, names[1], "document")
	}
	if err == nil {
		o.data, err = corpus.AddPart[schemas.CodeRow](ctx, o.Unit, b, c.Identity, names[len(names)-1], "key")
	}
	if err != nil {
		o.Abort()
		return nil, err
	}
	return o, nil
}

// row adds an image that has codes.
func (o *output) row(row schemas.CodeRow) error {
	o.Counts.In++
	o.Counts.Encoded++
	size := len(row.Key) + 2*len(row.Codes) + 128
	for _, s := range []*string{row.Text, row.Metadata} {
		if s != nil {
			size += len(*s)
		}
	}
	return o.data.Append(row, size)
}

// reject adds an image that has none. One of a document is remembered until the document comes.
func (o *output) reject(row schemas.RejectRow, f *shards.Fault) error {
	o.Counts.In++
	o.Counts.Rejected[row.Reason]++
	if row.Document != nil {
		o.lost = append(o.lost, lostImage{row.Position, f})
	}
	return o.appendReject(row)
}

func (o *output) appendReject(row schemas.RejectRow) error {
	return o.rejects.Append(row, len(row.Key)+len(row.Detail)+64)
}

// document ends a document: it is written, or rejected with a row of its own. fault is what was found about the document
// itself; the result is why it was rejected.
func (o *output) document(p *shards.Pair, source string, fault *shards.Fault) (*shards.Fault, error) {
	lost := o.lost
	o.lost = o.lost[:0]
	if o.documents == nil {
		return nil, fmt.Errorf("%s row %d is a document in a run that was planned without", source, p.Row)
	}
	counts := o.Counts.Documents
	var elements []schemas.Element
	if fault == nil {
		elements, fault = o.complete(p.Doc, lost)
	}
	if fault != nil {
		counts.Reject(fault.Reason)
		row := schemas.RejectRow{Key: utf8Only(p.Key), Source: source, Row: p.Row, Document: utf8Pointer(p.Document), Position: shards.DocumentPosition,
			Reason: string(fault.Reason), Detail: utf8Only(fault.Detail), Retryable: fault.Retryable}
		return fault, o.appendReject(row)
	}
	counts.In++
	counts.Written++
	if len(lost) > 0 {
		counts.Incomplete++
	}
	row := schemas.DocumentRow{Document: utf8Only(p.Key), Source: source, Row: p.Row, Kind: p.Doc.Kind, Elements: elements}
	if p.Metadata != "" {
		row.Metadata = &p.Metadata
	}
	return nil, o.appendDocument(row, len(lost))
}

// appendDocument adds a document that lost some images.
func (o *output) appendDocument(row schemas.DocumentRow, lost int) error {
	n := elementBytes(row.Elements) + 64*lost + 128
	if row.Metadata != nil {
		n += len(*row.Metadata)
	}
	return o.documents.Append(row, n)
}

// complete takes the lost images out of a document, or says why it cannot be without them.
func (o *output) complete(d *shards.Document, lost []lostImage) ([]schemas.Element, *shards.Fault) {
	if len(lost) == 0 {
		return d.Elements, nil
	}
	gone := map[int32]bool{}
	for _, l := range lost {
		gone[l.position] = true
	}
	left := slices.DeleteFunc(slices.Clone(d.Elements), func(e schemas.Element) bool { return e.Image != nil && gone[*e.Image] })
	first := lost[0]
	why := ""
	switch {
	case o.missing == DropDocument:
		why = "--missing-image " + DropDocument
	case d.Kind == schemas.DocumentEdit:
		why = "an edit needs both"
	case len(left) == 0:
		why = "nothing is left"
	default:
		return left, nil
	}
	return nil, &shards.Fault{Reason: first.fault.Reason, Retryable: first.fault.Retryable,
		Detail: fmt.Sprintf("%d of its images have no codes (%s); image %d: %s", len(lost), why, first.position, first.fault.Detail)}
}

// documentBytes is about how much memory a document's texts take.
func documentBytes(p *shards.Pair) int {
	n := len(p.Metadata)
	if p.Doc != nil {
		n += elementBytes(p.Doc.Elements)
	}
	return n
}

func elementBytes(elements []schemas.Element) (n int) {
	for _, e := range elements {
		n += 64
		if e.Text != nil {
			n += len(*e.Text)
		}
	}
	return n
}

// filterDocument applies the filters that concern a document as a whole.
func (w *Worker) filterDocument(it *item) {
	if it.fault != nil || !w.cfg.Filters.RequireText {
		return
	}
	for _, e := range it.pair.Doc.Elements {
		if e.Text != nil && strings.TrimSpace(*e.Text) != "" {
			return
		}
	}
	it.fault = &shards.Fault{Reason: schemas.NoText, Detail: "no text (--require-text)"}
}

func utf8Only(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func utf8Pointer(s *string) *string {
	if s == nil {
		return nil
	}
	v := utf8Only(*s)
	return &v
}
