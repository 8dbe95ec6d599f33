package shards

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"sower/schemas"
)

// skippedField is the metadata field that names what a row had and what was not taken: too big, binary, a second image.
const skippedField = "_skipped"

// fields are a row's other fields on the way to Pair.Metadata. Values are string, bool, nil, json.Number, []any,
// map[string]any and json.RawMessage.
type fields map[string]any

// set adds a field; where the name is taken it gets a dot in front, so that nothing is replaced.
func (f fields) set(name string, v any) {
	name = escapeInvalid(name)
	for {
		if _, taken := f[name]; !taken {
			f[name] = v
			return
		}
		name = "." + name
	}
}

// maxSkipped bounds the list of names of what was not taken.
const maxSkipped = 32

// skip records the name of what was not taken.
func (f fields) skip(name string) {
	list, _ := f[skippedField].([]any)
	if len(list) < maxSkipped {
		f[skippedField] = append(list, printable(name))
	}
}

// encode is the JSON object with sorted keys at every level, numbers as they were written, or "" where there is nothing.
func (f fields) encode() (string, error) {
	if len(f) == 0 {
		return "", nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(map[string]any(f)); err != nil {
		return "", err
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

// decodeJSON reads exactly one JSON value; numbers stay as written.
func decodeJSON(p []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(p))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("empty")
		}
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("more after the value")
	}
	return v, nil
}

var utf8BOM = []byte("\xef\xbb\xbf")

// decodeSidecar reads the JSON file of a sample, or says what is wrong with it. A value that is no object comes back
// as the field "json".
func decodeSidecar(name string, p []byte) (fields, *Fault) {
	p = bytes.TrimPrefix(p, utf8BOM)
	if !utf8.Valid(p) {
		return nil, fault(schemas.TextNotUTF8, "%s is not UTF-8", name)
	}
	v, err := decodeJSON(p)
	if err != nil {
		return nil, fault(schemas.UnreadableSource, "%s is not JSON: %v", name, err)
	}
	if m, ok := v.(map[string]any); ok {
		return m, nil
	}
	return fields{"json": v}, nil
}

// decodeText makes a caption of a file's bytes: without a byte order mark and without line breaks at the end.
func decodeText(name string, p []byte) (string, *Fault) {
	p = bytes.TrimRight(bytes.TrimPrefix(p, utf8BOM), "\r\n")
	if !utf8.Valid(p) {
		return "", fault(schemas.TextNotUTF8, "%s is not UTF-8", name)
	}
	return string(p), nil
}

// textOf is the caption that a JSON value holds: a string, a number or boolean as written, or the first string of a
// list (whole is then false: the list says more than the caption). ok is false for null, objects and empty lists.
func textOf(v any) (text string, whole, ok bool) {
	switch v := v.(type) {
	case string:
		return v, true, true
	case json.Number:
		return v.String(), true, true
	case bool:
		return fmt.Sprint(v), true, true
	case []any:
		for _, e := range v {
			if s, ok := e.(string); ok {
				return s, len(v) == 1, true
			}
		}
	}
	return "", false, false
}

// takeText moves the caption out of the fields. column, when set, is the only place to look. A field that repeats the
// caption found before (have) is dropped, because it says nothing more.
func (f fields) takeText(column string, aliases []string, have *string) *string {
	if column != "" {
		aliases = []string{column}
	}
	text := have
	for _, a := range aliases {
		name, v, ok := f.lookup(a, column != "")
		if !ok {
			continue
		}
		s, whole, ok := textOf(v)
		if !ok {
			continue
		}
		if text == nil {
			text = &s
		}
		if whole && *text == s {
			delete(f, name)
		}
	}
	return text
}

// takeKey reads the key, which a string or a number can be; the field is dropped from the metadata.
func (f fields) takeKey(column string, aliases []string) (string, bool) {
	if column != "" {
		aliases = []string{column}
	}
	for _, a := range aliases {
		name, v, ok := f.lookup(a, column != "")
		if !ok {
			continue
		}
		switch v := v.(type) {
		case string:
			delete(f, name)
			return cleanKey(v), true
		case json.Number:
			delete(f, name)
			return v.String(), true
		}
	}
	return "", false
}

// lookup finds a field by its exact name, else in any case: of several the first in byte order, so that the choice
// does not depend on map order.
func (f fields) lookup(name string, exactOnly bool) (string, any, bool) {
	if v, ok := f[name]; ok {
		return name, v, true
	}
	if exactOnly {
		return "", nil, false
	}
	found := ""
	for n := range f {
		if len(n) == len(name) && strings.EqualFold(n, name) && (found == "" || n < found) {
			found = n
		}
	}
	if found == "" {
		return "", nil, false
	}
	return found, f[found], true
}
