package shards

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"sower/internal/blob"
	"sower/schemas"
)

// The names of columns and JSON fields, in order of preference; an exact match goes before one in another case.
var (
	imageFields = []string{"image", "image_path", "path", "file", "file_name", "filepath", "img", "image_base64", "b64"}
	textFields  = []string{"caption", "text", "txt", "top_caption"}
	keyFields   = []string{"key", "__key__", "id"}
)

// rowKey is the key of a row that has none: its source without extension, and its number.
func rowKey(source string, row int64) string {
	stem, _, ok := splitMember(source)
	if !ok {
		stem = source
	}
	return fmt.Sprintf("%s/%09d", cleanKey(stem), row)
}

// finishRow makes the Pair of a row of named fields. bad is a fault found before; image gives the row's image, and is
// not called for a row that is rejected anyway. Of several faults the first stands, in the order: bad, columns asked
// for, text, image.
func finishRow(o *Options, source string, row int64, f fields, bad *Fault, image func() ([]byte, *Fault, error)) (Pair, error) {
	p := Pair{Key: rowKey(source, row), Source: source, Row: row, Offset: -1}
	if key, ok := f.takeKey(o.KeyColumn, keyFields); ok {
		p.Key = key
	} else if c := o.KeyColumn; c != "" && bad == nil {
		bad = fault(schemas.MissingColumn, "no key in %q", c)
	}
	if c := o.TextColumn; c != "" && bad == nil {
		if _, _, ok := f.lookup(c, true); !ok {
			bad = fault(schemas.MissingColumn, "no field %q", c)
		}
	}
	p.Text = f.takeText(o.TextColumn, textFields, nil)
	if v, ok := f[o.TextColumn]; ok && v == nil {
		delete(f, o.TextColumn)
	}
	if p.Text != nil && len(*p.Text) > maxTextBytes && bad == nil {
		bad = fault(schemas.TooLarge, "text of %d bytes, more than %d", len(*p.Text), maxTextBytes)
	}
	if bad == nil {
		var err error
		if p.Image, bad, err = image(); err != nil {
			return Pair{}, err
		}
	}
	if bad == nil {
		var err error
		f.dropLong()
		if p.Metadata, err = f.encode(); err != nil {
			bad = fault(schemas.UnreadableSource, "metadata: %v", err)
		}
	}
	if bad != nil {
		p.Image, p.Text, p.Metadata, p.Reject = nil, nil, "", bad
	}
	return p, nil
}

// imageFolder is where the image paths of a text file lead.
type imageFolder struct {
	b     *blob.Bucket
	dir   string // below b, "" or with a slash at its end
	root  string // ImageRoot as given, "" where paths are relative to the source
	limit int64
	tar   *imageTar // the images are members of an archive instead
	skip  bool      // images are looked for by name and not read
	reads int       // images looked for so far: a row that raised it has its image outside of the source
}

// openImageFolder finds the folder that image paths are relative to: ImageRoot, else the source's own.
func openImageFolder(ctx context.Context, o *Options, source string) (*imageFolder, error) {
	f := &imageFolder{b: o.Root, limit: o.maxImageBytes()}
	if o.ImageRoot == "" {
		f.dir, _ = path.Split(source)
		return f, nil
	}
	if strings.HasSuffix(strings.ToLower(o.ImageRoot), ".tar") {
		err := f.openRootTar(ctx, o.ImageRoot)
		if err != nil {
			return nil, fmt.Errorf("shards: image root: %w", err)
		}
		if f.tar != nil {
			return f, nil
		}
	}
	b, err := blob.OpenBucket(ctx, o.ImageRoot)
	if err != nil {
		return nil, fmt.Errorf("shards: image root: %w", err)
	}
	f.b, f.root = b, strings.TrimRight(o.ImageRoot, "/")
	return f, nil
}

// count is the number of images looked for so far.
func (f *imageFolder) count() int {
	if f == nil {
		return 0
	}
	return f.reads
}

func (f *imageFolder) Close() error {
	if f.tar != nil {
		f.tar.src.Close()
	}
	if f.root == "" {
		return nil // the run's root, which is not ours to close
	}
	return f.b.Close()
}

// read gets the image that a row's path names. The path must stay below the folder.
func (f *imageFolder) read(ctx context.Context, name string) ([]byte, *Fault, error) {
	if name == "" {
		return nil, fault(schemas.NoImage, "the image path is empty"), nil
	}
	if scheme, _ := blob.SplitScheme(name); scheme == "http" || scheme == "https" {
		return nil, fault(schemas.NoImage, "%s is to be downloaded first (img2dataset does that)", name), nil
	}
	if f.root != "" && strings.HasPrefix(name, f.root+"/") {
		name = name[len(f.root)+1:]
	}
	clean := path.Clean(name)
	if err := blob.CheckName(clean); err != nil || strings.HasPrefix(name, "/") {
		return nil, fault(schemas.UnsafeName, "image path %q leaves its folder", name), nil
	}
	if f.skip {
		return nil, nil, nil
	}
	f.reads++
	if f.tar != nil {
		return f.tar.read(clean, f.limit)
	}
	return readImage(ctx, f.b, f.dir+clean, f.limit)
}

// readImage reads an object that a row names as its image, at most limit bytes of it.
func readImage(ctx context.Context, b *blob.Bucket, name string, limit int64) ([]byte, *Fault, error) {
	r, err := b.Open(ctx, name)
	if err != nil {
		return nil, openFault(schemas.NoImage, name, err), openError(err)
	}
	defer r.Close()
	switch size := r.Size(); {
	case size == 0:
		return nil, fault(schemas.NoImage, "%s has 0 bytes", name), nil
	case size > limit:
		return nil, fault(schemas.TooLarge, "%s is %d bytes, more than %d", name, size, limit), nil
	}
	p := make([]byte, r.Size())
	if _, err := io.ReadFull(io.NewSectionReader(r, 0, r.Size()), p); err != nil {
		return nil, nil, fmt.Errorf("shards: read image %s: %w", blob.Join(b.URL(), name), err)
	}
	return p, nil, nil
}

