package shards

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"sower/schemas"
)

// Limits on documents, far above real ones. What passes them is a fault of the document.
const (
	maxElements      = 1 << 16  // texts and images of one document
	maxDocumentText  = 16 << 20 // all texts of one document
	maxDocumentBytes = 1 << 30  // a document's images where they must be held together: gzip-compressed tars, Parquet rows
)

// draft is a document that a format is putting together. Its structure is known, and checked, before the first image is
// read; the images are read one by one as they are asked for.
type draft struct {
	source   string
	row      int64
	key      string
	kind     string
	elements []schemas.Element
	images   []draftImage
	meta     fields
	bad      *Fault       // the document cannot be used; the first stands
	text     int          // bytes of text so far
	skip     bool         // images are not read
	offset   int64        // of its first byte in the source, -1 where it has none
	folder   *imageFolder // where images outside of the source lie, nil where there are none
}

// draftImage is an image of a draft: how to get it, and what is known about it beside.
type draftImage struct {
	load func() ([]byte, *Fault, error)
	meta fields
}

// newDraft starts a document whose key is the row's until the format finds one.
func newDraft(source string, row int64, kind string) *draft {
	return &draft{source: source, row: row, key: rowKey(source, row), kind: kind, meta: fields{}, offset: -1}
}

func (d *draft) fault(f *Fault) {
	if d.bad == nil {
		d.bad = f
	}
}

func (d *draft) faultf(r schemas.Reason, format string, args ...any) {
	if d.bad == nil {
		d.bad = fault(r, format, args...)
	}
}

// takeKey moves the key out of the metadata.
func (d *draft) takeKey(o *Options) {
	if key, ok := d.meta.takeKey(o.KeyColumn, keyFields); ok {
		d.key = key
	} else if c := o.KeyColumn; c != "" {
		d.faultf(schemas.MissingColumn, "no key in %q", c)
	}
}

// room says whether one more element fits.
func (d *draft) room() bool {
	if len(d.elements) >= maxElements {
		d.faultf(schemas.TooLarge, "more than %d texts and images", maxElements)
	}
	return d.bad == nil
}

func rolePointer(role string) *string {
	if role == "" {
		return nil
	}
	return &role
}

// addText adds a text, "" included, and says in its faults what it was ("text 3").
func (d *draft) addText(what, text, role string) {
	if !d.room() {
		return
	}
	d.text += len(text)
	switch {
	case len(text) > maxTextBytes:
		d.faultf(schemas.TooLarge, "%s has %d bytes, more than %d", what, len(text), maxTextBytes)
	case d.text > maxDocumentText:
		d.faultf(schemas.TooLarge, "texts of more than %d bytes", maxDocumentText)
	default:
		d.elements = append(d.elements, schemas.Element{Type: schemas.ElementText, Text: &text, Role: rolePointer(role)})
	}
}

// addImage adds the next image.
func (d *draft) addImage(role string, img draftImage) {
	if !d.room() {
		return
	}
	at := int32(len(d.images))
	d.elements = append(d.elements, schemas.Element{Type: schemas.ElementImage, Role: rolePointer(role), Image: &at})
	d.images = append(d.images, img)
}

// emit yields the document: its images, then itself. It reports whether the receiver wants more.
func (d *draft) emit(ctx context.Context, yield func(Pair, error) bool) bool {
	if len(d.elements) == 0 {
		d.faultf(schemas.NoImage, "neither texts nor images")
	}
	var metadata string
	if d.bad == nil {
		d.meta.dropLong()
		var err error
		if metadata, err = d.meta.encode(); err != nil {
			d.faultf(schemas.UnreadableSource, "metadata: %v", err)
		}
	}
	p := Pair{Key: d.key, Source: d.source, Row: d.row, Document: &d.key, Offset: d.offset}
	if d.bad != nil {
		p.Position, p.Reject = DocumentPosition, d.bad
		return yield(p, nil)
	}
	for i, img := range d.images {
		if err := ctx.Err(); err != nil {
			yield(Pair{}, err)
			return false
		}
		before := d.folder.count()
		data, bad, err := d.load(ctx, img)
		if err != nil {
			yield(Pair{}, err)
			return false
		}
		q := p
		q.Outside = d.folder.count() > before
		q.Position = int32(i)
		if bad == nil {
			if q.Metadata, err = img.meta.encode(); err != nil {
				bad = fault(schemas.UnreadableSource, "image %d: metadata: %v", i, err)
			}
		}
		if q.Image, q.Reject = data, bad; bad != nil {
			q.Image, q.Metadata = nil, ""
		}
		d.images[i] = draftImage{} // what a loader holds is done with
		if !yield(q, nil) {
			return false
		}
	}
	p.Position, p.Metadata, p.Doc = DocumentPosition, metadata, &Document{Kind: d.kind, Elements: d.elements}
	return yield(p, nil)
}

