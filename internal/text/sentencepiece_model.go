package text

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// Kinds of pieces in sentencepiece_model.proto.
const (
	pieceNormal = 1 + iota
	pieceUnknown
	pieceControl
	pieceUser
	pieceUnused
	pieceByte
)

// Kinds of models.
const (
	modelUnigram = 1
	modelBPE     = 2
)

type spPiece struct {
	text  string
	score float32
	kind  int
}

// spModel holds what decides ids in a SentencePiece model file.
type spModel struct {
	pieces       []spPiece
	kind         int
	byteFallback bool
	suffix       bool // treat_whitespace_as_suffix
	unk          int32
	bos, eos     int32
	pad          int32
	unkSurface   string

	charsmap                              []byte
	dummyPrefix, removeExtra, escapeSpace bool
}

const (
	maxPieces     = 1 << 22
	maxPieceBytes = 1 << 9
)

var errProto = errors.New("not a protobuf message, or cut off")

// protoField reads one field of a protobuf message (protobuf.dev/programming-guides/encoding): its number, its value if it
// is a number, its bytes if it has a length, and what follows.
func protoField(p []byte) (field int, num uint64, body, rest []byte, err error) {
	tag, n := binary.Uvarint(p)
	if n <= 0 || tag>>3 == 0 || tag>>3 > 1<<29 {
		return 0, 0, nil, nil, errProto
	}
	p = p[n:]
	switch tag & 7 {
	case 0:
		if num, n = binary.Uvarint(p); n <= 0 {
			return 0, 0, nil, nil, errProto
		}
	case 1:
		if n = 8; len(p) < n {
			return 0, 0, nil, nil, errProto
		}
		num = binary.LittleEndian.Uint64(p)
	case 2:
		l, k := binary.Uvarint(p)
		if k <= 0 || l > uint64(len(p)-k) {
			return 0, 0, nil, nil, errProto
		}
		n = k + int(l)
		body = p[k:n]
	case 5:
		if n = 4; len(p) < n {
			return 0, 0, nil, nil, errProto
		}
		num = uint64(binary.LittleEndian.Uint32(p))
	default:
		return 0, 0, nil, nil, errProto
	}
	return int(tag >> 3), num, body, p[n:], nil
}

// eachField calls f for the fields of a message.
func eachField(p []byte, f func(field int, num uint64, body []byte) error) error {
	for len(p) > 0 {
		field, num, body, rest, err := protoField(p)
		if err != nil {
			return err
		}
		if err := f(field, num, body); err != nil {
			return err
		}
		p = rest
	}
	return nil
}

// parseSentencePiece reads a model file. Everything it keeps lies inside p, so memory is bounded by the file.
func parseSentencePiece(p []byte) (*spModel, error) {
	m := &spModel{kind: modelUnigram, unk: 0, bos: 1, eos: 2, pad: -1, unkSurface: " \u2047 ", dummyPrefix: true, removeExtra: true, escapeSpace: true}
	err := eachField(p, func(field int, _ uint64, body []byte) error {
		switch field {
		case 1:
			if len(m.pieces) == maxPieces {
				return fmt.Errorf("more than %d pieces", maxPieces)
			}
			piece, err := parsePiece(body)
			if err != nil {
				return fmt.Errorf("piece %d: %w", len(m.pieces), err)
			}
			m.pieces = append(m.pieces, piece)
		case 2:
			return eachField(body, m.trainerField)
		case 3:
			return eachField(body, func(field int, num uint64, body []byte) error {
				switch field {
				case 2:
					m.charsmap = body
				case 3:
					m.dummyPrefix = num != 0
				case 4:
					m.removeExtra = num != 0
				case 5:
					m.escapeSpace = num != 0
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return m, m.check()
}

func (m *spModel) trainerField(field int, num uint64, body []byte) error {
	switch field {
	case 3:
		m.kind = int(num)
	case 24:
		m.suffix = num != 0
	case 35:
		m.byteFallback = num != 0
	case 41:
		m.bos = int32(num)
	case 42:
		m.eos = int32(num)
	case 43:
		m.pad = int32(num)
	case 44:
		m.unkSurface = string(body)
	}
	return nil
}

func parsePiece(p []byte) (spPiece, error) {
	s := spPiece{kind: pieceNormal}
	err := eachField(p, func(field int, num uint64, body []byte) error {
		switch field {
		case 1:
			s.text = string(body)
		case 2:
			s.score = math.Float32frombits(uint32(num))
		case 3:
			s.kind = int(num)
		}
		return nil
	})
	switch {
	case err != nil:
	case s.text == "" || len(s.text) > maxPieceBytes || !utf8.ValidString(s.text):
		err = fmt.Errorf("text of %d bytes: want UTF-8 of 1 to %d", len(s.text), maxPieceBytes)
	case s.kind < pieceNormal || s.kind > pieceByte:
		err = fmt.Errorf("type %d is not known", s.kind)
	case math.IsNaN(float64(s.score)) || math.IsInf(float64(s.score), 0):
		err = fmt.Errorf("score %v", s.score)
	}
	return s, err
}

// check demands what the library demands of a model.
func (m *spModel) check() error {
	if m.kind != modelUnigram && m.kind != modelBPE {
		return fmt.Errorf("model type %d is not supported (have: 1 unigram, 2 bpe)", m.kind)
	}
	m.unk = -1
	seen := make(map[string]bool, len(m.pieces))
	bytes := 0
	for i, p := range m.pieces {
		if seen[p.text] {
			return fmt.Errorf("piece %d: %q is there twice", i, p.text)
		}
		seen[p.text] = true
		switch p.kind {
		case pieceUnknown:
			if m.unk >= 0 {
				return errors.New("two unknown pieces")
			}
			m.unk = int32(i)
		case pieceByte:
			if _, ok := pieceByteValue(p.text); !ok {
				return fmt.Errorf("piece %d: %q is not a byte", i, p.text)
			}
			bytes++
		}
	}
	if m.unk < 0 {
		return errors.New("no unknown piece")
	}
	if m.byteFallback != (bytes > 0) || m.byteFallback && bytes != 256 {
		return fmt.Errorf("byte_fallback is %v with %d byte pieces", m.byteFallback, bytes)
	}
	if !m.escapeSpace {
		return errors.New("escape_whitespaces false is not supported")
	}
	if m.suffix {
		return errors.New("treat_whitespace_as_suffix is not supported")
	}
	return nil
}

// pieceByteValue is the byte of <0xXX>.
func pieceByteValue(s string) (byte, bool) {
	if len(s) != 6 || s[:3] != "<0x" || s[5] != '>' {
		return 0, false
	}
	v := 0
	for _, c := range []byte(s[3:5]) {
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | int(c-'0')
		case c >= 'A' && c <= 'F':
			v = v<<4 | int(c-'A'+10)
		default:
			return 0, false
		}
	}
	return byte(v), true
}
