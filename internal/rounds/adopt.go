package rounds

import (
	"context"
	"io"
	"path"
	"slices"

	"sower/internal/blob"
)

// Adopt copies the committed rounds of a finished run of the same identity. Commits come last, the first of them at the very end: a copy
// that breaks off has no rounds at all.
func Adopt(ctx context.Context, out, from *blob.Bucket, p *Plan) error {
	var states, commits []string
	for info, err := range from.List(ctx, p.Folder+"rounds/") {
		if err != nil {
			return err
		}
		if path.Base(info.Name) == path.Base(p.CommitFile(0)) {
			commits = append(commits, info.Name)
		} else {
			states = append(states, info.Name)
		}
	}
	slices.Sort(commits)
	slices.Reverse(commits)
	for _, name := range slices.Concat(states, commits) {
		if err := copyFile(ctx, out, from, name); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(ctx context.Context, out, from *blob.Bucket, name string) error {
	r, err := from.Open(ctx, name)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := out.Create(ctx, name)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := io.Copy(w, io.NewSectionReader(r, 0, r.Size())); err != nil {
		return err
	}
	return w.Commit()
}
