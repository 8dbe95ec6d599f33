package shards

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
)

func init() { Register(webDataset{}) }

// webDataset reads tar archives, plain or gzip-compressed, in which the files of a sample are neighbours that share
// their name up to the first dot of its last element (https://github.com/webdataset/webdataset, img2dataset's default).
//
// What is gzip-compressed is found by content; it cannot be split. A plain archive is split at samples by walking
// headers, and only when it is larger than the target.
type webDataset struct{}

func (webDataset) Name() string { return "webdataset" }

const (
	splitAhead = 8 << 10   // the small files of a sample and the next header usually come with one read
	readAhead  = 256 << 10 // bodies are read anyway
)

func (f webDataset) Split(ctx context.Context, o *Options, s Source, target int64) ([]Range, error) {
	src, whole, err := openToSplit(ctx, o, s, f.Name(), target)
	if src == nil {
		return whole, err
	}
	defer src.Close()
	var (
		ranges []Range
		cur    = Range{Source: s, Format: f.Name(), Rows: -1}
		row    int64
		group  *sample
	)
	w := tarWalker{s: newWindow(src, 0, s.Size, splitAhead)}
	for {
		m, err := w.next()
		if err != nil {
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
		stem, ext, ok := splitMember(m.name)
		if !ok || m.kind == memberOther {
			continue
		}
		if group == nil || !group.belongs(stem, ext) {
			group = newSample(o, stem)
			if row > cur.FirstRow && m.start-cur.Start >= target {
				cur.End, cur.Rows = m.start, row-cur.FirstRow
				cur.Bytes = cur.End - cur.Start
				ranges = append(ranges, cur)
				cur = Range{Source: s, Format: f.Name(), Start: m.start, FirstRow: row, Rows: -1}
			}
			row++
		}
		if len(group.exts) < maxMembers {
			group.exts[ext] = true
		}
	}
}

func (webDataset) Read(ctx context.Context, o *Options, r Range) iter.Seq2[Pair, error] {
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
		if src.size == 0 { // an archive of nothing still has 1,024 bytes: this one was never written
			yield(lost(r.Source.Name, "", r.FirstRow, &damage{what: "the file is empty"}), nil)
			return
		}
		stream, err := tarStream(src, r)
		if err != nil && src.err != nil {
			yield(Pair{}, src.err)
			return
		}
		if err != nil {
			yield(lost(r.Source.Name, "", r.FirstRow, err), nil)
			return
		}
		var (
			w   = tarWalker{s: stream}
			row = r.FirstRow
			cur *sample
		)
		for {
			m, err := w.next()
			if err == nil {
				if err = ctx.Err(); err != nil {
					yield(Pair{}, err)
					return
				}
				stem, ext, ok := splitMember(m.name)
				if !ok || m.kind == memberOther {
					continue
				}
				if cur != nil && !cur.belongs(stem, ext) {
					if !yield(cur.pair(r.Source.Name, row), nil) {
						return
					}
					cur, row = nil, row+1
				}
				if cur == nil {
					cur = newSample(o, stem)
					cur.start, cur.skip = m.start, !o.wants(row)
				}
				p := part{name: m.name, ext: ext, size: m.size, content: w.content}
				if m.kind != memberFile {
					p.missing = m.kind.String()
				}
				if unsafeName(m.name) {
					cur.unsafe, p.missing = m.name, "name that leaves its folder"
				}
				if err = cur.add(p); err == nil {
					continue
				}
			}
			if src.err != nil {
				yield(Pair{}, src.err)
				return
			}
			var d *damage
			whole := err == io.EOF || errors.As(err, &d) && d.afterEnd
			if cur != nil && whole {
				if !yield(cur.pair(r.Source.Name, row), nil) {
					return
				}
				cur, row = nil, row+1
			}
			if err == io.EOF {
				return
			}
			if d == nil { // the decompressor's own error
				err = &damage{off: stream.offset(), what: err.Error() + " (offset after decompression)"}
			}
			// The sample at hand may have lost its caption with the rest, so it goes with what is lost.
			key := ""
			if cur != nil {
				key, err = cur.stem, fmt.Errorf("%w; this sample and all after it are lost", err)
			} else {
				err = fmt.Errorf("%w; all after it is lost", err)
			}
			yield(lost(r.Source.Name, key, row, err), nil)
			return
		}
	}
}

// openToSplit opens a tar archive that is to be cut at its samples. Without a source, whole is what it is instead: one that cannot be opened, is
// compressed, or is no larger than the target.
func openToSplit(ctx context.Context, o *Options, s Source, format string, target int64) (src *source, whole []Range, err error) {
	one := Range{Source: s, Format: format, End: s.Size, Bytes: s.Size, Rows: -1}
	src, bad, err := openSource(ctx, o, s)
	if err != nil || bad != nil {
		return nil, []Range{one}, err
	}
	zipped, err := isGzip(src)
	if err == nil && !zipped && s.Size > target {
		return src, nil, nil
	}
	src.Close()
	if zipped {
		one.End = -1
	}
	return nil, []Range{one}, err
}

func isGzip(src *source) (bool, error) {
	var magic [2]byte
	n, err := src.ReadAt(magic[:], 0)
	if err != nil && err != io.EOF {
		return false, err
	}
	return n == 2 && magic == [2]byte{0x1f, 0x8b}, nil
}

// tarStream opens the bytes of a range.
func tarStream(src *source, r Range) (byteStream, error) {
	zipped, err := isGzip(src)
	if err != nil {
		return nil, err
	}
	if !zipped {
		end := r.End
		if end < 0 {
			end = src.size
		}
		return newWindow(src, r.Start, end, readAhead), nil
	}
	z, err := gzip.NewReader(bufio.NewReaderSize(src.reader(0, src.size), readAhead))
	if err != nil {
		return nil, err
	}
	return &pipe{r: bufio.NewReaderSize(z, 64<<10)}, nil
}
