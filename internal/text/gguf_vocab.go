package text

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// spec makes the chain of an embedded vocabulary: the models "gpt2" (byte-level BPE), "llama" (SentencePiece BPE) and
// "bert" (WordPiece). Tokens of type control are special, those of type user-defined are added tokens.
func (v *ggufVocab) spec(seed bool) (*spec, error) {
	c := &config{values: configValues{AddBOS: v.addBOS, AddEOS: v.addEOS}, mapPlain: map[string]bool{}}
	kind := func(i int) int {
		if len(v.types) == 0 {
			return pieceNormal
		}
		return int(v.types[i])
	}
	name := func(token string) string { return token }
	if v.model == "bert" {
		name = fromPhantom
	}
	for _, role := range roles {
		id, ok := v.special[role]
		if !ok {
			continue
		}
		if int(id) >= len(v.tokens) {
			return nil, fmt.Errorf("%s %d is not one of %d tokens", role, id, len(v.tokens))
		}
		c.special = append(c.special, specialToken{addedToken: addedToken{Content: name(v.tokens[id]), Special: true, ID: -1}, role: role})
	}
	for i, token := range v.tokens {
		switch kind(i) {
		case pieceControl:
			c.special = append(c.special, specialToken{addedToken: addedToken{Content: name(token), Special: true, ID: -1}})
		case pieceUser:
			c.decoder = append(c.decoder, addedToken{Content: name(token), ID: int32(i)})
		}
	}
	switch v.model {
	case "gpt2":
		return v.gpt2(c, seed)
	case "llama":
		return v.llama(c, seed, kind)
	case "bert":
		s, err := v.ids(fromPhantom)
		if err != nil {
			return nil, err
		}
		if _, ok := v.special["unk_token"]; !ok {
			return nil, fmt.Errorf("no unknown token")
		}
		return s, s.bert(c, seed)
	}
	return nil, unsupported("tokenizer.ggml.model", v.model, "gpt2, llama, bert")
}

func (v *ggufVocab) ids(name func(string) string) (*spec, error) {
	s := &spec{ids: make(map[string]int32, len(v.tokens))}
	for i, token := range v.tokens {
		token = name(token)
		if had, ok := s.ids[token]; ok {
			return nil, fmt.Errorf("tokens %d and %d are both %q", had, i, token)
		}
		s.ids[token] = int32(i)
	}
	return s, nil
}

func (v *ggufVocab) gpt2(c *config, seed bool) (*spec, error) {
	s, err := v.ids(func(token string) string { return token })
	if err != nil {
		return nil, err
	}
	s.seed = seed
	merges := make([][2]string, len(v.merges))
	for i, m := range v.merges {
		a, b, ok := strings.Cut(m, " ")
		if !ok || strings.Contains(b, " ") {
			return nil, fmt.Errorf("merge %d: %q is not two tokens", i, m)
		}
		merges[i] = [2]string{a, b}
	}
	if err := s.byteLevel(merges, c, boolOr(v.addSpacePrefix, false), seed); err != nil {
		return nil, err
	}
	switch v.pre {
	case "", "default", "gpt-2", "gpt2":
	case "smollm":
		s.pre = append([]pretokenizer{digits{individual: true}}, s.pre...)
	default:
		return nil, unsupported("tokenizer.ggml.pre", v.pre, "gpt-2, smollm")
	}
	return s, nil
}

func (v *ggufVocab) llama(c *config, seed bool, kind func(int) int) (*spec, error) {
	if len(v.scores) == 0 {
		return nil, fmt.Errorf("no tokenizer.ggml.scores")
	}
	m := &spModel{kind: modelBPE, bos: -1, eos: -1, pad: -1, unkSurface: " \u2047 ", dummyPrefix: boolOr(v.addSpacePrefix, true), removeExtra: v.removeExtra, escapeSpace: true}
	for i, token := range v.tokens {
		p := spPiece{text: token, score: math.Float32frombits(v.scores[i]), kind: kind(i)}
		switch {
		case p.kind == pieceUser: // found as an added token
			p.kind = pieceControl
		case p.kind == pieceUnused:
			p.kind = pieceControl // it is never found in text here
		case p.kind == pieceByte:
			m.byteFallback = true
		case p.kind < pieceNormal || p.kind > pieceByte:
			return nil, fmt.Errorf("token %d: type %d is not known", i, p.kind)
		}
		if token == "" || len(token) > maxPieceBytes || !utf8.ValidString(token) || math.IsNaN(float64(p.score)) || math.IsInf(float64(p.score), 0) {
			return nil, fmt.Errorf("token %d: %d bytes (want UTF-8 of 1 to %d), score %v", i, len(token), maxPieceBytes, p.score)
		}
		if id, ok := v.special["unk_token"]; ok && int(id) == i {
			p.kind = pieceUnknown
		}
		m.pieces = append(m.pieces, p)
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	return m.spec(c, seed)
}
