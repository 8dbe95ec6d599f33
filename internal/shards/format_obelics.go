package shards

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"iter"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"

	"sower/internal/blob"
	"sower/schemas"
)

func init() { Register(obelics{}) }

// obelics reads documents as OBELICS has them (https://huggingface.co/datasets/HuggingFaceM4/OBELICS): Parquet with two
// lists of one length, images and texts, of which exactly one is not null at each index, and metadata and
// general_metadata, JSON as text. OmniCorpus and MINT-1T's HTML part have the same lists.
//
// An image is bytes (list of binary, or of the datasets library's structs of bytes and path), a path, or a URL: OBELICS
// has URLs alone, which are to be downloaded first. The file of a URL is looked for below ImageRoot (a folder or a tar)
// under the SHA-1 of the URL in lower-case hexadecimal with ".jpg", whatever its content is: names taken from the URLs
// would collide. Without ImageRoot it is no_image. ImageColumn and TextColumn name other columns than images and texts.
type obelics struct{}

func (obelics) Name() string    { return "obelics" }
func (obelics) bases() []string { return []string{"parquet"} }

func (obelics) guess(src *source, base string) bool {
	root, err := rootOf(src)
	return err == nil && newListTable(&Options{}, root).bad == nil
}

func (f obelics) Split(ctx context.Context, o *Options, s Source, target int64) ([]Range, error) {
	return splitRowGroups(ctx, o, f.Name(), s, target)
}

func (obelics) Read(ctx context.Context, o *Options, r Range) iter.Seq2[Pair, error] {
	return readDocumentTable(ctx, o, r, schemas.DocumentInterleaved, func(root *parquet.Column) documentTable { return newListTable(o, root) })
}

// listTable reads documents from two parallel lists.
type listTable struct {
	o                   *Options
	images, paths, text listColumn
	bad                 *Fault
}

// listColumn is a leaf below one list.
type listColumn struct {
	*leafColumn
	element int // definition level from which on there is an element, null or not
}

// listLeaf follows a column down to the list's only leaf, or to the named one of its structs.
func listLeaf(c *parquet.Column, names ...string) (l listColumn) {
	level := 0
	name := c.Name()
	for {
		if !c.Required() {
			level++
		}
		if c.Repeated() {
			l.element = level
		}
		if c.Leaf() {
			break
		}
		next := c.Columns()
		if len(names) == 0 && len(next) != 1 {
			return listColumn{}
		}
		found := next[0]
		if len(next) > 1 {
			if found = child(c, names[0]); found == nil {
				return listColumn{}
			}
		}
		c = found
	}
	if c.MaxRepetitionLevel() != 1 || c.Type().Kind() != parquet.ByteArray {
		return listColumn{}
	}
	x := leaf(c, name)
	l.leafColumn = &x
	return l
}

func newListTable(o *Options, root *parquet.Column) *listTable {
	t := &listTable{o: o}
	find := func(column, alias, what string, names ...string) (l listColumn) {
		c := firstColumn(root, column, []string{alias})
		if c != nil {
			l = listLeaf(c, names...)
		}
		if l.leafColumn == nil && t.bad == nil {
			t.bad = fault(schemas.MissingColumn, "no column %s that is a list of %s (have: %s)", quoted(column, []string{alias}), what, columnNames(root))
		}
		return l
	}
	t.images = find(o.ImageColumn, "images", "images", "bytes")
	t.text = find(o.TextColumn, "texts", "texts")
	if t.bad == nil {
		if c := firstColumn(root, o.ImageColumn, []string{"images"}); c != nil {
			if p := listLeaf(c, "path"); p.leafColumn != nil && p.index != t.images.index {
				t.paths = p
			}
		}
	}
	return t
}

func (t *listTable) fault() *Fault { return t.bad }

func (t *listTable) columns() []*leafColumn {
	return []*leafColumn{t.images.leafColumn, t.paths.leafColumn, t.text.leafColumn}
}

