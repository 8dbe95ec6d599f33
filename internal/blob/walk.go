package blob

import (
	"context"
	"iter"
	"strings"

	"sower/internal/blob/driver"
)

// Walk yields what List yields, less the folders that enter refuses. enter gets a folder's name with a slash at its end
// and is asked once or several times for each folder below prefix; nil enters all. Drivers with real folders never read
// a refused one, so that "DIR/*.tar" does not list a million images in the folders beside the tars.
func (b *Bucket) Walk(ctx context.Context, prefix string, enter func(folder string) bool) iter.Seq2[Info, error] {
	if enter == nil {
		return b.List(ctx, prefix)
	}
	if w, ok := b.d.(driver.Walker); ok {
		return func(yield func(Info, error) bool) {
			for i, err := range w.Walk(ctx, prefix, enter) {
				if !yield(i, b.fail("list", prefix, err)) || err != nil {
					return
				}
			}
		}
	}
	return func(yield func(Info, error) bool) {
		refused := "" // the last refused folder: List is sorted, so its objects are adjacent
		for i, err := range b.List(ctx, prefix) {
			if err == nil {
				if refused != "" && strings.HasPrefix(i.Name, refused) {
					continue
				}
				if refused = RefusedFolder(i.Name, prefix, enter); refused != "" {
					continue
				}
			}
			if !yield(i, err) || err != nil {
				return
			}
		}
	}
}

// RefusedFolder is the outermost folder on the way to name that lies below prefix and that enter refuses, or "".
func RefusedFolder(name, prefix string, enter func(string) bool) string {
	for i := range len(name) {
		if name[i] == '/' && i+1 > len(prefix) && !enter(name[:i+1]) {
			return name[:i+1]
		}
	}
	return ""
}
