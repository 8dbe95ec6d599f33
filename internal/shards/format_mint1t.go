package shards

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"sower/schemas"
)

func init() { Register(mint1t{}) }

// mint1t reads MINT-1T's tars (https://github.com/mlfoundations/MINT-1T; its issue 10 and the data sets' pages say how
// they are made): a document is KEY.json with the lists texts and images of one length, of which exactly one is not null
// at each index, and KEY.tiff, which holds the images as frames in their order. What stands in images is a name, such as
// page_0_image_85. The HTML part is Parquet without images: that is obelics.
//
// Tars made from it have files instead of frames. The image that is the n-th not null, from 0, is the first of
//
//	KEY.NAME.EXT, KEY/NAME.EXT, or a member that is named exactly NAME or NAME.EXT
//	KEY_n.EXT, KEY.n.EXT
//	KEY.EXT, where it is the only image
//	frame n of KEY.tiff (or .tif)
//
// A document's members are neighbours, in any order. ImageColumn and TextColumn name other lists than images and texts.
// Frames become BMP files of the same pixels, for pictures of 8 bits a channel.
type mint1t struct{}

func (mint1t) Name() string    { return "mint1t" }
func (mint1t) bases() []string { return []string{"webdataset"} }

func (mint1t) guess(src *source, base string) bool {
	stream, err := tarStream(src, Range{End: -1})
	if err != nil {
		return false
	}
	w := tarWalker{s: stream}
	for range 16 {
		m, err := w.next()
		if err != nil {
			return false
		}
		if _, ext, ok := splitMember(m.name); ok && ext == "json" && m.kind == memberFile && m.size <= maxJSONBytes {
			data, err := w.content()
			if err != nil {
				return false
			}
			f, _ := decodeSidecar(m.name, data)
			_, texts := f["texts"].([]any)
			_, images := f["images"].([]any)
			return texts && images
		}
	}
	return false
}

// mintGroup is the members of one document.
type mintGroup struct {
	key   string
	json  bool
	names map[string]bool
}

// mintStem is the key that a member belongs to, should no .json have said it yet: without a number behind "_".
func mintStem(stem string) string {
	if i := strings.LastIndexByte(stem, '_'); i > 0 && isNumber(stem[i+1:]) {
		return stem[:i]
	}
	return stem
}

func isNumber(s string) bool {
	return s != "" && len(s) <= 9 && strings.Trim(s, "0123456789") == ""
}

// belongs says whether a member continues the document; only names decide, so that Split and Read agree.
func (g *mintGroup) belongs(name, stem string, isJSON bool) bool {
	if g.names[name] {
		return false
	}
	if isJSON {
		return !g.json && (stem == g.key || stem == mintStem(g.key))
	}
	if g.json {
		rest, ok := strings.CutPrefix(stem, g.key)
		return ok && (rest == "" || rest[0] == '/' && strings.IndexByte(rest[1:], '/') < 0 || rest[0] == '_' && isNumber(rest[1:]))
	}
	return stem == g.key || mintStem(stem) == mintStem(g.key)
}

func (g *mintGroup) add(name, stem string, isJSON bool) {
	if isJSON {
		g.json, g.key = true, stem
	}
	if len(g.names) <= maxElements {
		g.names[name] = true
	}
}

// walkMint walks the documents' members from where w stands. begin is called for the first of a document, then member for
// each. The error that ends it is io.EOF, damage or the store's.
func walkMint(w *tarWalker, begin func(m tarMember) error, member func(m tarMember, ext string) error) error {
	var g *mintGroup
	for {
		m, err := w.next()
		if err != nil {
			return err
		}
		stem, ext, ok := splitMember(m.name)
		if !ok || m.kind == memberOther {
			continue
		}
		name, isJSON := stem+"."+ext, ext == "json"
		if g == nil || !g.belongs(name, stem, isJSON) {
			g = &mintGroup{key: stem, names: map[string]bool{}}
			if err := begin(m); err != nil {
				return err
			}
		}
		g.add(name, stem, isJSON)
		if err := member(m, ext); err != nil {
			return err
		}
	}
}

func (f mint1t) Split(ctx context.Context, o *Options, s Source, target int64) ([]Range, error) {
	src, whole, err := openToSplit(ctx, o, s, f.Name(), target)
	if src == nil {
		return whole, err
	}
	defer src.Close()
	var ranges []Range
	cur := Range{Source: s, Format: f.Name(), Rows: -1}
	row := int64(0)
	w := &tarWalker{s: newWindow(src, 0, s.Size, splitAhead)}
	err = walkMint(w, func(m tarMember) error {
		if row > cur.FirstRow && m.start-cur.Start >= target {
			cur.End, cur.Rows = m.start, row-cur.FirstRow
			cur.Bytes = cur.End - cur.Start
			ranges = append(ranges, cur)
			cur = Range{Source: s, Format: f.Name(), Start: m.start, FirstRow: row, Rows: -1}
		}
		row++
		return nil
	}, func(tarMember, string) error { return nil })
	var d *damage
	if err != io.EOF && !errors.As(err, &d) {
		return nil, err
	}
	cur.End = s.Size
	cur.Bytes = cur.End - cur.Start
	if err == io.EOF {
		cur.Rows = row - cur.FirstRow
	}
	return append(ranges, cur), nil
}

// errStop ends a walk whose receiver wants no more.
var errStop = errors.New("stop")

func (mint1t) Read(ctx context.Context, o *Options, r Range) iter.Seq2[Pair, error] {
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
		if src.size == 0 {
			yield(lostDocument(lost(r.Source.Name, "", r.FirstRow, &damage{what: "the file is empty"})), nil)
			return
		}
		stream, err := tarStream(src, r)
		if err != nil && src.err != nil {
			yield(Pair{}, src.err)
			return
		}
		if err != nil {
			yield(lostDocument(lost(r.Source.Name, "", r.FirstRow, err)), nil)
			return
		}
		_, zipped := stream.(*pipe)
		var (
			w   = &tarWalker{s: stream}
			doc *mintDocument
			row = r.FirstRow
		)
		emit := func() error {
			d := newDraft(r.Source.Name, row, schemas.DocumentInterleaved)
			d.offset, d.skip = doc.start, !o.wants(row)
			doc.draft(o, d)
			doc, row = nil, row+1
			if !d.emit(ctx, yield) {
				return errStop
			}
			return nil
		}
		err = walkMint(w, func(m tarMember) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if doc != nil {
				if err := emit(); err != nil {
					return err
				}
			}
			doc = &mintDocument{start: m.start, src: src, limit: o.maxImageBytes()}
			return nil
		}, func(m tarMember, ext string) error { return doc.add(m, ext, w, zipped) })
		if err == errStop {
			return
		}
		if src.err != nil {
			yield(Pair{}, src.err)
			return
		}
		if err := ctx.Err(); err != nil {
			yield(Pair{}, err)
			return
		}
		var d *damage
		if errors.As(err, &d) && d.afterEnd || err == io.EOF {
			if doc != nil && emit() != nil {
				return
			}
			if err == io.EOF {
				return
			}
		}
		if d == nil {
			err = &damage{off: stream.offset(), what: err.Error() + " (offset after decompression)"}
		}
		key, what := "", "all after it is lost"
		if doc != nil {
			key, what = doc.key(), "this document and all after it are lost"
		}
		yield(lostDocument(lost(r.Source.Name, key, row, fmt.Errorf("%w; %s", err, what))), nil)
	}
}
