package shards

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/parquet-go/parquet-go"

	"sower/schemas"
)

func init() { Register(edit{}) }

// edit reads image edits: a source image, an instruction and the target image, in Parquet or JSONL (plain or
// gzip-compressed, told by content). The columns are those of InstructPix2Pix (https://huggingface.co/datasets:
// timbrooks/instructpix2pix-clip-filtered has original_image, edit_prompt, edited_image), MagicBrush (osunlp/MagicBrush:
// source_img, instruction, target_img; its mask_img is not read), UltraEdit and HQ-Edit. ImageColumn names
// others as "source;target", TextColumn the instruction.
//
// A document is the source image, the instruction and the target image, with these roles.
type edit struct{}

var (
	editSource = []string{"source_image", "source_img", "input_image", "original_image", "source", "before"}
	editText   = []string{"instruction", "edit_instruction", "edit_prompt", "edit"}
	editTarget = []string{"target_image", "target_img", "edited_image", "output_image", "target", "after"}
)

func (edit) Name() string    { return "edit" }
func (edit) bases() []string { return []string{"parquet", "jsonl"} }

func (edit) guess(src *source, base string) bool {
	f := fields{}
	if base == "parquet" {
		root, err := rootOf(src)
		if err != nil {
			return false
		}
		for _, c := range root.Columns() {
			f[c.Name()] = true
		}
	} else {
		f = firstRecord(src)
	}
	for _, names := range [][]string{editSource[:4], editText, editTarget[:4]} {
		if _, _, ok := f.first("", names); !ok {
			return false
		}
	}
	return true
}

// editColumns splits ImageColumn.
func editColumns(o *Options) (source, target string, bad *Fault) {
	if o.ImageColumn == "" {
		return "", "", nil
	}
	source, target, ok := strings.Cut(o.ImageColumn, ";")
	if !ok || source == "" || target == "" || strings.Contains(target, ";") {
		return "", "", fault(schemas.MissingColumn, "image column %q: an edit has two, want \"source;target\"", o.ImageColumn)
	}
	return source, target, nil
}

func isParquet(src *source) (bool, error) {
	var magic [4]byte
	n, _ := src.ReadAt(magic[:], 0)
	return n == 4 && string(magic[:]) == "PAR1", src.err
}

func (f edit) Split(ctx context.Context, o *Options, s Source, target int64) ([]Range, error) {
	src, bad, err := openSource(ctx, o, s)
	if err != nil {
		return nil, err
	}
	if bad != nil {
		return []Range{{Source: s, Format: f.Name(), End: -1, Bytes: s.Size, Rows: -1}}, nil
	}
	defer src.Close()
	if is, err := isParquet(src); err != nil {
		return nil, err
	} else if is {
		return splitRowGroups(ctx, o, f.Name(), s, target)
	}
	return splitText(ctx, o, f.Name(), dialect{}, s, target)
}

func (edit) Read(ctx context.Context, o *Options, r Range) iter.Seq2[Pair, error] {
	return func(yield func(Pair, error) bool) {
		src, bad, err := openSource(ctx, o, r.Source)
		if err != nil {
			yield(Pair{}, err)
			return
		}
		is := false
		if bad == nil { // else the reader below says so
			is, err = isParquet(src)
			src.Close()
			if err != nil {
				yield(Pair{}, err)
				return
			}
		}
		if is {
			readDocumentTable(ctx, o, r, schemas.DocumentEdit, func(root *parquet.Column) documentTable { return newEditTable(o, root) })(yield)
			return
		}
		readRecords(ctx, o, r, schemas.DocumentEdit, openImageFolder, lines, func(d *draft, row textRow, folder *imageFolder) {
			editDocument(ctx, o, d, row.data, folder)
		})(yield)
	}
}

