package text

import (
	"encoding/base64"
	"errors"
)

func (m *spModel) kindName() string {
	if m.kind == modelBPE {
		return "bpe"
	}
	return "unigram"
}

// parseSPFile reads a SentencePiece model with the small files beside it.
func parseSPFile(p []byte, c *config, seed bool) (*spec, *spModel, error) {
	m, err := parseSentencePiece(p)
	if err != nil {
		return nil, nil, err
	}
	if len(c.values.SPArgs) > 0 {
		return nil, nil, errors.New("tokenizer_config.json: sp_model_kwargs are not supported")
	}
	s, err := m.spec(c, seed)
	return s, m, err
}

// spec makes the chain of a model as LlamaTokenizer does: with legacy every piece between added tokens gets its own ▁,
// without it only the first one, unless it has one.
func (m *spModel) spec(c *config, seed bool) (*spec, error) {
	s := &spec{ids: make(map[string]int32, len(m.pieces)), seed: seed, splitSpecial: c.values.SplitSpecial}
	for i, p := range m.pieces {
		s.ids[p.text] = int32(i)
	}
	var defaults []specialToken
	for _, d := range []struct {
		role string
		id   int32
	}{{"bos_token", m.bos}, {"eos_token", m.eos}, {"unk_token", m.unk}, {"pad_token", m.pad}} {
		if d.id >= 0 && int(d.id) < len(m.pieces) && (m.pieces[d.id].kind == pieceControl || d.id == m.unk) {
			defaults = append(defaults, specialToken{addedToken: addedToken{Content: m.pieces[d.id].text}, role: d.role})
		}
	}
	var err error
	if s.added, s.special, err = c.slowAdded(s.ids, defaults, true, seed); err != nil {
		return nil, err
	}
	z := &spNormalizer{dummyPrefix: m.dummyPrefix, removeExtra: m.removeExtra, user: m.userPieces()}
	if len(m.charsmap) > 0 {
		if z.rules, err = parseCharsmap(m.charsmap); err != nil {
			return nil, err
		}
	}
	if !seed && !boolOr(c.values.Legacy, true) && m.dummyPrefix {
		z.dummyPrefix = false
		s.pre = []pretokenizer{metaspace{replacement: space, scheme: "first"}}
	}
	s.norm = []normalizer{z}
	if m.kind == modelBPE {
		s.model = newSPBPE(m)
	} else if s.model, err = newSPUnigram(m); err != nil {
		return nil, err
	}
	s.identity = m.identity()
	like := steps{decodeReplace{space, " "}}
	if m.byteFallback {
		like = append(like, decodeBytes{})
	}
	if like = append(like, decodeFuse{}); m.dummyPrefix || m.removeExtra {
		like = append(like, decodeStrip{' ', 1, 0})
	}
	s.decode = like
	if seed {
		s.decode = &slowDecoder{outside(s.ids, s.added), joinSentencePiece(m, addedIDs(s.added)), like}
	}
	_, hasBOS := s.special["bos_token"]
	return s, s.ends(c, "bos_token", hasBOS, "eos_token")
}

// identity is everything of the model that decides ids.
func (m *spModel) identity() any {
	type piece struct {
		Text  string
		Score float32
		Kind  int
	}
	pieces := make([]piece, len(m.pieces))
	for i, p := range m.pieces {
		pieces[i] = piece{p.text, p.score, p.kind}
	}
	return []any{"sentencepiece", m.kind, m.byteFallback, m.dummyPrefix, m.removeExtra, base64.StdEncoding.EncodeToString(m.charsmap), pieces}
}
