package text

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// byteTokenizer needs no files: pad 0, BOS 1, EOS 2, byte b = 3 + b.
type byteTokenizer struct{}

const (
	bytesPad = iota
	bytesBOS
	bytesEOS
	bytesFirst
	bytesSize = bytesFirst + 256
)

var bytesNames = [bytesFirst]string{"<pad>", "<s>", "</s>"}

// Bytes returns the built-in tokenizer. The names of its three special tokens are not looked for in text.
func Bytes() Tokenizer { return byteTokenizer{} }

func (byteTokenizer) Encode(dst []int32, s string) []int32 {
	for i := range len(s) {
		dst = append(dst, bytesFirst+int32(s[i]))
	}
	return dst
}

func (byteTokenizer) Decode(ids []int32) string {
	b := make([]byte, 0, len(ids))
	for _, id := range ids {
		switch {
		case id >= bytesFirst && id < bytesSize:
			b = append(b, byte(id-bytesFirst))
		case id >= 0 && id < bytesFirst:
			b = append(b, bytesNames[id]...)
		}
	}
	return string(b)
}

func (byteTokenizer) Vocab() Vocab {
	sum := sha256.Sum256([]byte("sower bytes 1: pad 0, BOS 1, EOS 2, byte b = 3+b"))
	return Vocab{Size: bytesSize, Pad: bytesPad, BOS: bytesBOS, EOS: bytesEOS, Unk: -1, Digest: hex.EncodeToString(sum[:])}
}

// Token names bytes by the letters of byte-level vocabularies.
func (byteTokenizer) Token(id int32) (string, bool) {
	switch {
	case id < 0 || id >= bytesSize:
		return "", false
	case id < bytesFirst:
		return bytesNames[id], true
	}
	return string(byteLetters[id-bytesFirst]), true
}

func (byteTokenizer) ID(token string) (int32, bool) {
	for id, name := range bytesNames {
		if name == token {
			return int32(id), true
		}
	}
	if rs := []rune(token); len(rs) == 1 {
		b, ok := letterBytes[rs[0]]
		return bytesFirst + int32(b), ok
	}
	return 0, false
}

// bytesChain is the same tokenizer as byte-level BPE without merges, which can be extended and written to a file.
func bytesChain() (*chain, error) {
	s := &spec{ids: map[string]int32{}, special: map[string]int32{"pad_token": bytesPad, "bos_token": bytesBOS, "eos_token": bytesEOS}, splitSpecial: true, keepBytes: true,
		pre: []pretokenizer{byteLevel{}}, decode: decodeKeepBytes{}}
	for id, name := range bytesNames {
		s.ids[name] = int32(id)
		s.added = append(s.added, addedToken{ID: int32(id), Content: name, Special: true})
	}
	for b, r := range byteLetters {
		s.ids[string(r)] = int32(bytesFirst + b)
	}
	m, err := newBPE(s.ids, nil, nil, false, false, false, true)
	if err != nil {
		return nil, err
	}
	s.model = m
	return build(s)
}

// decodeKeepBytes gives back exactly the bytes that were encoded.
type decodeKeepBytes struct{}

func (decodeKeepBytes) text(ids []int32, n *names) string {
	var b strings.Builder
	for _, id := range ids {
		t, _ := n.token(id)
		b.WriteString(fromLetters(t))
	}
	return b.String()
}

func (decodeKeepBytes) json() any { return decodeByteLevel{}.json() }
