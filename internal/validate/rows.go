package validate

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"sower/internal/corpus"
	"sower/schemas"
)

// codeTable checks the rows of one part of a code table.
type codeTable struct {
	c    *checker
	seen map[string]int64
}

func (t *codeTable) row(name string, n int64, r *schemas.CodeRow) {
	c := t.c
	if t.seen == nil {
		t.seen = map[string]int64{}
	}
	id := fmt.Sprintf("%s\x00%d\x00%d", r.Source, r.Row, r.Position)
	if before, twice := t.seen[id]; twice {
		c.problem(name, n, "is the image of row %d again: %s row %d position %d", before, r.Source, r.Row, r.Position)
	}
	t.seen[id] = n
	if len(r.Codes) != c.m.Identity.CodesPerImage {
		c.problem(name, n, "has %d codes, want %d", len(r.Codes), c.m.Identity.CodesPerImage)
	}
	for i, v := range r.Codes {
		if int(v) >= c.m.Identity.Codes {
			c.problem(name, n, "code %d is %d, want less than %d", i, v, c.m.Identity.Codes)
			break
		}
	}
	if r.Key == "" || r.Source == "" || r.Row < 0 || r.Position < 0 {
		c.problem(name, n, "key %q, source %q, row %d, position %d: want names and numbers from 0", r.Key, r.Source, r.Row, r.Position)
	}
	if r.Document == nil && r.Position != 0 {
		c.problem(name, n, "has position %d but no document", r.Position)
	}
	if c.m.Identity.Tokenizer != "null" && (r.Width < 1 || r.Height < 1) {
		c.problem(name, n, "is %d x %d pixels", r.Width, r.Height)
	}
	if r.SHA256 == [32]byte{} {
		c.problem(name, n, "has no digest of its image")
	}
	c.texts(name, n, r.Text, r.Metadata)
}

// texts checks a caption and metadata.
func (c *checker) texts(name string, n int64, text, metadata *string) {
	if text != nil && !utf8.ValidString(*text) {
		c.problem(name, n, "text is not UTF-8")
	}
	if metadata != nil {
		var m map[string]json.RawMessage
		if json.Unmarshal([]byte(*metadata), &m) != nil {
			c.problem(name, n, "metadata is no JSON object")
		}
	}
}

func (c *checker) reject(name string, n int64, r *schemas.RejectRow) {
	if !slices.Contains(schemas.Reasons, schemas.Reason(r.Reason)) {
		c.problem(name, n, "reason %q is none of the list", r.Reason)
	}
	if r.Detail == "" || r.Source == "" || r.Row < 0 {
		c.problem(name, n, "does not say what or where: source %q, row %d, detail %q", r.Source, r.Row, r.Detail)
	}
}

func (c *checker) embedding(name string, n int64, r *schemas.EmbeddingRow) {
	for i, v := range r.Embedding {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			c.problem(name, n, "value %d of the embedding is %v", i, v)
			break
		}
	}
	if len(r.Embedding) == 0 {
		c.problem(name, n, "has no embedding")
	}
}

func (c *checker) document(name string, n int64, r *schemas.DocumentRow, images map[imageName]bool) {
	if r.Document == "" || r.Source == "" || r.Row < 0 {
		c.problem(name, n, "document %q, source %q, row %d: want names and numbers from 0", r.Document, r.Source, r.Row)
	}
	switch r.Kind {
	case schemas.DocumentInterleaved, schemas.DocumentConversation, schemas.DocumentEdit:
	default:
		c.problem(name, n, "kind %q is none of the list", r.Kind)
	}
	for i, e := range r.Elements {
		image := e.Type == schemas.ElementImage && e.Image != nil && e.Text == nil && *e.Image >= 0
		text := e.Type == schemas.ElementText && e.Text != nil && e.Image == nil
		if !image && !text {
			c.problem(name, n, "element %d of type %q is neither a text nor an image", i, e.Type)
		}
		if image && !images[imageName{r.Source, r.Row, *e.Image}] {
			c.problem(name, n, "element %d is image %d, which is not in the code table", i, *e.Image)
		}
	}
	c.texts(name, n, nil, r.Metadata)
}

// vocabulary compares a part's footer with the manifest.
func (c *checker) vocabulary(name string, f *corpus.Footer) {
	var v schemas.Vocabulary
	if err := json.Unmarshal([]byte(f.Values[schemas.VocabularyKey]), &v); err != nil {
		c.problem(name, -1, "has no %s in its footer", schemas.VocabularyKey)
	} else if v != *c.m.Vocabulary {
		c.problem(name, -1, "has another vocabulary than the manifest: %+v", v)
	}
}

