package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// maxHeader is the safetensors format's own bound on the JSON header.
const maxHeader = 100 << 20

// OpenSafetensors maps one .safetensors file: 8 bytes little-endian header length, a JSON header of name → dtype,
// shape and data_offsets, then the data (github.com/huggingface/safetensors, "Format").
func OpenSafetensors(path string) (Source, error) {
	m, err := mapFile(path)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: open: %w", err)
	}
	tensors, _, err := parseSafetensors(m.data)
	if err == nil {
		var s *views
		if s, err = newViews(path, tensors, m); err == nil {
			return s, nil
		}
	}
	m.close()
	return nil, fmt.Errorf("checkpoint: %s: %w", path, err)
}

// Metadata returns the free-form strings of a safetensors file's header.
func Metadata(path string) (map[string]string, error) {
	m, err := mapFile(path)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: open: %w", err)
	}
	defer m.close()
	_, meta, err := parseSafetensors(m.data)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %s: %w", path, err)
	}
	return meta, nil
}

func parseSafetensors(data []byte) ([]*view, map[string]string, error) {
	if len(data) < 8 {
		return nil, nil, fmt.Errorf("%d bytes are no safetensors file", len(data))
	}
	n := binary.LittleEndian.Uint64(data)
	if n > maxHeader || n > uint64(len(data)-8) {
		return nil, nil, fmt.Errorf("header of %d bytes in a file of %d: not a safetensors file, or cut short", n, len(data))
	}
	body := data[8+n:]
	entries, err := headerEntries(data[8 : 8+n])
	if err != nil {
		return nil, nil, fmt.Errorf("header: %w", err)
	}
	var tensors []*view
	var meta map[string]string
	type span struct {
		from, to int
		name     string
	}
	var spans []span
	for name, raw := range entries {
		if name == "__metadata__" {
			if err := json.Unmarshal(raw, &meta); err != nil {
				return nil, nil, fmt.Errorf("header: __metadata__: %w", err)
			}
			continue
		}
		var e struct {
			DType   DType  `json:"dtype"`
			Shape   []int  `json:"shape"`
			Offsets [2]int `json:"data_offsets"`
		}
		if err := json.Unmarshal(raw, &e); err != nil {
			return nil, nil, fmt.Errorf("header: %q: %w", name, err)
		}
		want, err := mulChecked(append([]int{e.DType.Size()}, e.Shape...)...)
		if err != nil {
			return nil, nil, fmt.Errorf("%q: shape %v: %w", name, e.Shape, err)
		}
		from, to := e.Offsets[0], e.Offsets[1]
		switch {
		case e.DType.Size() == 0:
			return nil, nil, fmt.Errorf("%q: element type %q is not known", name, e.DType)
		case from < 0 || to < from || to > len(body):
			return nil, nil, fmt.Errorf("%q: data at %d to %d of %d bytes: the file is cut short or damaged", name, from, to, len(body))
		case to-from != want:
			return nil, nil, fmt.Errorf("%q: %d bytes of data, want %d for %s%v", name, to-from, want, e.DType, e.Shape)
		}
		spans = append(spans, span{from, to, name})
		tensors = append(tensors, &view{info: Info{name, e.DType, e.Shape}, raw: body[from:to]})
	}
	sort.Slice(spans, func(i, j int) bool {
		if spans[i].from != spans[j].from {
			return spans[i].from < spans[j].from
		}
		return spans[i].to < spans[j].to
	})
	for i := 1; i < len(spans); i++ {
		if spans[i].from < spans[i-1].to {
			return nil, nil, fmt.Errorf("%q and %q share bytes", spans[i-1].name, spans[i].name)
		}
	}
	return tensors, meta, nil
}

// headerEntries decodes the header's outer object and refuses a name that occurs twice, which encoding/json would
// silently resolve to the last one.
func headerEntries(p []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(p))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("no JSON object")
	}
	out := map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := t.(string)
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, fmt.Errorf("%q: %w", name, err)
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("tensor %q occurs twice", name)
		}
		out[name] = raw
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	return out, nil
}

// OpenSharded opens a folder's model.safetensors, or the shards named by its model.safetensors.index.json (Hugging
// Face's layout: weight_map of tensor name → file name).
func OpenSharded(folder string) (Source, error) {
	index := filepath.Join(folder, "model.safetensors.index.json")
	p, err := os.ReadFile(index)
	if os.IsNotExist(err) {
		return OpenSafetensors(filepath.Join(folder, "model.safetensors"))
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoint: open: %w", err)
	}
	var doc struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(p, &doc); err != nil {
		return nil, fmt.Errorf("checkpoint: %s: %w", index, err)
	}
	if len(doc.WeightMap) == 0 {
		return nil, fmt.Errorf("checkpoint: %s: weight_map is empty", index)
	}
	byFile := map[string]*views{}
	var parts []Source
	fail := func(err error) (Source, error) {
		for _, s := range parts {
			s.Close()
		}
		return nil, fmt.Errorf("checkpoint: %s: %w", index, err)
	}
	var tensors []*view
	var maps []*mapping
	names := make([]string, 0, len(doc.WeightMap))
	for name := range doc.WeightMap {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		file := doc.WeightMap[name]
		if file != filepath.Base(file) || strings.HasPrefix(file, ".") {
			return fail(fmt.Errorf("%q lies in %q, which is not a file of this folder", name, file))
		}
		s := byFile[file]
		if s == nil {
			opened, err := OpenSafetensors(filepath.Join(folder, file))
			if err != nil {
				return fail(err)
			}
			s = opened.(*views)
			byFile[file] = s
			parts = append(parts, s)
			maps = append(maps, s.maps...)
		}
		v, ok := s.byName[name]
		if !ok {
			return fail(fmt.Errorf("%q is not in %s, where the index says it is", name, file))
		}
		tensors = append(tensors, v)
	}
	s, err := newViews(folder, tensors, maps...)
	if err != nil {
		return fail(err)
	}
	return s, nil
}
