package checkpoint

import (
	"fmt"
	"sort"
)

// ParseSafetensors reads a safetensors file that is in memory, and its metadata. The data must not be changed while the
// source is in use.
func ParseSafetensors(what string, data []byte) (Source, map[string]string, error) {
	tensors, meta, err := parseSafetensors(data)
	if err != nil {
		return nil, nil, fmt.Errorf("checkpoint: %s: %w", what, err)
	}
	s, err := newViews(what, tensors)
	return s, meta, err
}

// values is a Source of float32 slices.
type values struct {
	list   []Info
	byName map[string][]float32
}

// Values makes a Source of tensors that are in memory; data[i] belongs to list[i], whose element type becomes F32.
func Values(list []Info, data [][]float32) (Source, error) {
	s := &values{byName: map[string][]float32{}}
	if len(list) != len(data) {
		return nil, fmt.Errorf("checkpoint: %d tensors with %d slices of values", len(list), len(data))
	}
	for i, info := range list {
		if len(data[i]) != info.Len() {
			return nil, fmt.Errorf("checkpoint: tensor %v with %d values", info, len(data[i]))
		}
		if s.byName[info.Name] != nil {
			return nil, fmt.Errorf("checkpoint: tensor %q occurs twice", info.Name)
		}
		info.DType = F32
		s.byName[info.Name] = data[i]
		s.list = append(s.list, info)
	}
	sort.Slice(s.list, func(i, j int) bool { return s.list[i].Name < s.list[j].Name })
	return s, nil
}

func (s *values) Tensors() []Info { return s.list }

func (s *values) Find(name string) (Info, bool) {
	i := sort.Search(len(s.list), func(i int) bool { return s.list[i].Name >= name })
	if i < len(s.list) && s.list[i].Name == name {
		return s.list[i], true
	}
	return Info{}, false
}

func (s *values) Read(name string, offset int, dst []float32) error {
	v, ok := s.byName[name]
	if !ok || offset < 0 || offset+len(dst) > len(v) {
		return fmt.Errorf("checkpoint: read %q: elements %d to %d are not there", name, offset, offset+len(dst))
	}
	copy(dst, v[offset:])
	return nil
}

func (s *values) Close() error { return nil }
