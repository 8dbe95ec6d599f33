package schemas

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// IdentityKey is the footer key under which every data file carries its Identity.
const IdentityKey = "sower.identity"

// NumericsVersion is raised when codes or embeddings of the same input and weights change.
const NumericsVersion = 1

// Identity says what made a file, as far as it decides the file's rows. Two files with the same identity may be mixed;
// every field that differs is a reason not to (docs/formats.md §3). Where the work ran is no part of it.
type Identity struct {
	// Tokenizer names the kind of model ("seed2"), Weights is the digest of the tensors in use.
	Tokenizer string `json:"tokenizer"`
	Weights   string `json:"weights"`
	ImageSize int    `json:"image_size"`
	// Codes is K, the size of the codebook; CodesPerImage is 32 for SEED.
	Codes         int `json:"codes"`
	CodesPerImage int `json:"codes_per_image"`
	// Resize is the filter, Precision the arithmetic ("float32"; kernels that differ in summation order share it).
	Resize          string `json:"resize"`
	Precision       string `json:"precision"`
	NumericsVersion int    `json:"numerics_version"`
	// Options are those that change the rows, name to value: column names, filters, limits.
	Options map[string]string `json:"options"`
	// Plan is the digest of the plan.
	Plan string `json:"plan"`
}

// JSON is the canonical form: one line, sorted keys.
func (id Identity) JSON() string {
	var m map[string]any
	p, err := json.Marshal(id)
	if err == nil {
		err = json.Unmarshal(p, &m)
	}
	if err == nil {
		p, err = json.Marshal(m) // encoding/json writes maps in key order
	}
	if err != nil {
		panic("schemas: identity: " + err.Error()) // strings, numbers and maps of strings always marshal
	}
	return string(p)
}

// ParseIdentity reads the canonical form.
func ParseIdentity(s string) (Identity, error) {
	var id Identity
	if err := json.Unmarshal([]byte(s), &id); err != nil {
		return id, fmt.Errorf("schemas: identity: %w", err)
	}
	return id, nil
}

// Diff lists the fields in which b differs from a as `name "a" → "b"`; empty when they agree. Fields named in ignore are
// left out ("plan").
func (a Identity) Diff(b Identity, ignore ...string) []string {
	var out []string
	skip := map[string]bool{}
	for _, n := range ignore {
		skip[n] = true
	}
	va, vb := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range va.NumField() {
		name, _, _ := strings.Cut(va.Type().Field(i).Tag.Get("json"), ",")
		if skip[name] || name == "options" {
			continue
		}
		if x, y := va.Field(i).Interface(), vb.Field(i).Interface(); x != y {
			out = append(out, fmt.Sprintf("%s: %q → %q", name, fmt.Sprint(x), fmt.Sprint(y)))
		}
	}
	names := map[string]bool{}
	for k := range a.Options {
		names[k] = true
	}
	for k := range b.Options {
		names[k] = true
	}
	for _, k := range sortedKeys(names) {
		if a.Options[k] != b.Options[k] {
			out = append(out, different("options."+k, a.Options[k], b.Options[k])...)
		}
	}
	return out
}

// different says how two settings differ: within JSON objects, in which keys. Settings that differ give one line or more.
func different(name, a, b string) []string {
	var x, y map[string]json.RawMessage
	if json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && x != nil && y != nil {
		if lines := inside(name, x, y); len(lines) > 0 {
			return lines
		}
	}
	return []string{fmt.Sprintf("%s: %q → %q", name, a, b)}
}

func inside(name string, x, y map[string]json.RawMessage) (out []string) {
	keys := map[string]bool{}
	for k := range x {
		keys[k] = true
	}
	for k := range y {
		keys[k] = true
	}
	for _, k := range sortedKeys(keys) {
		a, b, path := string(x[k]), string(y[k]), name+"."+k
		var inA, inB map[string]json.RawMessage
		switch {
		case a == b:
		case json.Unmarshal(x[k], &inA) == nil && json.Unmarshal(y[k], &inB) == nil && inA != nil && inB != nil:
			out = append(out, inside(path, inA, inB)...)
		default:
			out = append(out, fmt.Sprintf("%s: %s → %s", path, cmp.Or(a, "none"), cmp.Or(b, "none")))
		}
	}
	return out
}
