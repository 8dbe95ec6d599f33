package shards

import (
	"context"
	"iter"
)

func init() { Register(jsonLines{}) }

// jsonLines reads files of one JSON object a line (https://jsonlines.org), plain or gzip-compressed. The image is a path
// or base64 (imageFields); empty lines are no rows.
type jsonLines struct{}

func (jsonLines) Name() string { return "jsonl" }

func (f jsonLines) Split(ctx context.Context, o *Options, s Source, target int64) ([]Range, error) {
	return splitText(ctx, o, f.Name(), dialect{}, s, target)
}

func (jsonLines) Read(ctx context.Context, o *Options, r Range) iter.Seq2[Pair, error] {
	return readText(ctx, o, r, dialect{}, func(t textRow) (fields, *Fault) { return decodeRow(o, t.data) })
}

// readText reads a range of a text file; parse makes the fields of a row.
func readText(ctx context.Context, o *Options, r Range, d dialect, parse func(textRow) (fields, *Fault)) iter.Seq2[Pair, error] {
	return func(yield func(Pair, error) bool) {
		src, bad, err := openSource(ctx, o, r.Source)
		if err != nil {
			yield(Pair{}, err)
			return
		}
		if bad != nil {
			yield(Pair{Source: r.Source.Name, Row: r.FirstRow, Reject: bad, Offset: -1}, nil)
			return
		}
		defer src.Close()
		folder, err := openImageFolder(ctx, o, r.Source.Name)
		if err != nil {
			yield(Pair{}, err)
			return
		}
		defer folder.Close()
		for t, err := range records(src, d, r) {
			if err != nil {
				yield(Pair{}, err)
				return
			}
			f, bad := fields{}, t.bad
			if bad == nil {
				f, bad = parse(t)
			}
			folder.skip = !o.wants(t.row)
			before := folder.reads
			p, err := finishRow(o, r.Source.Name, t.row, f, bad, func() ([]byte, *Fault, error) {
				return f.fieldImage(ctx, o, folder)
			})
			if err != nil {
				yield(Pair{}, err)
				return
			}
			p.Outside, p.Offset = folder.reads > before, t.start
			if !yield(p, nil) {
				return
			}
		}
	}
}
