package shards

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

var formats = map[string]Format{}

// Register adds a format; each does so in its init. Registering a name twice panics.
func Register(f Format) {
	if _, ok := formats[f.Name()]; ok {
		panic(fmt.Sprintf("shards: format %q registered twice", f.Name()))
	}
	formats[f.Name()] = f
}

// Lookup finds a format by the name that --format takes.
func Lookup(name string) (Format, error) {
	if f, ok := formats[name]; ok {
		return f, nil
	}
	return nil, fmt.Errorf("shards: no format %q (have: %s)", name, strings.Join(Formats(), ", "))
}

// Formats lists the registered names in ascending order.
func Formats() []string { return slices.Sorted(maps.Keys(formats)) }
