package schemas

// VocabularyKey is the footer key under which sequence tables carry their Vocabulary.
const VocabularyKey = "sower.vocabulary"

// Vocabulary says what the ids of a sequence table mean (docs/formats.md): text ids are the tokenizer's, code i of an image is
// Offset + i.
type Vocabulary struct {
	// Tokenizer names the kind, Digest identifies its behaviour, Rules say how white space at image words is treated ("hf",
	// "seed").
	Tokenizer string `json:"tokenizer"`
	Digest    string `json:"digest"`
	Rules     string `json:"rules"`
	// Offset is the id of code 0, K the number of codes, Begin and End the ids of <img> and </img>.
	Offset int32 `json:"offset"`
	K      int32 `json:"k"`
	Begin  int32 `json:"begin"`
	End    int32 `json:"end"`
	// Pad, BOS, EOS and Unk are -1 where the tokenizer has none. Length is that of the extended tokenizer: model rows grow to at
	// least that.
	Pad    int32 `json:"pad"`
	BOS    int32 `json:"bos"`
	EOS    int32 `json:"eos"`
	Unk    int32 `json:"unk"`
	Length int32 `json:"length"`
	// ImageLength is the length of an image block: its codes, <img> and </img>.
	ImageLength int32 `json:"image_length"`
}
