// Package mini is the bundled tokenizer: a small SEED model that this program trained itself on public-domain clip art (docs/recipes/mini
// has the recipe, README.md here what it can do).
package mini

import (
	"embed"
	"errors"
	"fmt"

	"sower/gpu/checkpoint"
	"sower/gpu/models/seed"
)

// Name is what --model takes.
const Name = "mini"

//go:embed config.json model.safetensors text.safetensors vocab.txt
var files embed.FS

// Open reads sizes and weights, the text tower among them.
func Open() (c seed.Config, src checkpoint.Source, err error) {
	text, err := files.ReadFile("config.json")
	if err != nil {
		return c, nil, err
	}
	if c, err = seed.ParseConfig(text); err != nil {
		return c, nil, fmt.Errorf("mini: %w", err)
	}
	var parts []checkpoint.Prefixed
	var errs []error
	for _, name := range []string{"model.safetensors", "text.safetensors"} {
		raw, err := files.ReadFile(name)
		if err != nil {
			return c, nil, err
		}
		s, _, err := checkpoint.ParseSafetensors(name, raw)
		errs = append(errs, err)
		if err == nil {
			parts = append(parts, checkpoint.Prefixed{Source: s})
		}
	}
	return c, checkpoint.Union(parts...), errors.Join(errs...)
}

// Vocabulary is the words of its text tower, as vocab.txt.
func Vocabulary() []byte {
	raw, err := files.ReadFile("vocab.txt")
	if err != nil {
		panic("mini: " + err.Error()) // it is embedded
	}
	return raw
}
