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

// TeacherRow is what train-tokenizer reads of a table of image embeddings: an EmbeddingRow, or what another program made of PreparedRows.
type TeacherRow struct {
	Source    string    `parquet:"source"`
	Row       int64     `parquet:"row"`
	Embedding []float32 `parquet:"embedding,list"`
}

// PreparedRow is one row that train-tokenizer prepares: a small picture and its caption.
type PreparedRow struct {
	Key    string  `parquet:"key"`
	Source string  `parquet:"source,dict"`
	Row    int64   `parquet:"row,delta"`
	Text   *string `parquet:"text,optional"`
	// RGB is the picture's bytes, [S S 3]; S is the identity's image size.
	RGB []byte `parquet:"rgb"`
}

// EvaluationRow is one row that evaluate writes: what a tokenizer makes of a pair.
type EvaluationRow struct {
	Key    string  `parquet:"key"`
	Source string  `parquet:"source,dict"`
	Row    int64   `parquet:"row,delta"`
	Text   *string `parquet:"text,optional"`
	// Words are the caption's tokens without the special ones.
	Words []int32  `parquet:"words,list"`
	Codes []uint16 `parquet:"codes,list,dict"`
	// Image and Decoded are unit vectors after the first 1, 2, 4, 8, 16, 24 and all codes, one behind the other: of the causal embedding, and
	// of what the codes alone give back. TextVector is the caption's.
	Image      []float32 `parquet:"image,list"`
	Decoded    []float32 `parquet:"decoded,list"`
	TextVector []float32 `parquet:"text_vector,list"`
	// DecodedZ is the last of Decoded had the vectors not been quantized: what the codebook costs, apart from what the way through it does.
	DecodedZ []float32 `parquet:"decoded_z,list"`
	// Cosine is of the embeddings that the codes give back with the true ones, the mean over queries.
	Cosine float64 `parquet:"cosine"`
	// Of drawn pictures, from codes and from the vectors before they were quantized; null without a painter.
	PSNR  *float64 `parquet:"psnr,optional"`
	SSIM  *float64 `parquet:"ssim,optional"`
	PSNRz *float64 `parquet:"psnr_z,optional"`
	SSIMz *float64 `parquet:"ssim_z,optional"`
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
	// Repeat is the how-manieth reading of the range this is (interleave's weights above 1); 0 is the first.
	Repeat int32 `parquet:"repeat"`
}

// RetryRow is a unit that a retry does again. Rows are numbered from 0; they are the elements of its graph.
type RetryRow struct {
	Work int32 `parquet:"work,delta"`
	Unit int32 `parquet:"unit"` // of the new plan
	// Ranges are those of the unit, in order of the plan.
	Ranges []RetryRange `parquet:"ranges,list"`
	// Parts are the files of the corpus that hold rows of the unit, in order of unit and layout.
	Parts []RetryPart `parquet:"parts,list"`
	// Replaces is the unit of the corpus whose parts these take the place of, -1 where the whole corpus is cut anew.
	Replaces int32 `parquet:"replaces"`
}

// RetryRange says what is done with a range: it is read, or its rows in the corpus are taken over.
type RetryRange struct {
	Read bool `parquet:"read"`
	// End is the number of the row of the source before which the range ends, -1 at the end of the source.
	End int64 `parquet:"end"`
}

// RetryPart is a file of a corpus that is read for its rows.
type RetryPart struct {
	Path   string `parquet:"path"`
	SHA256 string `parquet:"sha256"`
}

// DocumentRow is one row of the document table: an input of several images or texts, in order. Its images stand in the code
// table's part of the same unit, adjacent and in order of position.
type DocumentRow struct {
	Document string    `parquet:"document"`
	Source   string    `parquet:"source,dict"`
	Row      int64     `parquet:"row,delta"`
	Kind     string    `parquet:"kind,dict"` // DocumentInterleaved, DocumentConversation, DocumentEdit
	Elements []Element `parquet:"elements,list"`
	Metadata *string   `parquet:"metadata,optional"`
}

// Element is one piece of a document.
type Element struct {
	Type string  `parquet:"type,dict"` // ElementText or ElementImage
	Text *string `parquet:"text,optional"`
	// Role is who speaks in a conversation ("user", "assistant"), or what an edit's element is ("source", "instruction",
	// "target").
	Role *string `parquet:"role,optional,dict"`
	// Image is the position of the image in its document, which is its position in the code table.
	Image *int32 `parquet:"image,optional"`
}

// Kinds of documents and of their elements.
const (
	DocumentInterleaved  = "interleaved"
	DocumentConversation = "conversation"
	DocumentEdit         = "edit"

	ElementText  = "text"
	ElementImage = "image"
)

// SequenceRow is one row of the sequence table: a training sequence of a language model.
type SequenceRow struct {
	InputIDs []int32 `parquet:"input_ids,list,dict"`
	// Labels are the ids to predict, -100 where there is no loss. The first is always -100.
	Labels []int32 `parquet:"labels,list,dict"`
	// Images are the offsets of every <img> in InputIDs.
	Images []int32 `parquet:"images,list"`
	// Keys are those of the images, or of the document or text.
	Keys   []string `parquet:"keys,list"`
	Length int32    `parquet:"length"`
}

// PackedRow is a row of several sequences, one after another.
type PackedRow struct {
	InputIDs []int32  `parquet:"input_ids,list,dict"`
	Labels   []int32  `parquet:"labels,list,dict"`
	Images   []int32  `parquet:"images,list"`
	Keys     []string `parquet:"keys,list"`
	Length   int32    `parquet:"length"`
	// PositionIDs restart at 0 with every sequence; SequenceLengths add up to Length.
	PositionIDs     []int32 `parquet:"position_ids,list,dict"`
	SequenceLengths []int32 `parquet:"sequence_lengths,list"`
}
