package schemas

// CodeRow is one row of the code table (docs/formats.md §4): one image and its codes.
type CodeRow struct {
	// Key is the input's own key; it need not be unique.
	Key string `parquet:"key"`
	// Source and Row say where the image came from: input file relative to the input's root, sample index in it from 0.
	// (Source, Row, Position) identifies an image.
	Source string `parquet:"source,dict"`
	Row    int64  `parquet:"row,delta"`
	// Document is the key of the document that the image belongs to, absent for a plain pair; Position is the image's place
	// in it from 0.
	Document *string `parquet:"document,optional"`
	Position int32   `parquet:"position"`
	// Text is the caption of a pair.
	Text *string `parquet:"text,optional"`
	// Codes are the image's words, each in 0…K-1; 32 of them for SEED.
	Codes []uint16 `parquet:"codes,list,dict"`
	// Width and Height are the original's, in pixels.
	Width  int32 `parquet:"width"`
	Height int32 `parquet:"height"`
	// SHA256 is that of the encoded image bytes.
	SHA256 [32]byte `parquet:"sha256"`
	// Metadata is a JSON object of the input's other fields.
	Metadata *string `parquet:"metadata,optional"`
}

// RejectRow is one row of the reject table: an input row that has no codes, and why.
type RejectRow struct {
	Key      string  `parquet:"key"`
	Source   string  `parquet:"source,dict"`
	Row      int64   `parquet:"row,delta"`
	Document *string `parquet:"document,optional"`
	Position int32   `parquet:"position"`
	Reason   string  `parquet:"reason,dict"`
	Detail   string  `parquet:"detail"`
	// Retryable says that the same input may succeed later; what a filter rejected is not retryable.
	Retryable bool `parquet:"retryable"`
}

// EmbeddingRow is one row that detokenize writes: the image embedding that a row's codes stand for.
type EmbeddingRow struct {
	Key      string  `parquet:"key"`
	Source   string  `parquet:"source,dict"`
	Row      int64   `parquet:"row,delta"`
	Document *string `parquet:"document,optional"`
	Position int32   `parquet:"position"`
	// Embedding approximates the un-normalised image embedding of OpenCLIP ViT-H/14 (1024 values for the published sizes).
	Embedding []float32 `parquet:"embedding,list"`
}

// PlanRow is one row of the plan: a range of one input file, and the unit it belongs to. Rows are sorted by unit and by
// order within it.
type PlanRow struct {
	Unit   int32  `parquet:"unit,delta"`
	Source string `parquet:"source,dict"`
	Format string `parquet:"format,dict"`
	// Size is the whole file's, in bytes; Tag its modification time, generation or ETag, which is checked on resume but is
	// no part of the digest.
	Size int64  `parquet:"size"`
	Tag  string `parquet:"tag,dict"`
	// Start and End are in the format's own unit (bytes, row groups); End -1 means to the end.
	Start    int64 `parquet:"start"`
	End      int64 `parquet:"end"`
	FirstRow int64 `parquet:"first_row"`
	// Bytes and Rows size the work; Rows is -1 where the format does not tell before reading.
	Bytes int64 `parquet:"bytes"`
	Rows  int64 `parquet:"rows"`
}
