package trainer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"sower/internal/blob"
	"sower/internal/corpus"
	"sower/internal/text"
	"sower/internal/weights"
	"sower/schemas"
)

// VocabularyFile is the words of the text tower.
const VocabularyFile = weights.VocabularyFile

// special are the first words of a vocabulary that is made here.
var special = []string{"[PAD]", "[CLS]", "[SEP]", "[UNK]"}

// Learn makes a vocabulary of the words that occur in captions of the prepared rows, in order of the alphabet, behind the special
// ones. A word counts once a caption.
func Learn(ctx context.Context, prepared *blob.Bucket, parts []schemas.File, minCount int) ([]string, error) {
	counts := map[string]int{}
	for _, f := range parts {
		err := corpus.Read(ctx, prepared, f.Path, func(r captionRow) error {
			if r.Text == nil {
				return nil
			}
			words := text.Words(*r.Text)
			slices.Sort(words)
			for _, w := range slices.Compact(words) {
				counts[w]++
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	var words []string
	for w, n := range counts {
		if n >= minCount {
			words = append(words, w)
		}
	}
	if len(words) == 0 {
		return nil, fmt.Errorf("trainer: no word occurs in %d captions: contrast needs captions; lower vocabulary.min_count, or give --vocabulary", minCount)
	}
	slices.Sort(words)
	return append(slices.Clone(special), words...), nil
}

// captionRow is a prepared row without its picture.
type captionRow struct {
	Text *string `parquet:"text,optional"`
}

// WriteVocabulary commits vocab.txt.
func WriteVocabulary(ctx context.Context, b *blob.Bucket, words []string) error {
	return b.WriteAll(ctx, VocabularyFile, []byte(strings.Join(words, "\n")+"\n"))
}

// maxVocabulary bounds vocab.txt.
const maxVocabulary = 64 << 20

// Texts turns captions into tokens.
type Texts struct {
	tokenizer   text.Tokenizer
	begin, end  int32
	unknown     int32
	positions   int
	dropUnknown bool
}

// OpenTexts opens the vocabulary of a folder.
func OpenTexts(ctx context.Context, b *blob.Bucket, positions int, dropUnknown bool) (*Texts, error) {
	raw, err := b.ReadAll(ctx, VocabularyFile, maxVocabulary)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("trainer: %s has no %s: texts cannot be read", b.URL(), VocabularyFile)
	}
	if err != nil {
		return nil, err
	}
	return ParseTexts(raw, positions, dropUnknown)
}

// ParseTexts reads a vocabulary.
func ParseTexts(raw []byte, positions int, dropUnknown bool) (*Texts, error) {
	tokenizer, err := text.ParseVocabTxt(raw)
	if err != nil {
		return nil, fmt.Errorf("trainer: %s: %w", VocabularyFile, err)
	}
	t := &Texts{tokenizer: tokenizer, positions: positions, dropUnknown: dropUnknown}
	for _, w := range []struct {
		token string
		id    *int32
	}{{"[CLS]", &t.begin}, {"[SEP]", &t.end}, {"[UNK]", &t.unknown}} {
		id, ok := tokenizer.ID(w.token)
		if !ok {
			return nil, fmt.Errorf("trainer: %s lacks %s", VocabularyFile, w.token)
		}
		*w.id = id
	}
	return t, nil
}

// Size is the number of words.
func (t *Texts) Size() int { return t.tokenizer.Vocab().Size }

// Words are the tokens of a caption, without the special ones.
func (t *Texts) Words(caption string) []int32 {
	ids := t.tokenizer.Encode(nil, caption)
	if !t.dropUnknown {
		return ids
	}
	return slices.DeleteFunc(ids, func(id int32) bool { return id == t.unknown })
}

// Frame puts the special tokens around words and cuts what is too long.
func (t *Texts) Frame(words []int32) []int32 {
	words = words[:min(len(words), t.positions-2)]
	out := make([]int32, 0, len(words)+2)
	return append(append(append(out, t.begin), words...), t.end)
}