// inlineImage decodes the image that a field holds as text: a data: URL, or base64 where the field's name says so or
// the value cannot be a path. inline is false for a path.
func inlineImage(field, value string, limit int64) (p []byte, bad *Fault, inline bool) {
	data := value
	switch lower := strings.ToLower(field); {
	case len(value) >= 5 && strings.EqualFold(value[:5], "data:"):
		head, body, ok := strings.Cut(value, ",")
		if !ok || !strings.HasSuffix(head, ";base64") {
			return nil, fault(schemas.Undecodable, "field %q: a data URL that is not base64", field), true
		}
		data = body
	case strings.Contains(lower, "base64"), strings.Contains(lower, "b64"):
	case len(value) > 512 && !strings.Contains(value, "."): // longer than paths are, and base64 has no dot
	default:
		return nil, nil, false
	}
	if data == "" {
		return nil, fault(schemas.NoImage, "field %q is empty", field), true
	}
	if int64(len(data))/4*3 > limit+3 {
		return nil, fault(schemas.TooLarge, "field %q holds %d bytes, more than %d", field, len(data)/4*3, limit), true
	}
	p, err := decodeBase64(data)
	if err != nil {
		return nil, fault(schemas.Undecodable, "field %q: %v", field, err), true
	}
	if int64(len(p)) > limit {
		return nil, fault(schemas.TooLarge, "field %q holds %d bytes, more than %d", field, len(p), limit), true
	}
	if len(p) == 0 {
		return nil, fault(schemas.NoImage, "field %q has 0 bytes", field), true
	}
	return p, nil, true
}

// decodeBase64 takes both alphabets, with and without padding and line breaks.
func decodeBase64(s string) ([]byte, error) {
	s = strings.TrimRight(strings.TrimSpace(s), "=")
	enc := base64.RawStdEncoding
	if strings.ContainsAny(s, "-_") {
		enc = base64.RawURLEncoding
	}
	p, err := enc.DecodeString(s)
	if err != nil {
		return nil, errors.New("not base64: " + err.Error())
	}
	return p, nil
}

// fieldImage gets the image of a row of text fields from the field that the options or the aliases name.
func (f fields) fieldImage(ctx context.Context, o *Options, folder *imageFolder) ([]byte, *Fault, error) {
	names, exact := imageFields, false
	if c := o.ImageColumn; c != "" {
		names, exact = []string{c}, true
	}
	present := ""
	for _, n := range names {
		name, v, ok := f.lookup(n, exact)
		if !ok {
			continue
		}
		present = name
		if m, ok := v.(map[string]any); ok { // an image as the datasets library writes it to JSON
			if s, ok := m["bytes"].(string); ok {
				p, bad, _ := inlineImage("base64", s, folder.limit)
				delete(f, name)
				return p, bad, nil
			}
			v = m["path"]
		}
		s, ok := v.(string)
		if !ok {
			continue
		}
		if p, bad, inline := inlineImage(name, s, folder.limit); inline {
			delete(f, name)
			return p, bad, nil
		}
		return folder.read(ctx, s)
	}
	switch {
	case present != "":
		return nil, fault(schemas.NoImage, "field %q holds no path and no image", present), nil
	case exact:
		return nil, fault(schemas.MissingColumn, "no field %q", o.ImageColumn), nil
	}
	return nil, fault(schemas.NoImage, "no field with an image (looked for %s)", strings.Join(names, ", ")), nil
}

// decodeRow reads one JSON object. Fields that are too long for metadata are left out, but for those that may be the
// row's image or caption.
func decodeRow(o *Options, p []byte) (fields, *Fault) {
	return decodeObject(p, func(name string) bool { return mayBeUsed(o, name) })
}

// decodeObject reads one JSON object and leaves out what is too long for metadata, unless keep says that it is used.
func decodeObject(p []byte, keep func(name string) bool) (fields, *Fault) {
	var bad *Fault
	if !utf8.Valid(p) {
		bad = fault(schemas.TextNotUTF8, "the line is not UTF-8")
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(p, &raw); err != nil || raw == nil {
		if bad != nil {
			return fields{}, bad
		}
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) { // its own words are of Go types
			err = errors.New(kind.Value)
		} else if err == nil {
			err = errors.New("null")
		}
		return fields{}, fault(schemas.UnreadableSource, "no JSON object: %v", err)
	}
	f := fields{}
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		if len(raw[name]) > maxFieldBytes && !keep(name) {
			f.skip(name)
			continue
		}
		v, err := decodeJSON(raw[name])
		if err != nil {
			return f, fault(schemas.UnreadableSource, "field %q: %v", name, err)
		}
		f[name] = v
	}
	return f, bad
}

// mayBeUsed says whether a field can be the row's image or caption.
func mayBeUsed(o *Options, name string) bool {
	return name == o.ImageColumn || name == o.TextColumn ||
		slices.ContainsFunc(slices.Concat(imageFields, textFields), func(a string) bool { return strings.EqualFold(a, name) })
}

// dropLong leaves out the fields that were kept for their name only and are too long for metadata after all.
func (f fields) dropLong() {
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if s, ok := f[name].(string); ok && len(s) > maxFieldBytes {
			delete(f, name)
			f.skip(name)
		}
	}
}