// editDocument reads a line of JSONL.
func editDocument(ctx context.Context, o *Options, d *draft, line []byte, folder *imageFolder) {
	source, target, bad := editColumns(o)
	d.meta, d.bad = decodeObject(line, func(name string) bool {
		return name == source || name == target || name == o.TextColumn || oneOf(editSource, name) >= 0 || oneOf(editText, name) >= 0 || oneOf(editTarget, name) >= 0
	})
	d.takeKey(o)
	if d.bad == nil {
		d.bad = bad
	}
	take := func(column string, aliases []string) (name string, v any) {
		name, v, ok := d.meta.first(column, aliases)
		if !ok {
			d.faultf(schemas.MissingColumn, "no field %s", quoted(column, aliases))
		}
		delete(d.meta, name)
		return name, v
	}
	sourceName, sourceValue := take(source, editSource)
	_, instruction := take(o.TextColumn, editText)
	targetName, targetValue := take(target, editTarget)
	text, _, ok := textOf(instruction)
	if !ok {
		d.faultf(schemas.UnreadableSource, "the instruction is no text")
	}
	d.edit(valueImage(ctx, sourceName, sourceValue, folder, pathOf(sourceValue)), text, valueImage(ctx, targetName, targetValue, folder, pathOf(targetValue)))
}

func (d *draft) edit(source draftImage, text string, target draftImage) {
	d.addImage("source", source)
	d.addText("the instruction", text, "instruction")
	d.addImage("target", target)
}

// editTable reads edits from Parquet.
type editTable struct {
	o              *Options
	source, target tableImage
	text           leafColumn
	bad            *Fault
}

// tableImage is an image column and the path beside its bytes.
type tableImage struct{ image, path *leafColumn }

func newEditTable(o *Options, root *parquet.Column) *editTable {
	t := &editTable{o: o}
	source, target, bad := editColumns(o)
	t.bad = bad
	find := func(column string, aliases []string) *parquet.Column {
		c := firstColumn(root, column, aliases)
		if c == nil && t.bad == nil {
			t.bad = fault(schemas.MissingColumn, "no column %s (have: %s)", quoted(column, aliases), columnNames(root))
		}
		return c
	}
	image := func(column string, aliases []string) (i tableImage) {
		c := find(column, aliases)
		if c == nil {
			return i
		}
		if i.image, i.path = imageColumn(root, &Options{ImageColumn: c.Name()}); i.image == nil && t.bad == nil {
			t.bad = fault(schemas.MissingColumn, "column %q holds no images", c.Name())
		}
		return i
	}
	t.source, t.target = image(source, editSource), image(target, editTarget)
	if c := find(o.TextColumn, editText); c != nil {
		if t.text = leaf(c, c.Name()); !c.Leaf() || t.text.repeated || t.text.kind != parquet.ByteArray {
			t.bad = fault(schemas.MissingColumn, "column %q holds no text", c.Name())
		}
		t.text.text = true
	}
	return t
}

func (t *editTable) fault() *Fault { return t.bad }

func (t *editTable) columns() []*leafColumn {
	return []*leafColumn{t.source.image, t.source.path, &t.text, t.target.image, t.target.path}
}

func (t *editTable) document(ctx context.Context, d *draft, g *documentGroup, i int64) {
	image := func(at int, c tableImage) draftImage {
		rows := &rowGroup{o: t.o, src: g.src, folder: g.folder, number: g.number, sel: parquetColumns{image: c.image, path: c.path}, image: g.readers[at], path: g.readers[at+1]}
		meta := fields{}
		return draftImage{meta: meta, load: func() ([]byte, *Fault, error) {
			data, bad, err := rows.imageOf(ctx, i, meta)
			if g.src.err != nil {
				err = g.src.err
			}
			return data, bad, err
		}}
	}
	text := ""
	values, err := g.readers[2].row(i)
	if err != nil {
		d.faultf(schemas.UnreadableSource, "row group %d: %v", g.number, err)
	} else if v, bad, ok := t.text.value(values); bad != nil {
		d.fault(bad)
	} else if text, _ = v.(string); !ok {
		d.faultf(schemas.UnreadableSource, "column %q is null", t.text.name)
	}
	d.edit(image(0, t.source), text, image(3, t.target))
}

func columnNames(root *parquet.Column) string {
	var names []string
	for _, c := range root.Columns() {
		names = append(names, c.Name())
	}
	return fmt.Sprintf("%q", names)
}

// firstColumn is the column that is asked for, else the first of the aliases in any case.
func firstColumn(root *parquet.Column, column string, aliases []string) *parquet.Column {
	if column != "" {
		return root.Column(column)
	}
	for _, a := range aliases {
		for _, c := range root.Columns() {
			if strings.EqualFold(c.Name(), a) {
				return c
			}
		}
	}
	return nil
}