// list reads row i of a list: nil for a null element, else its bytes.
func (l *listColumn) list(c *columnReader, i int64) ([]any, error) {
	values, err := c.row(i)
	if err != nil {
		return nil, err
	}
	if c.over {
		return nil, fmt.Errorf("a row of more than %d bytes", maxDocumentBytes)
	}
	list := make([]any, 0, len(values))
	for _, v := range values {
		switch {
		case v.DefinitionLevel() < l.element: // no list, or an empty one
		case v.IsNull():
			list = append(list, nil)
		default:
			list = append(list, v.ByteArray())
		}
	}
	return list, nil
}

func (t *listTable) document(ctx context.Context, d *draft, g *documentGroup, i int64) {
	for _, name := range []string{"metadata", "general_metadata"} {
		if s, ok := d.meta[name].(string); ok {
			if v, err := decodeJSON([]byte(s)); err == nil {
				d.meta[name] = v
			}
		}
	}
	read := func(l *listColumn, c *columnReader) []any {
		if l.leafColumn == nil {
			return nil
		}
		list, err := l.list(c, i)
		if err != nil {
			d.faultf(schemas.UnreadableSource, "row group %d: %v", g.number, err)
		}
		if len(list) > maxElements {
			d.faultf(schemas.TooLarge, "column %q: %d elements, more than %d", l.name, len(list), maxElements)
		}
		return list
	}
	images, paths, texts := read(&t.images, g.readers[0]), read(&t.paths, g.readers[1]), read(&t.text, g.readers[2])
	for n, v := range texts {
		if p, ok := v.([]byte); ok {
			if !utf8.Valid(p) {
				d.faultf(schemas.TextNotUTF8, "text %d is not UTF-8", n)
			}
			texts[n] = string(p)
		}
	}
	path := func(index int) string {
		if index < len(paths) {
			if p, ok := paths[index].([]byte); ok {
				return escapeInvalid(string(p))
			}
		}
		return ""
	}
	for n, v := range images {
		if p, ok := v.([]byte); ok && len(p) == 0 && path(n) == "" {
			images[n] = ""
		} else if v == nil && path(n) != "" {
			images[n] = []byte(nil)
		}
	}
	if d.bad != nil {
		return
	}
	d.parallel(texts, images, func(n, index int, v any) draftImage {
		data, _ := v.([]byte)
		where := path(index)
		if len(data) > 0 && t.images.text {
			data, where = nil, escapeInvalid(string(data))
		}
		return listImage(ctx, t.images.name, data, where, g.folder)
	})
}

// listImage is an image of bytes, or of what names it: a path, a URL, base64.
func listImage(ctx context.Context, field string, data []byte, where string, folder *imageFolder) draftImage {
	meta := fields{}
	if _, _, inline := inlineImage(field, where, 0); !inline && where != "" && len(where) <= maxFieldBytes {
		name := "path"
		if isURL(where) {
			name = "url"
		}
		meta[name] = where
	}
	return draftImage{meta: meta, load: func() ([]byte, *Fault, error) {
		switch {
		case int64(len(data)) > folder.limit:
			return nil, fault(schemas.TooLarge, "column %q holds %d bytes, more than %d", field, len(data), folder.limit), nil
		case len(data) > 0:
			return data, nil, nil
		}
		return folder.named(ctx, field, where)
	}}
}

func isURL(s string) bool {
	scheme, _ := blob.SplitScheme(s)
	return scheme == "http" || scheme == "https"
}

// named gets an image by a path, by base64, or by its URL, whose file has a name made from it.
func (f *imageFolder) named(ctx context.Context, field, where string) ([]byte, *Fault, error) {
	if p, bad, inline := inlineImage(field, where, f.limit); inline {
		return p, bad, nil
	}
	if f.root == "" || !isURL(where) {
		return f.read(ctx, where)
	}
	sum := sha1.Sum([]byte(where))
	p, bad, err := f.read(ctx, hex.EncodeToString(sum[:])+".jpg")
	if bad != nil && bad.Reason == schemas.NoImage {
		bad = fault(bad.Reason, "%s (for %s)", bad.Detail, where)
		bad.Retryable = true
	}
	return p, bad, err
}
