package main

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"sower/internal/blob"
	"sower/internal/launch"
	"sower/schemas"
)

// wrote says of the commands whose folders others read how a user would name what they write.
var wrote = map[string]string{"encode": "sower encode wrote", "generate": "sower generate --input wrote", "interleave": "sower interleave wrote"}

// openMade opens what one of some commands wrote, and makes sure that it is finished and whole. The first of them is the usual one.
func openMade(ctx context.Context, flag, folder string, by ...string) (b *blob.Bucket, m *schemas.Manifest, err error) {
	if b, err = openFolder(ctx, absolute(folder), flag); err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Close())
			b = nil
		}
	}()
	m, err = launch.ReadManifest(ctx, b)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return b, nil, errorf("%s %s has no %s: it is no finished corpus; finish it by running its sower %s again", flag, folder, schemas.ManifestName, by[0])
	case err != nil:
		return b, nil, err
	case !slices.Contains(by, m.Pipeline):
		cure := "the folder that " + wrote[by[0]]
		for _, other := range by[1:] {
			cure += ", or that " + wrote[other]
		}
		return b, nil, errorf("%s %s was written by sower %s: give %s", flag, folder, m.Pipeline, cure)
	}
	if err := launch.Whole(ctx, b, m); err != nil {
		return b, nil, errorf("%s: %w", flag, err)
	}
	return b, m, nil
}
