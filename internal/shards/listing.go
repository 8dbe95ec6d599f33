package shards

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"sower/internal/blob"
)

// A store gives a thousand names a request and one page after the other, so that a listing of a million shards takes minutes. Where they lie
// in some large folders, these are listed side by side.
const (
	listAtOnce  = 16
	listShort   = 20_000 // names up to which one listing is quick enough
	listFolders = 200    // more folders than that cost more to find than listing them side by side gains
)

// list gives what Walk yields, in order of name.
func list(ctx context.Context, b *blob.Bucket, start string, enter func(folder string) bool) ([]blob.Info, error) {
	files, whole, err := listSome(ctx, b, start, enter, listShort)
	if err != nil || whole {
		return files, err
	}
	top, folders, err := foldersBelow(ctx, b, start, enter)
	if err != nil {
		return nil, err
	}
	byName := func(a, b blob.Info) int { return strings.Compare(a.Name, b.Name) }
	if len(folders) == 0 {
		slices.SortFunc(top, byName)
		return top, nil
	}
	if len(folders) > listFolders {
		files, _, err = listSome(ctx, b, start, enter, -1)
		return files, err
	}
	parts := make([][]blob.Info, len(folders))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(listAtOnce)
	for i, folder := range folders {
		g.Go(func() error {
			var err error
			parts[i], _, err = listSome(ctx, b, folder, enter, -1)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	files = top
	for i, p := range parts {
		files = append(files, p...)
		parts[i] = nil
	}
	slices.SortFunc(files, byName)
	return files, nil
}

// listSome lists at most so many files, all with -1, and says whether that is all there are.
func listSome(ctx context.Context, b *blob.Bucket, start string, enter func(string) bool, most int) (files []blob.Info, whole bool, err error) {
	for info, err := range b.Walk(ctx, start, enter) {
		if err != nil {
			return nil, false, err
		}
		if len(files) == most {
			return files, false, nil
		}
		files = append(files, info)
	}
	return files, true, nil
}

// foldersBelow finds the folders to enter on the first level that has several, and the files on the way there. It stops where there are
// more than listFolders.
func foldersBelow(ctx context.Context, b *blob.Bucket, start string, enter func(string) bool) (files []blob.Info, folders []string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for prefix := start; ; prefix = folders[0] {
		folders = nil
		level := func(folder string) bool {
			if n := len(folders); n > 0 && folders[n-1] == folder || n > listFolders || enter != nil && !enter(folder) {
				return false
			}
			if !slices.Contains(folders, folder) {
				folders = append(folders, folder)
			}
			if len(folders) > listFolders {
				cancel() // whatever else there is
			}
			return false
		}
		for info, err := range b.Walk(ctx, prefix, level) {
			if len(folders) > listFolders {
				break
			}
			if err != nil {
				return nil, nil, err
			}
			files = append(files, info)
		}
		if len(folders) != 1 {
			return files, folders, nil
		}
	}
}