func (c *checker) sequence(name string, n int64, r *schemas.SequenceRow) {
	c.ids(name, n, r.InputIDs, r.Labels, r.Images, r.Keys, r.Length, []int32{int32(len(r.InputIDs))})
}

func (c *checker) packed(name string, n int64, r *schemas.PackedRow) {
	sum := int32(0)
	for _, l := range r.SequenceLengths {
		if l < 1 {
			c.problem(name, n, "has a sequence of length %d", l)
			return
		}
		sum += l
	}
	if int(sum) != len(r.InputIDs) {
		c.problem(name, n, "sequence_lengths add up to %d, there are %d ids", sum, len(r.InputIDs))
		return
	}
	if len(r.PositionIDs) != len(r.InputIDs) {
		c.problem(name, n, "has %d position_ids for %d ids", len(r.PositionIDs), len(r.InputIDs))
		return
	}
	at := 0
	for _, l := range r.SequenceLengths {
		for k := range int(l) {
			if r.PositionIDs[at+k] != int32(k) {
				c.problem(name, n, "position_ids[%d] is %d, want %d", at+k, r.PositionIDs[at+k], k)
				return
			}
		}
		at += int(l)
	}
	c.ids(name, n, r.InputIDs, r.Labels, r.Images, r.Keys, r.Length, r.SequenceLengths)
}

// ids checks what packed and unpacked rows have in common.
func (c *checker) ids(name string, n int64, ids, labels, images []int32, keys []string, length int32, lengths []int32) {
	v := c.m.Vocabulary
	if int(length) != len(ids) || len(ids) == 0 {
		c.problem(name, n, "length is %d, there are %d ids", length, len(ids))
		return
	}
	if len(labels) != len(ids) {
		c.problem(name, n, "has %d labels for %d ids", len(labels), len(ids))
		return
	}
	if limit, err := strconv.Atoi(c.m.Identity.Options["context"]); err == nil && len(ids) > limit {
		c.problem(name, n, "has %d ids, the context is %d", len(ids), limit)
	}
	if len(keys) == 0 {
		c.problem(name, n, "has no keys")
	}
	for i, id := range ids {
		if id < 0 || id >= v.Length {
			c.problem(name, n, "input_ids[%d] is %d, want 0 to %d", i, id, v.Length-1)
			return
		}
		if labels[i] != id && labels[i] != -100 {
			c.problem(name, n, "labels[%d] is %d, want %d or -100", i, labels[i], id)
			return
		}
	}
	at := 0
	for _, l := range lengths {
		if labels[at] != -100 {
			c.problem(name, n, "labels[%d] is the first of its sequence and not -100", at)
		}
		if !slices.ContainsFunc(labels[at:at+int(l)], func(v int32) bool { return v != -100 }) {
			c.problem(name, n, "the sequence at %d has no label: nothing can be learned from it", at)
		}
		at += int(l)
	}
	c.blocks(name, n, ids, images, lengths)
}

// blocks checks that every image is whole, listed, and within one sequence, and that no id of an image stands elsewhere.
func (c *checker) blocks(name string, n int64, ids, images []int32, lengths []int32) {
	v := c.m.Vocabulary
	next, end, sequence := 0, 0, 0
	for i := 0; i < len(ids); i++ {
		for sequence < len(lengths) && i >= end {
			end += int(lengths[sequence])
			sequence++
		}
		id := ids[i]
		isCode := id >= v.Offset && id < v.Offset+v.K
		if id != v.Begin {
			if isCode || id == v.End {
				c.problem(name, n, "input_ids[%d] is %d, of an image, outside of one", i, id)
				return
			}
			continue
		}
		last := i + int(v.ImageLength) - 1
		if last >= end {
			c.problem(name, n, "the image at %d is cut", i)
			return
		}
		for k := i + 1; k < last; k++ {
			if ids[k] < v.Offset || ids[k] >= v.Offset+v.K {
				c.problem(name, n, "input_ids[%d] is %d, want a code of the image at %d", k, ids[k], i)
				return
			}
		}
		if ids[last] != v.End {
			c.problem(name, n, "the image at %d does not end with </img>", i)
			return
		}
		if next >= len(images) || images[next] != int32(i) {
			c.problem(name, n, "the image at %d is not in images %v", i, images)
			return
		}
		next++
		i = last
	}
	if next != len(images) {
		c.problem(name, n, "images %v lists more than the %d there are", images, next)
	}
}
