package blob

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"sower/internal/blob/driver"
)

// Opener opens the root that url names. For scheme "file" it gets a plain path, for every other the URL as written.
type Opener func(ctx context.Context, url string) (driver.Bucket, error)

// ErrUnknownScheme marks URLs of storage systems that this binary has no driver for.
var ErrUnknownScheme = errors.New("unknown scheme")

var (
	openersMu sync.RWMutex
	openers   = map[string]Opener{}
)

// Register adds a storage system; drivers call it in their init. Registering a scheme twice panics.
func Register(scheme string, open Opener) {
	openersMu.Lock()
	defer openersMu.Unlock()
	if _, ok := openers[scheme]; ok {
		panic(fmt.Sprintf("blob: scheme %q registered twice", scheme))
	}
	openers[scheme] = open
}

// Schemes lists the registered schemes in ascending order.
func Schemes() []string {
	openersMu.RLock()
	defer openersMu.RUnlock()
	return slices.Sorted(maps.Keys(openers))
}

// SplitScheme cuts "scheme://rest". A url without a scheme, which is a local path, gives "" and the whole of it.
func SplitScheme(url string) (scheme, rest string) {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok || scheme == "" || strings.ContainsFunc(scheme, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '+' && r != '-' && r != '.'
	}) {
		return "", url
	}
	return strings.ToLower(scheme), rest
}

// SplitBucket cuts the URL of a folder of an object store; folder is "" or ends in a slash.
func SplitBucket(url string) (bucket, folder string, err error) {
	scheme, rest := SplitScheme(url)
	bucket, folder, _ = strings.Cut(strings.TrimRight(rest, "/"), "/")
	if bucket == "" {
		return "", "", fmt.Errorf("want %s://bucket or %[1]s://bucket/folder", scheme)
	}
	if folder == "" {
		return bucket, "", nil
	}
	return bucket, folder + "/", CheckName(folder)
}

// OpenBucket opens a root: a local folder (a path, or file:///path), mem://name for a store of this process, gs://bucket/folder, s3://bucket/folder,
// or whatever other scheme has a registered driver. The folder need not exist yet: the first Create makes it.
func OpenBucket(ctx context.Context, url string) (*Bucket, error) {
	if url == "" {
		return nil, errors.New(`blob: open bucket: empty path (the working folder is ".")`)
	}
	scheme, rest := SplitScheme(url)
	arg := url
	if scheme == "" || scheme == "file" {
		scheme, arg = "file", rest
	}
	openersMu.RLock()
	open := openers[scheme]
	openersMu.RUnlock()
	if open == nil {
		have := "none"
		if s := Schemes(); len(s) > 0 {
			have = strings.Join(s, ", ")
		}
		return nil, fmt.Errorf("blob: open %s: %w %q (have: %s; a path without scheme is a local folder; "+
			"drivers are linked in by sower/internal/blob/all)", url, ErrUnknownScheme, scheme, have)
	}
	d, err := open(ctx, arg)
	if err != nil {
		return nil, fmt.Errorf("blob: open %s: %w", url, err)
	}
	return New(url, d), nil
}