// load reads an image, if images of this row are wanted.
func (d *draft) load(ctx context.Context, img draftImage) ([]byte, *Fault, error) {
	if d.folder != nil {
		d.folder.skip = d.skip
	} else if d.skip {
		return nil, nil, nil
	}
	return img.load()
}

// lostDocument is lost for a format of documents.
func lostDocument(p Pair) Pair {
	p.Position, p.Document = DocumentPosition, &p.Key
	return p
}

type imageOpener func(ctx context.Context, o *Options, source string) (*imageFolder, error)

// readRecords yields the documents of a file of records: open yields the rows of a range, document makes a draft of a row
// that is there.
func readRecords(ctx context.Context, o *Options, r Range, kind string, openImages imageOpener, open func(*source, Range) iter.Seq2[textRow, error],
	document func(d *draft, row textRow, images *imageFolder)) iter.Seq2[Pair, error] {
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
		images, err := openImages(ctx, o, r.Source.Name)
		if err != nil {
			yield(Pair{}, err)
			return
		}
		defer images.Close()
		for row, err := range open(src, r) {
			if err != nil {
				yield(Pair{}, err)
				return
			}
			d := newDraft(r.Source.Name, row.row, kind)
			d.folder, d.offset, d.skip = images, row.start, !o.wants(row.row)
			if d.bad = row.bad; d.bad == nil {
				document(d, row, images)
			}
			if !d.emit(ctx, yield) {
				return
			}
		}
	}
}

// listOf is a field that must be a list: the one asked for, else the first of the aliases. It is taken out of f.
func (d *draft) listOf(f fields, column string, aliases ...string) ([]any, bool) {
	name, v, ok := f.first(column, aliases)
	if !ok {
		d.faultf(schemas.MissingColumn, "no field %s (have: %s)", quoted(column, aliases), strings.Join(slices.Sorted(maps.Keys(f)), ", "))
		return nil, false
	}
	delete(f, name)
	list, ok := v.([]any)
	if !ok && v != nil {
		d.faultf(schemas.UnreadableSource, "field %q is no list", name)
	}
	return list, ok
}

// first finds the field that is asked for, else the first of the aliases.
func (f fields) first(column string, aliases []string) (name string, v any, ok bool) {
	if column != "" {
		return f.lookup(column, true)
	}
	for _, a := range aliases {
		if name, v, ok = f.lookup(a, false); ok {
			return name, v, true
		}
	}
	return "", nil, false
}

// quoted names what was looked for.
func quoted(column string, aliases []string) string {
	if column != "" {
		return fmt.Sprintf("%q", column)
	}
	q := make([]string, len(aliases))
	for i, a := range aliases {
		q[i] = fmt.Sprintf("%q", a)
	}
	return strings.Join(q, " or ")
}

// parallel puts a document together from lists that have exactly one of text and image at each index, the layout that
// OBELICS and MINT-1T share. Where one of the two is there, an empty string counts as the other's null. image makes the
// n-th image of its value and index.
func (d *draft) parallel(texts, images []any, image func(n, index int, v any) draftImage) {
	if len(texts) != len(images) {
		d.faultf(schemas.UnreadableSource, "%d texts beside %d images: the lists must be of one length", len(texts), len(images))
		return
	}
	isNull := func(v, other any) bool { return v == nil || v == "" && other != nil }
	n := 0
	for i := range texts {
		if d.bad != nil {
			return
		}
		text, ok := texts[i].(string)
		switch noText, noImage := isNull(texts[i], images[i]), isNull(images[i], texts[i]); {
		case noText && noImage:
			d.faultf(schemas.UnreadableSource, "index %d has neither text nor image", i)
		case !noText && !noImage:
			d.faultf(schemas.UnreadableSource, "index %d has both a text and an image", i)
		case noText:
			d.addImage("", image(n, i, images[i]))
			n++
		case !ok:
			d.faultf(schemas.UnreadableSource, "index %d is no text", i)
		default:
			d.addText(fmt.Sprintf("text %d", i), text, "")
		}
	}
}
