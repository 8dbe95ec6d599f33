package schemas

import (
	"reflect"
	"strings"
	"testing"
)

// TestDifferentSettings names the keys of JSON settings; what differs is never without a line.
func TestDifferentSettings(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{"x", "y", `options.o: "x" → "y"`},
		{`{"a":1,"b":{"c":2,"d":3}}`, `{"a":1,"b":{"c":4,"e":5}}`, "options.o.b.c: 2 → 4|options.o.b.d: 3 → none|options.o.b.e: none → 5"},
		{`{"a":{"b":1}}`, `{"a":"x"}`, `options.o.a: {"b":1} → "x"`},
		{`{"a":1}`, `{"a": 1}`, `options.o: "{\"a\":1}" → "{\"a\": 1}"`},
		{`{"a":{"b":1}}`, `{"a":{"b": 1}}`, `options.o: "{\"a\":{\"b\":1}}" → "{\"a\":{\"b\": 1}}"`},
		{`{"a":1}`, "null", `options.o: "{\"a\":1}" → "null"`},
		{"", `{"a":1}`, `options.o: "" → "{\"a\":1}"`},
	} {
		a, b := Identity{Options: map[string]string{"o": c.a}}, Identity{Options: map[string]string{"o": c.b}}
		if got := strings.Join(a.Diff(b), "|"); got != c.want {
			t.Errorf("%s and %s: %s, want %s", c.a, c.b, got, c.want)
		}
	}
}

func TestIdentity(t *testing.T) {
	a := Identity{Tokenizer: "seed2", Weights: "w", ImageSize: 224, Codes: 8192, CodesPerImage: 32, Resize: "bicubic", Precision: "float32", NumericsVersion: 1,
		Options: map[string]string{"b": "2", "a": "1"}, Plan: "p"}
	want := `{"codes":8192,"codes_per_image":32,"image_size":224,"numerics_version":1,"options":{"a":"1","b":"2"},"plan":"p","precision":"float32","resize":"bicubic","tokenizer":"seed2","weights":"w"}`
	if got := a.JSON(); got != want {
		t.Errorf("%s\n%s", got, want)
	}
	back, err := ParseIdentity(a.JSON())
	if err != nil || !reflect.DeepEqual(back, a) || len(a.Diff(back)) != 0 {
		t.Errorf("%+v, %v", back, err)
	}
	// Every field is compared: a new one that is not would let corpora mix.
	v := reflect.TypeOf(a)
	for i := range v.NumField() {
		b := back
		f := reflect.ValueOf(&b).Elem().Field(i)
		switch f.Kind() {
		case reflect.String:
			f.SetString("other")
		case reflect.Int:
			f.SetInt(77)
		case reflect.Map:
			f.Set(reflect.ValueOf(map[string]string{"a": "1", "c": "3"}))
		default:
			t.Fatalf("field %s of kind %s", v.Field(i).Name, f.Kind())
		}
		name, _, _ := strings.Cut(v.Field(i).Tag.Get("json"), ",")
		if diff := a.Diff(b); len(diff) == 0 || !strings.HasPrefix(diff[0], name) {
			t.Errorf("%s: %q", name, diff)
		}
	}
	b := back
	b.Plan = "q"
	if diff := a.Diff(b, "plan"); len(diff) != 0 {
		t.Errorf("ignored field: %q", diff)
	}
}

func TestCounts(t *testing.T) {
	c := Counts{In: 3, Encoded: 2, Rejected: map[string]int64{"truncated": 1}}
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	c.Add(Counts{In: 5, Encoded: 1, Rejected: map[string]int64{"truncated": 1, "aspect": 3}})
	if c.In != 8 || c.Encoded != 3 || c.RejectedTotal() != 5 || c.Check() != nil {
		t.Errorf("%+v", c)
	}
	c.In++
	if c.Check() == nil {
		t.Error("a missing row is not noticed")
	}
}

// TestSubtractUndoesAdd checks that taking a unit's counts out leaves those of the others, and that more than there is is refused.
func TestSubtractUndoesAdd(t *testing.T) {
	a := Counts{In: 5, Encoded: 3, Rejected: map[string]int64{"truncated": 2}, Documents: &DocumentCounts{In: 2, Written: 1, Incomplete: 1, Rejected: map[string]int64{"no_image": 1}}}
	b := Counts{In: 4, Encoded: 1, Split: 1, Rejected: map[string]int64{"truncated": 1, "aspect": 2}, Documents: &DocumentCounts{In: 1, Written: 1, Rejected: map[string]int64{}}}
	sum := Counts{}
	sum.Add(a)
	sum.Add(b)
	if err := sum.Subtract(b); err != nil || !reflect.DeepEqual(sum, a) {
		t.Errorf("%+v, %v, want %+v", sum, err, a)
	}
	for _, more := range []Counts{{In: 6}, {Encoded: 4}, {Rejected: map[string]int64{"aspect": 1}}, {Documents: &DocumentCounts{Written: 2}}} {
		before := a
		if err := before.Subtract(more); err == nil || !reflect.DeepEqual(before, a) {
			t.Errorf("%+v was taken out of %+v: %+v", more, a, before)
		}
	}
}

func TestReasonsAreAllListed(t *testing.T) {
	seen := map[Reason]bool{}
	for _, r := range Reasons {
		if seen[r] || strings.ToLower(string(r)) != string(r) || strings.Contains(string(r), " ") {
			t.Errorf("%q", r)
		}
		seen[r] = true
	}
	if len(seen) != 16 {
		t.Errorf("%d reasons", len(seen))
	}
}

func TestManifestVersion(t *testing.T) {
	m := Manifest{Version: ManifestVersion, Files: []File{{Path: "b"}, {Path: "a"}}}
	p, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseManifest(p)
	if err != nil || back.Files[0].Path != "a" {
		t.Errorf("%+v, %v", back, err)
	}
	if _, err := ParseManifest([]byte(`{"version": 99}`)); err == nil {
		t.Error("a later layout was read")
	}
	if _, err := ParseManifest([]byte(`{`)); err == nil {
		t.Error("a torn manifest was read")
	}
}
