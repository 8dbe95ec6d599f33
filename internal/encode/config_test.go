package encode

import (
	"reflect"
	"testing"
)

// TestOptionsRoundTrip checks that what the identity says of the settings is enough to set them again: every field that Options
// writes down comes back.
func TestOptionsRoundTrip(t *testing.T) {
	full := Config{ImageColumn: "i", TextColumn: "t", KeyColumn: "k", Documents: true, MissingImage: DropDocument,
		Filters: Filters{MinSide: 180, MaxAspect: 1.82, MinSimilarity: -0.25, RequireText: true, MaxText: 77, Dedup: true},
		Limits:  Limits{MaxPixels: 178956970, MaxImageBytes: 1<<40 + 1}}
	v := reflect.ValueOf(full.Filters)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("%s is not tested", v.Type().Field(i).Name)
		}
	}
	for name, c := range map[string]Config{"full": full, "defaults": {Limits: DefaultLimits()}} {
		var back Config
		if err := back.ParseOptions(c.Options()); err != nil {
			t.Fatal(err)
		}
		back.Documents = c.Documents // the plan says that
		if !reflect.DeepEqual(back, c) {
			t.Errorf("%s: %+v, want %+v", name, back, c)
		}
	}
	var c Config
	if err := c.ParseOptions(map[string]string{"of_tomorrow": "1"}); err == nil {
		t.Error("an option that is not known was read")
	}
	if err := c.ParseOptions(map[string]string{"min_side": "x"}); err == nil {
		t.Error("min_side x was read")
	}
}
