package units

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"sower/internal/corpus"
	"sower/schemas"
)

func TestFits(t *testing.T) {
	const limit = 300 << 20
	for _, c := range []struct {
		units, bundles int
		want           string // in the error
	}{
		{1, 1, ""},
		{150_000, 1, ""},
		{160_000, 1, "--parallelism at least 2"},
		{160_000, 2, ""},
		{5_000_000, 64, ""},
		{20_000_000, 1 << 20, "the numbers of 20000000 units"},
	} {
		err := Fits(c.units, c.bundles, limit)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d units in %d bundles: %v, want %q", c.units, c.bundles, err, c.want)
		}
	}
}

// TestInfoBound fills a unit's info as far as the formats allow.
func TestInfoBound(t *testing.T) {
	all := func() map[string]int64 {
		m := map[string]int64{}
		for _, r := range schemas.Reasons {
			m[string(r)] = math.MaxInt32
		}
		return m
	}
	info := corpus.UnitInfo{Unit: math.MaxInt32, Counts: schemas.Counts{In: math.MaxInt32, Encoded: math.MaxInt32, Rejected: all(),
		Documents: &schemas.DocumentCounts{In: math.MaxInt32, Written: math.MaxInt32, Incomplete: math.MaxInt32, Rejected: all()}}}
	for _, name := range corpus.DocumentLayout.Names(math.MaxInt32-1, math.MaxInt32) {
		info.Files = append(info.Files, schemas.File{Path: name, Rows: math.MaxInt32, Bytes: math.MaxInt64, SHA256: strings.Repeat("f", 64)})
	}
	p, err := json.Marshal(info)
	if err != nil {
		t.Fatal(err)
	}
	if len(p) > maxInfo-64 || len(p) < maxInfo/4 { // 64: what Beam puts around an element
		t.Errorf("the info of a unit can take %d bytes, maxInfo is %d", len(p), maxInfo)
	}
}
