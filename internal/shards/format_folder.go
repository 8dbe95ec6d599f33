package shards

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"sower/internal/blob"
	"sower/schemas"
)

func init() { Register(&folderFormat{}) }

// folderFormat reads images that lie as files below a folder: each is a source of its own with one row. Its caption and
// metadata come from files of the same name (.txt, .text, .caption, .json) and from the nearest metadata.jsonl or
// metadata.csv above it, the layout of the datasets library's ImageFolder (column file_name, relative to that file).
//
// What is learned about a folder is kept for the last few of them, because the images of a unit are neighbours: a file
// added to a folder during a run may not be seen.
type folderFormat struct {
	mu      sync.Mutex
	folders []*folderInfo // most recent last
}

func (*folderFormat) Name() string { return "folder" }

func (f *folderFormat) Split(ctx context.Context, _ *Options, s Source, _ int64) ([]Range, error) {
	return []Range{{Source: s, Format: f.Name(), End: s.Size, Bytes: s.Size, Rows: 1}}, ctx.Err()
}

func (f *folderFormat) Read(ctx context.Context, o *Options, r Range) iter.Seq2[Pair, error] {
	return func(yield func(Pair, error) bool) {
		p, err := f.pair(ctx, o, r)
		if err != nil {
			yield(Pair{}, err)
			return
		}
		yield(p, nil)
	}
}

func (f *folderFormat) pair(ctx context.Context, o *Options, r Range) (Pair, error) {
	name := r.Source.Name
	stem, ext := cutExt(name)
	src, bad, err := openSource(ctx, o, r.Source)
	if err != nil {
		return Pair{}, err
	}
	if bad != nil {
		return Pair{Key: cleanKey(stem), Source: name, Row: r.FirstRow, Reject: bad, Offset: -1}, nil
	}
	defer src.Close()
	dir, err := f.folder(ctx, o.Root, path.Dir(name))
	if err != nil {
		return Pair{}, err
	}
	// The image column names an extension in archives; here the source is the image.
	plain := *o
	plain.ImageColumn = ""
	s := newSample(&plain, stem)
	s.skip = !o.wants(r.FirstRow)
	s.captions = textFields
	if dir.images[stem] > 1 {
		s.stem = name
	}
	whole := func(file string, size int64) func() ([]byte, error) {
		return func() ([]byte, error) {
			p, err := o.Root.ReadAll(ctx, file, size)
			if err != nil {
				return nil, fmt.Errorf("shards: read %s: %w", file, err)
			}
			return p, nil
		}
	}
	for _, side := range dir.sidecars[stem] {
		_, ext := cutExt(side.Name)
		if err := s.add(part{name: side.Name, ext: strings.ToLower(ext), size: side.Size, content: whole(side.Name, side.Size)}); err != nil {
			return Pair{}, err
		}
	}
	if dir.metadata != nil {
		fields, bad, err := dir.metadata.entry(ctx, o, name)
		if err != nil {
			return Pair{}, err
		}
		s.fault(bad)
		for _, k := range slices.Sorted(maps.Keys(fields)) {
			s.meta.set(k, fields[k])
		}
	}
	ext = strings.ToLower(ext)
	if err := s.addImage(part{name: name, ext: ext, size: src.size, content: func() ([]byte, error) {
		p := make([]byte, src.size)
		if _, err := src.ReadAt(p, 0); err != nil {
			return nil, err
		}
		return p, nil
	}}, 0); err != nil {
		return Pair{}, err
	}
	return s.pair(name, r.FirstRow), nil
}

// cutExt cuts a path at the last dot of its last element; a name that begins with its only dot has no extension.
func cutExt(name string) (stem, ext string) {
	if i := strings.LastIndexByte(name, '.'); i > strings.LastIndexByte(name, '/')+1 {
		return name[:i], name[i+1:]
	}
	return name, ""
}

func isImageName(name string) bool {
	_, ext := cutExt(name)
	return oneOf(imageExts, ext) >= 0
}

// folderInfo is what the images of one folder have in common.
type folderInfo struct {
	b        *blob.Bucket
	dir      string                 // "." for the root
	images   map[string]int         // images by path without extension
	sidecars map[string][]blob.Info // text and JSON files by the same
	metadata *metadataIndex         // the nearest above, nil for none
}

// maxFolders is how many folders are remembered; a unit touches few at a time.
const maxFolders = 16

func (f *folderFormat) folder(ctx context.Context, b *blob.Bucket, dir string) (*folderInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.folders, func(x *folderInfo) bool { return x.b == b && x.dir == dir })
	if i >= 0 {
		x := f.folders[i]
		f.folders = append(slices.Delete(f.folders, i, i+1), x)
		return x, nil
	}
	x := &folderInfo{b: b, dir: dir, images: map[string]int{}, sidecars: map[string][]blob.Info{}}
	prefix := ""
	if dir != "." {
		prefix = dir + "/"
	}
	for info, err := range b.Walk(ctx, prefix, func(string) bool { return false }) {
		if err != nil {
			return nil, fmt.Errorf("shards: %w", err)
		}
		stem, ext := cutExt(info.Name)
		switch {
		case isImageName(info.Name):
			x.images[stem]++
		case oneOf(textExts, ext) >= 0 || strings.EqualFold(ext, "json"):
			x.sidecars[stem] = append(x.sidecars[stem], info)
		}
	}
	var err error
	if x.metadata, err = f.nearestMetadata(ctx, b, dir); err != nil {
		return nil, err
	}
	f.folders = append(f.folders, x)
	if len(f.folders) > maxFolders {
		f.folders = slices.Delete(f.folders, 0, 1)
	}
	return x, nil
}

// nearestMetadata finds the metadata file of a folder or of the nearest one above it, and reads its index unless a
// remembered folder has it already.
func (f *folderFormat) nearestMetadata(ctx context.Context, b *blob.Bucket, dir string) (*metadataIndex, error) {
	for {
		for _, base := range metadataNames {
			name := path.Join(dir, base)
			info, err := b.Stat(ctx, name)
			if err != nil {
				if err := openError(err); err != nil {
					return nil, err
				}
				continue
			}
			for _, x := range f.folders {
				if m := x.metadata; m != nil && m.b == b && m.source.Name == name && m.source.Tag == info.Tag {
					return m, nil
				}
			}
			return newMetadataIndex(ctx, b, Source{Name: name, Size: info.Size, Tag: info.Tag})
		}
		if dir == "." {
			return nil, nil
		}
		dir = path.Dir(dir)
	}
}

// sidecarFault says that an image may have lost its caption with a broken record of the metadata file.
func sidecarFault(m *metadataIndex) *Fault {
	return fault(schemas.UnreadableSource, "no entry in %s, of which %d records cannot be read (the first at byte %d)", m.source.Name, m.bad, m.firstBad)
}
