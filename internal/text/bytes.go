package text

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
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

func (t byteTokenizer) Decode(ids []int32) string {
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

// Token names bytes as GGUF and SentencePiece do, <0x41>.
func (byteTokenizer) Token(id int32) (string, bool) {
	switch {
	case id < 0 || id >= bytesSize:
		return "", false
	case id < bytesFirst:
		return bytesNames[id], true
	}
	return fmt.Sprintf("<0x%02X>", id-bytesFirst), true
}

func (byteTokenizer) ID(token string) (int32, bool) {
	for id, name := range bytesNames {
		if name == token {
			return int32(id), true
		}
	}
	b, ok := pieceByteValue(token)
	return bytesFirst + int32(b), ok
}
