package text

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// parseVocabTxt reads BERT's vocab.txt: a token a line, the line number from 0 is the id.
func parseVocabTxt(p []byte, c *config, seed bool) (*spec, error) {
	lines := bytes.Split(bytes.TrimSuffix(p, []byte("\n")), []byte("\n"))
	if len(lines) > maxVocab {
		return nil, fmt.Errorf("more than %d lines", maxVocab)
	}
	s := &spec{ids: make(map[string]int32, len(lines)), seed: seed, splitSpecial: c.values.SplitSpecial}
	for i, line := range lines {
		token := string(bytes.TrimSuffix(line, []byte("\r")))
		if _, ok := s.ids[token]; ok {
			return nil, fmt.Errorf("line %d: %q is there twice", i+1, token)
		}
		if token != "" {
			s.ids[token] = int32(i)
		}
	}
	return s, s.bert(c, seed)
}

// bert completes a spec that has its vocabulary. With seed it follows BertTokenizer, else BertTokenizerFast.
func (s *spec) bert(c *config, seed bool) error {
	if !boolOr(c.values.DoBasic, true) {
		return errors.New("do_basic_tokenize false is not supported")
	}
	if never := string(c.values.NeverSplit); never != "" && never != "null" && never != "[]" {
		return errors.New("never_split is not supported")
	}
	var defaults []specialToken
	for _, d := range [][2]string{{"unk_token", "[UNK]"}, {"sep_token", "[SEP]"}, {"pad_token", "[PAD]"}, {"cls_token", "[CLS]"}, {"mask_token", "[MASK]"}} {
		if _, ok := s.ids[d[1]]; ok {
			defaults = append(defaults, specialToken{addedToken: addedToken{Content: d[1]}, role: d[0]})
		}
	}
	var err error
	if s.added, s.special, err = c.slowAdded(s.ids, defaults, false, seed); err != nil {
		return err
	}
	unk, ok := s.special["unk_token"]
	if !ok {
		return errors.New("no unknown token")
	}
	name := ""
	for token, id := range s.ids {
		if id == unk {
			name = token
		}
	}
	m, err := newWordPiece(s.ids, "##", name, 100)
	if err != nil {
		return err
	}
	lower := boolOr(c.values.DoLowerCase, true)
	n := bert{clean: true, chinese: boolOr(c.values.Chinese, true), accents: boolOr(c.values.StripAccents, lower), lower: lower, stripAccents: c.values.StripAccents, slow: seed}
	s.model, s.norm, s.pre = m, []normalizer{n}, []pretokenizer{bertWords{slow: seed}}
	like := steps{decodeWordPiece{"##", true}}
	s.decode = like
	if seed {
		s.decode = &slowDecoder{outside(s.ids, s.added), joinWordPiece("##"), like}
	}
	if cls, ok := s.special["cls_token"]; ok {
		s.prefix = []int32{cls}
	}
	if sep, ok := s.special["sep_token"]; ok {
		s.suffix = []int32{sep}
	}
	return nil
}

// fromPhantom undoes how GGUF files write WordPiece: ▁ in front of what begins a word, nothing in front of what goes on.
func fromPhantom(token string) string {
	if strings.HasPrefix(token, "[") && strings.HasSuffix(token, "]") {
		return token
	}
	if rest, ok := strings.CutPrefix(token, space); ok {
		return rest
	}
	return "##" + token
}

// Words cuts a text as BERT's tokenizer does before it looks for pieces: lower case without accents, punctuation by itself. A
// vocabulary for vocab.txt is made of them.
func Words(s string) []string {
	s = bert{clean: true, chinese: true, accents: true, lower: true}.apply(s)
	var out []string
	for _, p := range (bertWords{}).split(nil, piece{s: s}) {
		out = append(out, p.s)
	}
	return out
}

// ParseVocabTxt makes a tokenizer of vocab.txt alone, lower case, as BertTokenizerFast.
func ParseVocabTxt(p []byte) (Tokenizer, error) {
	s, err := parseVocabTxt(p, &config{mapPlain: map[string]bool{}}, false)
	if err != nil {
		return nil, err
	}
	return build(s)
}
