package lint

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"

	"sower/internal/pixels"
	"sower/internal/shards"
	"sower/schemas"
)

// maxKeys is how many keys of one shard are remembered.
const maxKeys = 4 << 20

// source looks at one file. A store that fails is a problem of the file; only the end of ctx is an error.
func source(ctx context.Context, s shards.InputSource, o Options, images int) (*finding, error) {
	f := &finding{show: o.Show, report: Report{Sources: 1, Bytes: s.Size}}
	format, err := shards.Lookup(s.Format)
	if err != nil {
		return nil, err
	}
	options := o.Shards
	// Half of them from the beginning, then ever further apart: how many rows there are is not known.
	next, step, taken, chosen := int64(0), int64(1), 0, int64(-1)
	options.WantImage = func(row int64) bool {
		if row == chosen || o.Images < 0 {
			return true
		}
		if row < next || taken >= images {
			return false
		}
		chosen, next, taken = row, next+step, taken+1
		if taken > images/2 {
			step++
		}
		return true
	}
	whole, err := format.Split(ctx, &options, s.Source, s.Size+1)
	keys := map[string]half{}
	for _, r := range whole {
		if err != nil {
			break
		}
		for p, readErr := range format.Read(ctx, &options, r) {
			if err = readErr; err != nil {
				break
			}
			f.row(&p, keys, &o)
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		f.problem(Problem{Storage, Error, s.Name, -1, -1, err.Error()})
	} else if err := f.archiveEnd(ctx, s, &options); err != nil {
		return nil, err
	} else if f.report.Rows+f.report.Documents == 0 {
		f.problem(Problem{NoRows, Warning, s.Name, -1, -1, fmt.Sprintf("no sample in its %d bytes", s.Size)})
	}
	return f, nil
}

// archiveEnd looks for the blocks of zeros that end an archive. One that was cut off between two files lacks nothing else.
func (f *finding) archiveEnd(ctx context.Context, s shards.InputSource, o *shards.Options) error {
	const end = 1024
	if s.Size < end || s.Format != "webdataset" && s.Format != "mint1t" || f.report.Counts[Kind(schemas.UnreadableSource)] > 0 {
		return nil
	}
	r, err := o.Root.Open(ctx, s.Name)
	if err != nil {
		return ctx.Err() // what is wrong with the store was said by the reader
	}
	defer r.Close()
	var head [2]byte
	var tail [end]byte
	if _, err := r.ReadAt(head[:], 0); err != nil || head == [2]byte{0x1f, 0x8b} {
		return ctx.Err()
	}
	if _, err := r.ReadAt(tail[:], r.Size()-end); (err == nil || err == io.EOF) && tail != [end]byte{} {
		f.problem(Problem{NoEnd, Warning, s.Name, -1, s.Size, "the archive has no end marker: cut off between two files, or its writer was not closed"})
	}
	return ctx.Err()
}

// half remembers what of a sample was there when its key came first.
type half struct {
	row         int64
	hasImage    bool
	hasText     bool
	firstOffset int64
}

// row looks at one row, or one image of a document.
func (f *finding) row(p *shards.Pair, keys map[string]half, o *Options) {
	found := func(k Kind, s Severity, format string, args ...any) {
		f.problem(Problem{k, s, p.Source, p.Row, p.Offset, fmt.Sprintf(format, args...)})
	}
	document := p.Position == shards.DocumentPosition
	switch {
	case document:
		f.report.Documents++
	case p.Document == nil:
		f.report.Rows++
	}
	if p.Reject != nil {
		// Half of a sample is worth its own words: the other half stands somewhere else in the shard.
		if was, again := keys[p.Key]; p.Reject.Reason == schemas.NoImage && again && p.Document == nil && !was.hasText {
			found(KeyNotAdjacent, Error, "key %q has no image here and no caption in row %d at byte %d: files of a sample must stand side by side", p.Key, was.row, was.firstOffset)
			return
		}
		found(Kind(p.Reject.Reason), Error, "%s", p.Reject.Detail)
		if p.Document == nil && p.Key != "" {
			f.remember(p, keys, half{row: p.Row, firstOffset: p.Offset})
		}
		return
	}
	if p.Document == nil {
		hasText := p.Text != nil && strings.TrimSpace(*p.Text) != ""
		if hasText {
			f.report.Captions++
		}
		was, again := keys[p.Key]
		switch {
		case again && !was.hasImage && !hasText:
			found(KeyNotAdjacent, Error, "key %q has no caption here and no image in row %d at byte %d: files of a sample must stand side by side", p.Key, was.row, was.firstOffset)
		case again:
			found(DuplicateKey, Warning, "key %q is that of row %d at byte %d as well", p.Key, was.row, was.firstOffset)
		case !hasText && o.RequireText:
			found(NoCaption, Error, "no caption (--require-text)")
		case !hasText:
			found(NoCaption, Warning, "no caption")
		}
		f.remember(p, keys, half{row: p.Row, hasImage: true, hasText: hasText, firstOffset: p.Offset})
	} else if document {
		if _, again := keys[p.Key]; again {
			found(DuplicateKey, Warning, "document %q is there already", p.Key)
		}
		f.remember(p, keys, half{row: p.Row, firstOffset: p.Offset})
	}
	if len(p.Image) > 0 {
		f.image(p, o)
	}
}

// remember keeps a key of this shard. The first row with it is the one that others are compared with.
func (f *finding) remember(p *shards.Pair, keys map[string]half, h half) {
	if _, again := keys[p.Key]; again || len(keys) >= maxKeys {
		return
	}
	keys[p.Key] = h
	f.keys = append(f.keys, keyPlace{p.Key, p.Source, p.Row, p.Offset})
}

const (
	leastSide  = 8    // pixels
	mostAspect = 10.0 // longer side over shorter
	leastBytes = 100
)

// image looks at an image's header and end.
func (f *finding) image(p *shards.Pair, o *Options) {
	f.report.Images++
	found := func(k Kind, s Severity, format string, args ...any) {
		what := fmt.Sprintf(format, args...)
		if p.Document != nil {
			what = fmt.Sprintf("image %d: %s", p.Position, what)
		}
		f.problem(Problem{k, s, p.Source, p.Row, p.Offset, what})
	}
	f.images = append(f.images, seenImage{sum: sha256.Sum256(p.Image), source: p.Source, row: p.Row, offset: p.Offset})
	h, err := pixels.Sniff(p.Image)
	switch {
	case errors.Is(err, pixels.ErrFormat):
		found(Kind(schemas.UnsupportedFormat), Error, "%v", err)
		return
	case errors.Is(err, pixels.ErrTruncated):
		found(Kind(schemas.Truncated), Error, "%v", err)
		return
	case errors.Is(err, pixels.ErrTooLarge):
		found(Kind(schemas.TooLarge), Error, "%v", err)
		return
	case err != nil:
		found(Kind(schemas.Undecodable), Error, "%v", err)
		return
	}
	short, long := min(h.Width, h.Height), max(h.Width, h.Height)
	switch {
	case int64(h.Width)*int64(h.Height) > o.MaxPixels:
		found(Kind(schemas.TooLarge), Error, "%d x %d pixels, the limit is %d (--max-pixels)", h.Width, h.Height, o.MaxPixels)
	case short < leastSide || float64(long) > mostAspect*float64(short) || len(p.Image) < leastBytes:
		found(UnlikelyImage, Warning, "%d x %d pixels in %d bytes", h.Width, h.Height, len(p.Image))
	}
	if what := unended(h.Format, p.Image); what != "" {
		found(NoEnd, Warning, "%s", what)
	}
}
