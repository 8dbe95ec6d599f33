package text

import (
	"errors"
	"fmt"
)

// ImageCodes is the number of codes of an image, and ImageBlock the number of ids it takes in a sequence.
const (
	ImageCodes = 32
	ImageBlock = ImageCodes + 2
)

// Images is a tokenizer with tokens for images: <img_00000> … for the codes, <img> and </img> around them.
type Images struct {
	Tokenizer
	K          int   // number of codes
	Offset     int32 // id of code 0; code i has Offset+i, unless the tokenizer came with other ids
	Begin, End int32
	table      []int32 // ids of the codes, where they do not follow each other
	code       map[int32]int
}

func imageToken(code int) string { return fmt.Sprintf("<img_%05d>", code) }

const (
	imageBegin = "<img>"
	imageEnd   = "</img>"
)

// Extend adds tokens for k codes behind all others: code i is Offset+i with the text <img_%05d>, then come <img> and
// </img>, and Offset is the length of the tokenizer. Where t has these tokens already, its ids are used as they are; having
// some of them only is an error. In text the tokens are found like any other added token.
func Extend(t Tokenizer, k int) (*Images, error) {
	if k < 1 || k > 1<<16 {
		return nil, fmt.Errorf("text: %d image codes: want 1 to %d", k, 1<<16)
	}
	m := &Images{Tokenizer: t, K: k, code: make(map[int32]int, k)}
	var missing []string
	found := 0
	look := func(token string) int32 {
		id, ok := t.ID(token)
		if !ok {
			missing = append(missing, token)
			return -1
		}
		found++
		return id
	}
	table := make([]int32, k)
	for i := range table {
		table[i] = look(imageToken(i))
	}
	m.Begin, m.End = look(imageBegin), look(imageEnd)
	if len(missing) > 0 && found > 0 {
		return nil, fmt.Errorf("text: the tokenizer has %d of %d image tokens: %q is missing, and %d more; it was made for another number of codes: take it without image tokens", found, k+2, missing[0], len(missing)-1)
	}
	if found == 0 {
		c, err := extended(t, k)
		if err != nil {
			return nil, fmt.Errorf("text: %w", err)
		}
		m.Tokenizer = c
		for i := range table {
			table[i] = int32(t.Vocab().Size + i)
		}
		m.Begin, m.End = int32(t.Vocab().Size+k), int32(t.Vocab().Size+k+1)
	}
	m.Offset = table[0]
	for i, id := range table {
		m.code[id] = i
		if id != m.Offset+int32(i) {
			m.table = table
		}
	}
	if len(m.code) != k {
		return nil, errors.New("text: two image codes have the same id")
	}
	return m, nil
}

// CountImageTokens is how many codes the tokenizer has tokens for: 0 when it has no image tokens.
func CountImageTokens(t Tokenizer) int {
	k := 0
	for k < 1<<16 {
		if _, ok := t.ID(imageToken(k)); !ok {
			break
		}
		k++
	}
	return k
}

// extended is t with the image tokens behind all others.
func extended(t Tokenizer, k int) (*chain, error) {
	c, err := chainOf(t)
	if err != nil {
		return nil, err
	}
	s := *c.spec
	s.added = append([]addedToken(nil), s.added...)
	for i := range k + 2 {
		token := imageBegin
		switch {
		case i < k:
			token = imageToken(i)
		case i > k:
			token = imageEnd
		}
		s.added = append(s.added, addedToken{ID: int32(c.vocab.Size + i), Content: token, LStrip: s.seed, RStrip: s.seed})
	}
	if d, ok := s.decode.(*slowDecoder); ok {
		s.decode = &slowDecoder{outside(s.ids, s.added), d.join, d.like}
	}
	return build(&s)
}

// chainOf finds the chain inside a tokenizer of this package.
func chainOf(t Tokenizer) (*chain, error) {
	switch t := t.(type) {
	case *chain:
		return t, nil
	case *Loaded:
		return chainOf(t.Tokenizer)
	case *Images:
		return chainOf(t.Tokenizer)
	case byteTokenizer:
		return bytesChain()
	}
	return nil, fmt.Errorf("%T is not a tokenizer of this package", t)
}

// ImageID is the id of a code below K.
func (m *Images) ImageID(code int) int32 {
	if m.table != nil {
		return m.table[code]
	}
	return m.Offset + int32(code)
}

// ImageCode is the inverse.
func (m *Images) ImageCode(id int32) (code int, ok bool) {
	code, ok = m.code[id]
	return code, ok
}

// Contiguous says that the ids of the codes follow each other from Offset.
func (m *Images) Contiguous() bool { return m.table == nil }

// AppendImage appends <img>, the ids of the codes, </img>: 34 ids.
func (m *Images) AppendImage(dst []int32, codes []uint16) ([]int32, error) {
	if len(codes) != ImageCodes {
		return dst, fmt.Errorf("text: %d codes, want %d", len(codes), ImageCodes)
	}
	for _, c := range codes {
		if int(c) >= m.K {
			return dst, fmt.Errorf("text: code %d of %d", c, m.K)
		}
	}
	dst = append(dst, m.Begin)
	for _, c := range codes {
		dst = append(dst, m.ImageID(int(c)))
	}
	return append(dst, m.End), nil
}
