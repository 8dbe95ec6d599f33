package shards

import "sower/internal/blob"

// Options say where the input lies and how its fields are named. The zero value of every field means the default.
type Options struct {
	// Root is the store that Source names are relative to.
	Root *blob.Bucket

	// The three columns are names of columns or JSON fields; in archives and folders the image and the caption can also
	// be extensions, the image several in order of preference ("png;jpg"). Empty means guessed from the aliases. A column
	// that is named here must be there: rows without it are rejected (missing_column); one that is null or empty is there.
	ImageColumn string
	TextColumn  string
	KeyColumn   string // default: key, __key__, id; in archives and folders the file's own name
	// ImageRoot is the folder (a local path or the URL of a bucket) that image paths in JSONL, CSV and TSV are relative
	// to; default: the source's folder. Absolute paths are taken when they lie below it.
	ImageRoot string
	// MaxImageBytes bounds one encoded image; a larger one is a reject (too_large) and is never held in memory.
	MaxImageBytes int64 // default 256 MiB
	// WantImage says whether the image of a row is read; nil reads all. Rows for which it is false come without Image, and what
	// only the image would tell is not found out.
	WantImage func(row int64) bool
}

func (o *Options) wants(row int64) bool { return o.WantImage == nil || o.WantImage(row) }

// DefaultMaxImageBytes is the value of MaxImageBytes where it is 0.
const DefaultMaxImageBytes = 256 << 20

func (o *Options) maxImageBytes() int64 {
	if o.MaxImageBytes > 0 {
		return o.MaxImageBytes
	}
	return DefaultMaxImageBytes
}

// Limits on what a row may carry beside its image. What passes them is a fault of the row, or is left out of its
// metadata and named there under "_skipped".
const (
	maxTextBytes     = 1 << 20  // caption
	maxJSONBytes     = 16 << 20 // JSON sidecar of a sample
	maxFieldBytes    = 64 << 10 // any other field or member
	maxMetadataBytes = 1 << 20  // all other members of a sample together
	maxLineBytes     = 64 << 20 // one line of JSONL or TSV, one record of CSV
)
