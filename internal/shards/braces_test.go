package shards

import (
	"slices"
	"strings"
	"testing"
)

func TestExpandBraces(t *testing.T) {
	for pattern, want := range map[string]string{
		"a":                "a",
		"a{b,c}d":          "abd acd",
		"{00..02}.tar":     "00.tar 01.tar 02.tar",
		"{8..11}":          "8 9 10 11",
		"{008..11}":        "008 009 010 011",
		"{2..0}":           "2 1 0",
		"{a,b}{1..2}":      "a1 a2 b1 b2",
		"{a,b{1,2}}":       "a b1 b2",
		"{{1..2},x}":       "1 2 x",
		"{a}":              "{a}",
		"{a}{b,c}":         "{a}b {a}c",
		"{a..c}":           "{a..c}",
		"{":                "{",
		"}{":               "}{",
		"{,x}":             " x",
		"{a,b":             "{a,b",
		"x{1..2}/y{3..3}z": "x1/y3z x2/y3z",
	} {
		got, err := expandBraces(pattern)
		if err != nil || !slices.Equal(got, strings.Split(want, " ")) {
			t.Errorf("%s: got %q, %v; want %s", pattern, got, err, want)
		}
	}
	for _, pattern := range []string{"{0..9999999}", "{0..4611686018427387903}", strings.Repeat("{1..100}", 5)} {
		if got, err := expandBraces(pattern); err == nil {
			t.Errorf("%s: got %d names, want an error", pattern, len(got))
		}
	}
}

func TestDecimal(t *testing.T) {
	for _, c := range []struct {
		v     int64
		scale int
		want  string
	}{{0, 0, "0"}, {0, 2, "0.00"}, {-5, 2, "-0.05"}, {12345, 2, "123.45"}, {-9223372036854775808, 3, "-9223372036854775.808"}, {7, -1, "7"}} {
		if got := decimal(c.v, c.scale); got.String() != c.want {
			t.Errorf("decimal(%d, %d): got %s, want %s", c.v, c.scale, got, c.want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{"é": "é", "a\xffb": `a\xffb`, "\xe2\x82": `\xe2\x82`} {
		if got := printable(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	if got := printable(strings.Repeat("é", 1000)); len(got) > maxDetail+4 || !strings.HasSuffix(got, "é…") {
		t.Errorf("long: got %d bytes, ending %q", len(got), got[len(got)-6:])
	}
}
