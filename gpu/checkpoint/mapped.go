package checkpoint

import (
	"fmt"
	"os"
	"sort"

	"github.com/edsrzf/mmap-go"
)

// mapping is a file mapped read-only. Weights are read from the page cache, without a copy on the heap.
type mapping struct {
	data mmap.MMap
	file *os.File
}

func mapFile(path string) (*mapping, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && st.IsDir() {
		err = fmt.Errorf("%s is a folder", path)
	}
	if err == nil && st.Size() == 0 {
		err = fmt.Errorf("%s is empty", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	m, err := mmap.Map(f, mmap.RDONLY, 0)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("map %s: %w", path, err)
	}
	return &mapping{data: m, file: f}, nil
}

func (m *mapping) close() error {
	err := m.data.Unmap()
	if e := m.file.Close(); err == nil {
		err = e
	}
	return err
}

// views is a Source over tensors that lie in mapped files or in memory.
type views struct {
	what   string // how messages name the source
	byName map[string]*view
	list   []Info
	maps   []*mapping
}

func newViews(what string, tensors []*view, maps ...*mapping) (*views, error) {
	s := &views{what: what, byName: make(map[string]*view, len(tensors)), maps: maps}
	for _, t := range tensors {
		if _, twice := s.byName[t.info.Name]; twice {
			return nil, fmt.Errorf("checkpoint: %s: tensor %q occurs twice", what, t.info.Name)
		}
		s.byName[t.info.Name] = t
		s.list = append(s.list, t.info)
	}
	sort.Slice(s.list, func(i, j int) bool { return s.list[i].Name < s.list[j].Name })
	return s, nil
}

func (s *views) Tensors() []Info { return s.list }

func (s *views) Find(name string) (Info, bool) {
	v, ok := s.byName[name]
	if !ok {
		return Info{}, false
	}
	return v.info, true
}

func (s *views) Read(name string, offset int, dst []float32) error {
	v, ok := s.byName[name]
	if !ok {
		return fmt.Errorf("checkpoint: %s: no tensor %q", s.what, name)
	}
	if err := v.read(offset, dst); err != nil {
		return fmt.Errorf("checkpoint: %s: read %q: %w", s.what, name, err)
	}
	return nil
}

func (s *views) Close() error {
	var first error
	for _, m := range s.maps {
		if err := m.close(); err != nil && first == nil {
			first = err
		}
	}
	s.maps, s.byName = nil, nil
	return first
}
