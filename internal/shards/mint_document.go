package shards

import (
	"slices"
	"strconv"
	"strings"

	"sower/schemas"
)

// mintMember is a file of a document: a place in the tar, or its bytes where the tar cannot be read again.
type mintMember struct {
	name string
	extent
	data []byte
	bad  *Fault
}

// mintDocument collects the members of a document.
type mintDocument struct {
	start  int64 // offset of its first member
	src    *source
	limit  int64
	stem   string // of the .json, else of the first member
	meta   fields // nil until the .json came
	bad    *Fault
	images []mintMember
	other  []string
	held   int64
}

func (d *mintDocument) key() string { return cleanKey(d.stem) }

func (d *mintDocument) add(m tarMember, ext string, w *tarWalker, zipped bool) error {
	stem, _, _ := splitMember(m.name)
	if d.stem == "" || ext == "json" {
		d.stem = stem
	}
	fail := func(f *Fault) {
		if d.bad == nil {
			d.bad = f
		}
	}
	if unsafeName(m.name) {
		fail(fault(schemas.UnsafeName, "member %q leaves its folder", m.name))
		return nil
	}
	if ext == "json" {
		switch {
		case m.kind != memberFile:
			fail(fault(schemas.UnreadableSource, "%s is a %s", m.name, m.kind))
		case m.size > maxJSONBytes:
			fail(fault(schemas.TooLarge, "%s is %d bytes, more than %d", m.name, m.size, maxJSONBytes))
		default:
			data, err := w.content()
			if err != nil {
				return err
			}
			var bad *Fault
			if d.meta, bad = decodeSidecar(m.name, data); bad != nil {
				fail(bad)
			}
		}
		return nil
	}
	last := ext[strings.LastIndexByte(ext, '.')+1:]
	if !slices.Contains(imageExts, last) && !isTIFF(last) {
		if len(d.other) < maxSkipped {
			d.other = append(d.other, m.name)
		}
		return nil
	}
	if len(d.images) == maxElements {
		fail(fault(schemas.TooLarge, "more than %d images", maxElements))
		return nil
	}
	f := mintMember{name: m.name, extent: extent{m.body, m.size}}
	switch {
	case m.kind != memberFile:
		f.bad = fault(schemas.NoImage, "%s is a %s", m.name, m.kind)
	case zipped && m.size > 0 && m.size <= d.limit:
		if d.held += m.size; d.held > maxDocumentBytes {
			f.bad = fault(schemas.TooLarge, "%s: the images of the document are more than %d bytes, in a compressed archive", m.name, maxDocumentBytes)
			break
		}
		var err error
		if f.data, err = w.content(); err != nil {
			return err
		}
	}
	d.images = append(d.images, f)
	return nil
}

func isTIFF(ext string) bool { return ext == "tiff" || ext == "tif" }

// draft puts the document together.
func (d *mintDocument) draft(o *Options, out *draft) {
	out.key, out.bad = d.key(), d.bad
	if d.meta == nil {
		out.faultf(schemas.MissingColumn, "no %s.json with texts and images", d.stem)
		return
	}
	out.meta = d.meta
	if o.KeyColumn != "" {
		out.takeKey(o)
	}
	texts, _ := out.listOf(out.meta, o.TextColumn, "texts")
	images, _ := out.listOf(out.meta, o.ImageColumn, "images")
	for _, name := range d.other {
		out.meta.skip(name)
	}
	if out.bad != nil {
		return
	}
	find := d.finder()
	count := 0
	for _, v := range images {
		if v != nil && v != "" {
			count++
		}
	}
	out.parallel(texts, images, func(n, index int, v any) draftImage {
		name, ok := v.(string)
		if !ok {
			out.faultf(schemas.UnreadableSource, "index %d of the images is no name", index)
			return draftImage{}
		}
		meta := fields{}
		if len(name) <= 4096 {
			meta["name"] = name
		}
		m, frame := find(name, n, count)
		return draftImage{meta: meta, load: func() ([]byte, *Fault, error) {
			if m == nil {
				return nil, fault(schemas.NoImage, "no file for image %d, %q", n, name), nil
			}
			data, bad, err := d.content(m)
			if bad == nil && err == nil && frame >= 0 {
				m.data = data // the other frames are asked for next
				data, bad = tiffFrame(m.name, data, frame, d.limit)
			}
			return data, bad, err
		}}
	})
}

// finder gives the member of an image by its name and number, and the frame in it where it is a TIFF, else -1.
func (d *mintDocument) finder() func(name string, n, count int) (*mintMember, int) {
	byName, byNumber := map[string]*mintMember{}, map[int]*mintMember{}
	var own, tiff *mintMember
	for i := range d.images {
		m := &d.images[i]
		path := strings.TrimPrefix(m.name, "./")
		rest, _ := strings.CutPrefix(path, d.stem)
		cut := strings.LastIndexByte(rest, '.')
		ext := strings.ToLower(rest[cut+1:])
		token := strings.TrimLeft(rest[:max(cut, 0)], "./_")
		set := func(name string) {
			if byName[name] == nil {
				byName[name] = m
			}
		}
		set(path)
		set(path[:strings.LastIndexByte(path, '.')])
		if token != "" {
			set(token)
			set(token + "." + ext)
		}
		switch n, err := strconv.Atoi(token); {
		case token == "" && isTIFF(ext):
			tiff = m
		case token == "" && own == nil:
			own = m
		case err == nil && isNumber(token) && byNumber[n] == nil:
			byNumber[n] = m
		}
	}
	frameOf := func(m *mintMember, n int) int {
		if isTIFF(strings.ToLower(m.name[strings.LastIndexByte(m.name, '.')+1:])) {
			return n
		}
		return -1
	}
	return func(name string, n, count int) (*mintMember, int) {
		if m := byName[name]; m != nil {
			return m, frameOf(m, 0)
		}
		if m := byNumber[n]; m != nil {
			return m, frameOf(m, 0)
		}
		if own != nil && count == 1 {
			return own, -1
		}
		if tiff != nil {
			return tiff, n
		}
		return nil, -1
	}
}

// content reads a member.
func (d *mintDocument) content(m *mintMember) ([]byte, *Fault, error) {
	if m.bad != nil {
		return nil, m.bad, nil
	}
	if m.data != nil {
		return m.data, nil, nil
	}
	return readExtent(d.src, m.name, m.extent, d.limit)
}
