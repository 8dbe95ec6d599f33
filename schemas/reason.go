package schemas

// Reason says why an input row has no codes. The list is closed: tools group by it, so a new reason is a new version
// of the format. The free text beside it (Reject.Detail) says what exactly was wrong.
type Reason string

const (
	UnreadableSource  Reason = "unreadable_source"  // the file or the rest of it cannot be read: corrupt tar, Parquet, line
	NoImage           Reason = "no_image"           // the row has no image, or it is empty
	UnsupportedFormat Reason = "unsupported_format" // the bytes are no JPEG, PNG, WebP, GIF or BMP, or a variant none decodes
	Undecodable       Reason = "undecodable"        // the right format, but damaged
	Truncated         Reason = "truncated"          // the image ends before its pixels do
	TooLarge          Reason = "too_large"          // more pixels or bytes than the limits allow
	TooSmall          Reason = "too_small"          // --min-side
	Aspect            Reason = "aspect"             // --max-aspect
	Similarity        Reason = "similarity"         // --min-similarity
	NoText            Reason = "no_text"            // --require-text
	TextTooLong       Reason = "text_too_long"      // --max-text
	TextNotUTF8       Reason = "text_not_utf8"      // caption or metadata is not UTF-8
	Duplicate         Reason = "duplicate"          // --dedup: same image bytes and text earlier in the unit
	UnsafeName        Reason = "unsafe_name"        // a name that leaves its folder: absolute, or with ".."
	MissingColumn     Reason = "missing_column"     // the row lacks a column that was asked for
	NonFinite         Reason = "non_finite"         // the model made a NaN or an infinity of it
)

// Reasons lists every Reason in the order of reports.
var Reasons = []Reason{UnreadableSource, NoImage, UnsupportedFormat, Undecodable, Truncated, TooLarge, TooSmall, Aspect,
	Similarity, NoText, TextTooLong, TextNotUTF8, Duplicate, UnsafeName, MissingColumn, NonFinite}

// Filter reports whether r is the verdict of a filter that the user switched on, rather than a fault of the input.
func (r Reason) Filter() bool {
	switch r {
	case TooSmall, Aspect, Similarity, NoText, TextTooLong, Duplicate:
		return true
	}
	return false
}
