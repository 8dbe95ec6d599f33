package shards

import (
	"context"
	"iter"

	"sower/schemas"
)

// Pair is one input row: an image and what is known about it, or the reason why there is none. A row of a document
// format is several Pairs of one Row: its images in order, and last the document itself (Doc).
type Pair struct {
	Key      string  // the input's own key (docs/formats.md, code table); need not be unique
	Source   string  // input file, relative to the input's root
	Row      int64   // sample index in Source, from 0
	Image    []byte  // encoded image bytes, owned by the receiver
	Text     *string // caption; nil where the input has none
	Metadata string  // JSON object of the row's other fields with sorted keys, "" for none
	Reject   *Fault  // set when the reader itself found the row unusable; Image is then nil
	// Outside says that the image is a file of its own beside the source, which may be put right without the source changing.
	Outside bool
	// Offset is the byte of Source (after decompression) at which the row begins, -1 where rows have no place of their own (Parquet,
	// folders).
	Offset int64

	// Document is the key of the document that the Pair belongs to, nil for a plain pair. Position is the image's place in
	// it from 0, or DocumentPosition.
	Document *string
	Position int32
	// Doc is set on the last Pair of a document. A document that cannot be read is one Pair with DocumentPosition and
	// Reject, and no image of it comes before.
	Doc *Document
}

// DocumentPosition is the Position of the Pair that stands for a document as a whole, and of its reject.
const DocumentPosition = -1

// Document is a row of several images and texts. The image elements have each of the positions of its images once.
type Document struct {
	Kind     string // schemas.DocumentInterleaved, DocumentConversation or DocumentEdit
	Elements []schemas.Element
}

// Fault is a row's defect in the terms of the reject table.
type Fault struct {
	Reason    schemas.Reason
	Detail    string
	Retryable bool // the same input may well succeed later (a missing file, a flaky store)
}

// Source is one input file as the plan lists it.
type Source struct {
	Name string // path relative to the input's root, with forward slashes
	Size int64
	// Tag is the modification time, generation or ETag at planning, checked on resume.
	Tag string
}

// Range is a part of one Source that starts and ends between samples. Units are made of ranges.
type Range struct {
	Source Source
	Format string // name of the Format that made it and reads it
	// Start and End are in the format's own unit: byte offsets for tar and text, row groups for Parquet; End -1 is to
	// the end (a file that cannot be split, such as .tar.gz).
	Start, End int64
	FirstRow   int64 // sample index of the first sample at Start
	Bytes      int64 // input bytes that this range stands for, for sizing units and for progress
	Rows       int64 // samples in the range, -1 if unknown before reading
}

// Format is one kind of input file.
type Format interface {
	// Name is what --format takes.
	Name() string
	// Split cuts a source into ranges of about target bytes (at least one; they cover the whole file in order). A file
	// that is damaged in the middle still gets ranges for all of it: reading reports the damage as rejects.
	Split(ctx context.Context, o *Options, s Source, target int64) ([]Range, error)
	// Read yields the pairs of one range in order. A row that cannot be used is a Pair with Reject set; damage that hides
	// the rest of the range is one such Pair with reason unreadable_source. An error is yielded only for what is not the
	// data's fault (storage failed, ctx cancelled), is the last thing yielded and fails the unit.
	Read(ctx context.Context, o *Options, r Range) iter.Seq2[Pair, error]
}

// documentFormat is a Format whose rows are documents.
type documentFormat interface {
	Format
	// guess says whether a file is of this format, which a reader of pairs would take, too: base is its name. It opens
	// the file through src; what cannot be told is false.
	guess(src *source, base string) bool
	// bases are the formats whose file extensions this one's files have.
	bases() []string
}

// HasDocuments says whether the rows of a format are documents.
func HasDocuments(format string) bool {
	_, ok := formats[format].(documentFormat)
	return ok
}
