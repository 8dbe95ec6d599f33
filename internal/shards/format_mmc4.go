package shards

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"sower/schemas"
)

func init() { Register(mmc4{}) }

// mmc4 reads Multimodal C4 (https://github.com/allenai/mmc4): JSONL, plain or gzip-compressed, a document a line with the
// sentences in text_list and the images in image_info, each with image_name and the matched_text_index of its sentence.
// The release holds no images; its script downloads those of a file to STEM_images/ under their image_name. They are
// looked for there, or in an archive (imagesBeside), or below ImageRoot; OpenFlamingo's image_base64 is taken, too.
//
// An image goes before the sentence that it is matched to, several of one sentence in the order of image_info.
// ImageColumn names another field than image_name, TextColumn another than text_list. similarity_matrix is not kept.
type mmc4 struct{}

func (mmc4) Name() string    { return "mmc4" }
func (mmc4) bases() []string { return []string{"jsonl"} }

func (mmc4) guess(src *source, base string) bool {
	f := firstRecord(src)
	_, texts := f["text_list"].([]any)
	_, images := f["image_info"].([]any)
	return texts && images
}

func (f mmc4) Split(ctx context.Context, o *Options, s Source, target int64) ([]Range, error) {
	return splitText(ctx, o, f.Name(), dialect{}, s, target)
}

func (mmc4) Read(ctx context.Context, o *Options, r Range) iter.Seq2[Pair, error] {
	return readRecords(ctx, o, r, schemas.DocumentInterleaved, imagesBeside, lines, func(d *draft, row textRow, folder *imageFolder) {
		mmc4Document(ctx, o, d, row.data, folder)
	})
}

// lines yields the rows of a range of JSONL.
func lines(src *source, r Range) iter.Seq2[textRow, error] { return records(src, dialect{}, r) }

func mmc4Document(ctx context.Context, o *Options, d *draft, line []byte, folder *imageFolder) {
	d.meta, d.bad = decodeObject(line, func(name string) bool {
		return name == o.TextColumn || strings.EqualFold(name, "text_list") || strings.EqualFold(name, "image_info")
	})
	d.takeKey(o)
	texts, _ := d.listOf(d.meta, o.TextColumn, "text_list")
	images, _ := d.listOf(d.meta, "", "image_info")
	if d.bad != nil {
		return
	}
	if name, _, ok := d.meta.lookup("similarity_matrix", false); ok {
		delete(d.meta, name)
		d.meta.skip(name)
	}
	if len(texts) > maxElements || len(images) > maxElements {
		d.faultf(schemas.TooLarge, "%d texts and %d images, more than %d", len(texts), len(images), maxElements)
		return
	}
	before := make([][]draftImage, len(texts))
	for i, v := range images {
		info, ok := v.(map[string]any)
		if !ok {
			d.faultf(schemas.UnreadableSource, "image %d is no object", i)
			return
		}
		n, ok := info["matched_text_index"].(json.Number)
		at, err := strconv.Atoi(n.String())
		if !ok || err != nil || at < 0 || at >= len(texts) {
			d.faultf(schemas.UnreadableSource, "image %d: matched_text_index %.40v of %d texts", i, info["matched_text_index"], len(texts))
			return
		}
		before[at] = append(before[at], mmc4Image(ctx, o, info, folder))
	}
	for i, v := range texts {
		text, ok := v.(string)
		if !ok {
			d.faultf(schemas.UnreadableSource, "text %d is no string", i)
			return
		}
		for _, img := range before[i] {
			d.addImage("", img)
		}
		d.addText(fmt.Sprintf("text %d", i), text, "")
	}
}

func mmc4Image(ctx context.Context, o *Options, info map[string]any, folder *imageFolder) draftImage {
	name := "image_name"
	if o.ImageColumn != "" { // the only place to look
		name = o.ImageColumn
	} else if v, ok := info["image_base64"].(string); ok {
		delete(info, "image_base64")
		return valueImage(ctx, "image_base64", v, folder, info)
	}
	return valueImage(ctx, name, info[name], folder, info)
}

// valueImage is the image that a JSON value holds or names: a path, base64, a data: URL, or an object of bytes and path.
func valueImage(ctx context.Context, field string, v any, folder *imageFolder, meta fields) draftImage {
	meta.dropLong()
	return draftImage{meta: meta, load: func() ([]byte, *Fault, error) {
		if v == nil {
			return nil, fault(schemas.NoImage, "no %s", field), nil
		}
		return fields{field: v}.fieldImage(ctx, &Options{ImageColumn: field}, folder)
	}}
}

// firstRecord is the first JSON object of a file of lines, as far as 1 MiB holds it, for guessing.
func firstRecord(src *source) fields {
	t, err := openText(src, dialect{}, 0, min(src.size, 1<<20))
	if err != nil {
		return nil
	}
	for {
		rec, err := t.next()
		if err != nil {
			return nil
		}
		if line := bytes.TrimSpace(rec.data); len(line) > 0 {
			f, _ := decodeObject(line, func(string) bool { return true })
			return f
		}
	}
}
