package shards

import "sower/internal/blob"

// Options say where the input lies and how its fields are named. The zero value of every field means the default.
type Options struct {
	// Root is the store that Source names are relative to.
	Root *blob.Bucket

	ImageColumn string // column, JSON field or (tar) extension of the image; default: guessed from the aliases
	TextColumn  string // column, JSON field or (tar) extension of the caption; default: guessed from the aliases
	KeyColumn   string // column or JSON field of the key; default: key, __key__, id
	// ImageRoot is prefixed to relative image paths of JSONL, CSV, TSV and metadata files; default: the source's folder.
	ImageRoot string
	// MaxImageBytes bounds one encoded image; a larger one is a reject (too_large) and is never held in memory.
	MaxImageBytes int64 // default 256 MiB
}
