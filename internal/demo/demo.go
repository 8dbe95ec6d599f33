// Package demo carries the input of "sower demo": 64 pictures of the Open Clip Art Library (public domain, as packaged by
// Debian's openclipart-png and openclipart-svg) in two WebDataset shards, made by docs/recipes/mini/clipart: the first of those that the
// bundled tokenizer was not trained on.
package demo

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"sower/internal/blob"
)

//go:embed openclipart-*.tar
var shards embed.FS

// Write puts the shards into a folder and returns their names.
func Write(ctx context.Context, out *blob.Bucket) ([]string, error) {
	names, err := fs.Glob(shards, "*.tar")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		data, err := shards.ReadFile(name)
		if err != nil {
			return nil, err
		}
		// Left alone when it is there already: a new modification time would look like changed input.
		if info, err := out.Stat(ctx, name); err == nil && info.Size == int64(len(data)) {
			continue
		}
		if err := out.WriteAll(ctx, name, data); err != nil {
			return nil, fmt.Errorf("demo: %w", err)
		}
	}
	return names, nil
}
