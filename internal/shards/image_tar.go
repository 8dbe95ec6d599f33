package shards

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"

	"sower/internal/blob"
	"sower/schemas"
)

// imageTar is an uncompressed archive that the images of a table are read from by name: a member's path, or its last
// element where no path is the same. Of several members of one name the first is meant.
type imageTar struct {
	name  string
	src   *source
	index *tarIndex
}

// tarIndex says where an archive's files stand; the files stay in it.
type tarIndex struct {
	files   map[string]extent // by path
	base    map[string]extent // by last element
	damaged error             // what ends the archive early: a member not found may stand behind it
}

type extent struct{ off, size int64 }

// maxTarImages bounds an index, which takes some 200 bytes a member.
const maxTarImages = 4 << 20

// tarKey identifies an archive. The bucket is part of it where it is the run's own: others are opened anew each time.
type tarKey struct {
	b         *blob.Bucket
	url, name string
	size      int64
	tag       string
}

// tarIndexes remembers the last few indexes, because the units of a table follow each other.
var tarIndexes struct {
	sync.Mutex
	keys    []tarKey // most recent last
	indexes map[tarKey]*tarIndex
}

const maxTarIndexes = 4

// openRootTar opens an image root that is an archive; where it is a folder f.tar stays nil.
func (f *imageFolder) openRootTar(ctx context.Context, root string) error {
	cut := strings.LastIndexAny(root, `/`) + 1
	dir, name := root[:cut], root[cut:]
	if dir == "" {
		dir = "."
	}
	b, err := blob.OpenBucket(ctx, dir)
	if err != nil {
		return err
	}
	if f.tar, err = openImageTar(ctx, b, nil, name); f.tar == nil {
		b.Close()
		return err
	}
	f.b, f.root = b, root
	return nil
}

// openImageTar opens an archive of images; nil where there is none. own is the bucket if it lives as long as the run.
func openImageTar(ctx context.Context, b, own *blob.Bucket, name string) (*imageTar, error) {
	info, err := b.Stat(ctx, name)
	if err != nil {
		return nil, openError(err)
	}
	src, bad, err := openSource(ctx, &Options{Root: b}, Source{Name: name, Size: info.Size, Tag: info.Tag})
	if err != nil || bad != nil {
		return nil, err
	}
	key := tarKey{own, b.URL(), name, info.Size, info.Tag}
	tarIndexes.Lock()
	defer tarIndexes.Unlock()
	index := tarIndexes.indexes[key]
	if index == nil {
		if index, err = newTarIndex(src); err != nil {
			src.Close()
			return nil, err
		}
		if tarIndexes.indexes == nil {
			tarIndexes.indexes = map[tarKey]*tarIndex{}
		}
		tarIndexes.indexes[key] = index
		if tarIndexes.keys = append(tarIndexes.keys, key); len(tarIndexes.keys) > maxTarIndexes {
			delete(tarIndexes.indexes, tarIndexes.keys[0])
			tarIndexes.keys = tarIndexes.keys[1:]
		}
	}
	return &imageTar{name: name, src: src, index: index}, nil
}

func newTarIndex(src *source) (*tarIndex, error) {
	x := &tarIndex{files: map[string]extent{}, base: map[string]extent{}}
	w := tarWalker{s: newWindow(src, 0, src.size, splitAhead)}
	for {
		m, err := w.next()
		var d *damage
		switch {
		case err == io.EOF:
			return x, nil
		case errors.As(err, &d):
			x.damaged = d
			return x, nil
		case err != nil:
			return nil, err
		}
		if m.kind != memberFile || unsafeName(m.name) {
			continue
		}
		if len(x.files) == maxTarImages {
			return nil, fmt.Errorf("shards: image archive %s has more than %d files: split it", src.name, maxTarImages)
		}
		name, at := path.Clean(m.name), extent{m.body, m.size}
		if _, twice := x.files[name]; !twice {
			x.files[name] = at
		}
		if _, twice := x.base[path.Base(name)]; !twice {
			x.base[path.Base(name)] = at
		}
	}
}

// read gets a member as an image.
func (t *imageTar) read(name string, limit int64) ([]byte, *Fault, error) {
	at, ok := t.index.files[name]
	if !ok {
		at, ok = t.index.base[path.Base(name)]
	}
	switch {
	case !ok && t.index.damaged != nil:
		return nil, fault(schemas.UnreadableSource, "%s is not found in %s, which is damaged: %v", name, t.name, t.index.damaged), nil
	case !ok:
		f := fault(schemas.NoImage, "%s is not in %s", name, t.name)
		f.Retryable = true
		return nil, f, nil
	}
	return readExtent(t.src, name, at, limit)
}

// readExtent reads a file that stands in an archive as an image.
func readExtent(src *source, name string, at extent, limit int64) ([]byte, *Fault, error) {
	switch {
	case at.size == 0:
		return nil, fault(schemas.NoImage, "%s has 0 bytes", name), nil
	case at.size > limit:
		return nil, fault(schemas.TooLarge, "%s is %d bytes, more than %d", name, at.size, limit), nil
	case at.off+at.size > src.size:
		return nil, fault(schemas.UnreadableSource, "%s is cut off with its archive", name), nil
	}
	p := make([]byte, at.size)
	if _, err := src.ReadAt(p, at.off); err != nil && src.err != nil {
		return nil, nil, src.err
	}
	return p, nil, nil
}

// imagesBeside finds where the images of a table lie when no root is named: the folder STEM_images or the archive
// STEM.tar or STEM_images.tar beside it, else its own folder.
func imagesBeside(ctx context.Context, o *Options, source string) (*imageFolder, error) {
	if o.ImageRoot != "" || o.Root == nil {
		return openImageFolder(ctx, o, source)
	}
	stem := strings.TrimSuffix(source, source[len(source)-len(shardExt(source)):])
	stem = strings.TrimSuffix(stem, ".")
	f := &imageFolder{b: o.Root, limit: o.maxImageBytes(), dir: stem + "_images/"}
	for _, err := range o.Root.List(ctx, f.dir) {
		if err != nil {
			return nil, fmt.Errorf("shards: %w", err)
		}
		return f, nil
	}
	for _, name := range []string{stem + ".tar", stem + "_images.tar"} {
		var err error
		if f.tar, err = openImageTar(ctx, o.Root, o.Root, name); err != nil || f.tar != nil {
			return f, err
		}
	}
	return openImageFolder(ctx, o, source)
}
