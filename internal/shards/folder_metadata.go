package shards

import (
	"context"
	"fmt"
	"io"
	"path"
	"strings"

	"sower/internal/blob"
)

// metadataNames are the files that describe the images of a folder, in order of preference.
var metadataNames = []string{"metadata.jsonl", "metadata.csv"}

func isMetadataName(name string) bool { return oneOf(metadataNames, path.Base(name)) >= 0 }

// metadataIndex says where in a metadata file the record of an image stands. The records stay in the file: a folder of
// millions of images must not be held in memory with all its captions.
type metadataIndex struct {
	b        *blob.Bucket
	source   Source
	d        dialect
	header   []string
	records  map[string]span // by image path below the root; of several records the first
	bad      int             // records that cannot be read
	firstBad int64
}

type span struct {
	off  int64
	size int32
}

func newMetadataIndex(ctx context.Context, b *blob.Bucket, s Source) (*metadataIndex, error) {
	m := &metadataIndex{b: b, source: s, records: map[string]span{}}
	if strings.HasSuffix(s.Name, ".csv") {
		m.d = dialect{quotes: true, delim: ',', header: true}
	}
	o := &Options{Root: b}
	src, bad, err := openSource(ctx, o, s)
	if err != nil {
		return nil, err
	}
	if bad != nil {
		return m, nil // gone since it was found
	}
	defer src.Close()
	t, err := openText(src, m.d, 0, -1)
	if src.err != nil {
		return nil, src.err
	}
	if err != nil || t.zipped {
		m.bad = 1
		return m, nil
	}
	needHeader := m.d.header
	for {
		rec, err := t.next()
		if src.err != nil {
			return nil, src.err
		}
		if err == io.EOF {
			return m, nil
		}
		if err != nil {
			return nil, fmt.Errorf("shards: read %s: %w", s.Name, err)
		}
		if rec.blank() {
			continue
		}
		if rec.over || rec.open >= 0 {
			m.broken(rec.start)
			continue
		}
		if needHeader {
			needHeader = false
			m.header = headerNames(m.d.splitFields(rec.data))
			continue
		}
		f, _ := m.parse(o, rec.data) // a fault is found again, and reported, when the image's row is read
		file, ok := f["file_name"].(string)
		if !ok {
			m.broken(rec.start)
			continue
		}
		name := path.Join(path.Dir(s.Name), file)
		if _, twice := m.records[name]; !twice && !unsafeName(file) {
			m.records[name] = span{rec.start, int32(len(rec.data))}
		}
	}
}

func (m *metadataIndex) broken(at int64) {
	if m.bad == 0 {
		m.firstBad = at
	}
	m.bad++
}

func (m *metadataIndex) parse(o *Options, p []byte) (fields, *Fault) {
	if m.d.header {
		return table{d: m.d}.values(o, textRow{data: p, header: m.header})
	}
	return decodeRow(o, p)
}

// entry is the record of an image, nil if there is none.
func (m *metadataIndex) entry(ctx context.Context, o *Options, image string) (fields, *Fault, error) {
	at, ok := m.records[image]
	if !ok {
		if m.bad > 0 {
			return nil, sidecarFault(m), nil
		}
		return nil, nil, nil
	}
	src, bad, err := openSource(ctx, o, m.source)
	if err != nil || bad != nil {
		return nil, bad, err
	}
	defer src.Close()
	p := make([]byte, at.size)
	if _, err := src.ReadAt(p, at.off); err != nil && len(p) > 0 {
		return nil, nil, err
	}
	f, bad := m.parse(o, p)
	delete(f, "file_name")
	f.dropLong()
	return f, bad, nil
}
