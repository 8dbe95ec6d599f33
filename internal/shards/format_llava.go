package shards

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"sower/schemas"
)

func init() { Register(llava{}) }

// llava reads conversations about images as LLaVA's instruction data has them
// (https://github.com/haotian-liu/LLaVA, docs/Finetune_Custom_Data.md): one JSON array, or JSONL, plain or
// gzip-compressed, of objects with id, image (a path or a list of paths) and conversations, a list of turns
// {"from": "human" or "gpt", "value": text}. An array is read, and split, element by element.
//
// "<image>" in a value is the place of the next image; one line break right behind it, or right before it at the end of
// the value, belongs to the marker and is not text. There must be as many markers as images. Elements have the role of their turn:
// user for human, assistant for gpt, else what the file says. An object without image is a conversation in text alone.
// Paths are relative to the file or below ImageRoot. ImageColumn names another field than image, TextColumn another than
// conversations.
type llava struct{}

func (llava) Name() string    { return "llava" }
func (llava) bases() []string { return []string{"jsonl", "json"} }

func (llava) guess(src *source, base string) bool {
	turns, ok := firstRecord(src)["conversations"].([]any)
	if !ok || len(turns) == 0 {
		return false
	}
	turn, ok := turns[0].(map[string]any)
	return ok && turn["from"] != nil && turn["value"] != nil
}

func (f llava) Split(ctx context.Context, o *Options, s Source, target int64) ([]Range, error) {
	src, bad, err := openSource(ctx, o, s)
	if err != nil {
		return nil, err
	}
	if bad != nil {
		return []Range{{Source: s, Format: f.Name(), End: -1, Bytes: s.Size, Rows: -1}}, nil
	}
	defer src.Close()
	array, err := isArray(src)
	if err != nil {
		return nil, err
	}
	if array {
		return splitArray(ctx, src, f.Name(), s, target)
	}
	return splitText(ctx, o, f.Name(), dialect{}, s, target)
}

func (llava) Read(ctx context.Context, o *Options, r Range) iter.Seq2[Pair, error] {
	open := func(src *source, r Range) iter.Seq2[textRow, error] {
		array, err := isArray(src)
		if err != nil {
			return func(yield func(textRow, error) bool) { yield(textRow{}, err) }
		}
		if array {
			return elements(src, r)
		}
		return lines(src, r)
	}
	return readRecords(ctx, o, r, schemas.DocumentConversation, openImageFolder, open, func(d *draft, row textRow, folder *imageFolder) {
		llavaDocument(ctx, o, d, row.data, folder)
	})
}

var (
	llavaImages = []string{"image", "images"}
	llavaTurns  = []string{"conversations", "conversation"}
	llavaRoles  = map[string]string{"human": "user", "gpt": "assistant"}
)

const imageMarker = "<image>"

func llavaDocument(ctx context.Context, o *Options, d *draft, data []byte, folder *imageFolder) {
	d.meta, d.bad = decodeObject(data, func(name string) bool {
		return name == o.ImageColumn || name == o.TextColumn || oneOf(llavaImages, name) >= 0 || oneOf(llavaTurns, name) >= 0
	})
	d.takeKey(o)
	images := d.llavaImages(ctx, o, folder)
	turns, _ := d.listOf(d.meta, o.TextColumn, llavaTurns...)
	next := 0
	for i, v := range turns {
		turn, _ := v.(map[string]any)
		role, isRole := turn["from"].(string)
		text, isText := turn["value"].(string)
		if !isRole || !isText {
			d.faultf(schemas.UnreadableSource, "turn %d has no \"from\" or no \"value\"", i)
		}
		if d.bad != nil {
			return
		}
		if known, ok := llavaRoles[role]; ok {
			role = known
		}
		pieces := strings.SplitN(text, imageMarker, maxElements)
		for n, piece := range pieces {
			if n > 0 {
				if next < len(images) {
					d.addImage(cleanKey(role), images[next])
				}
				next++
				piece = trimBreak(piece, strings.HasPrefix, strings.TrimPrefix)
			}
			if n == len(pieces)-2 && pieces[n+1] == "" {
				piece = trimBreak(piece, strings.HasSuffix, strings.TrimSuffix)
			}
			if piece != "" || len(pieces) == 1 {
				d.addText(fmt.Sprintf("turn %d", i), piece, cleanKey(role))
			}
		}
	}
	if next != len(images) {
		d.faultf(schemas.UnreadableSource, "%d %s markers, %d images", next, imageMarker, len(images))
	}
}

// trimBreak takes off one line break.
func trimBreak(s string, has func(s, end string) bool, trim func(s, end string) string) string {
	if has(s, "\r\n") {
		return trim(s, "\r\n")
	}
	return trim(s, "\n")
}

// llavaImages takes the images out of the metadata; each keeps the path that names it in its own.
func (d *draft) llavaImages(ctx context.Context, o *Options, folder *imageFolder) (images []draftImage) {
	name, v, ok := d.meta.first(o.ImageColumn, llavaImages)
	if !ok {
		if o.ImageColumn != "" {
			d.faultf(schemas.MissingColumn, "no field %q", o.ImageColumn)
		}
		return nil
	}
	delete(d.meta, name)
	list, isList := v.([]any)
	if !isList && v != nil {
		list = []any{v}
	}
	if len(list) > maxElements {
		d.faultf(schemas.TooLarge, "%d images, more than %d", len(list), maxElements)
		return nil
	}
	for _, v := range list {
		images = append(images, valueImage(ctx, name, v, folder, pathOf(v)))
	}
	return images
}

// pathOf is the metadata of an image that a value names: its path or URL, nothing where the value is the image itself.
func pathOf(v any) fields {
	if m, ok := v.(map[string]any); ok {
		v = m["path"]
	}
	if s, ok := v.(string); ok && s != "" && len(s) <= 4096 && !strings.HasPrefix(s, "data:") {
		return fields{"path": s}
	}
	return fields{}
}
