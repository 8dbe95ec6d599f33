package text

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// tokenizerJSON is the file that the tokenizers library saves. There is no specification: the fields are those that its
// documentation names and that files of version 1.0 have.
type tokenizerJSON struct {
	Version       string          `json:"version"`
	Truncation    json.RawMessage `json:"truncation"`
	Padding       json.RawMessage `json:"padding"`
	AddedTokens   []addedToken    `json:"added_tokens"`
	Normalizer    json.RawMessage `json:"normalizer"`
	PreTokenizer  json.RawMessage `json:"pre_tokenizer"`
	PostProcessor json.RawMessage `json:"post_processor"`
	Decoder       json.RawMessage `json:"decoder"`
	Model         json.RawMessage `json:"model"`
}

// strict decodes JSON and refuses fields that are not known: each of them would change ids.
func strict(raw []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("something follows the value")
	}
	return nil
}

func absent(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

func typeOf(raw json.RawMessage) (string, error) {
	var t struct {
		Type string `json:"type"`
	}
	err := json.Unmarshal(raw, &t)
	return t.Type, err
}

func unsupported(part, name, have string) error {
	return fmt.Errorf("%s %q is not supported (have: %s)", part, name, have)
}

// sequence decodes a step that holds others, which may do so again.
func sequence(raw json.RawMessage, into any, depth int) error {
	const deepest = 8
	if depth == deepest {
		return fmt.Errorf("sequences inside sequences, more than %d", deepest)
	}
	return strict(raw, into)
}

// parseTokenizerJSON reads the file. c, which may be nil, is what lies beside it: tokens that only stand there are added
// behind those of the file, and flags there replace those of the file, as AutoTokenizer does.
func parseTokenizerJSON(p []byte, c *config) (*spec, []string, error) {
	var f tokenizerJSON
	if err := strict(p, &f); err != nil {
		return nil, nil, err
	}
	if f.Version != "1.0" {
		return nil, nil, fmt.Errorf("version %q is not supported (have: 1.0)", f.Version)
	}
	s := &spec{special: map[string]int32{}}
	var warnings []string
	if !absent(f.Truncation) {
		warnings = append(warnings, "tokenizer.json: truncation is set there and not applied here")
	}
	var err error
	if s.norm, err = parseNormalizers(f.Normalizer, 0); err != nil {
		return nil, nil, err
	}
	if s.pre, err = parsePretokenizers(f.PreTokenizer, 0); err != nil {
		return nil, nil, err
	}
	raw := false
	for i, p := range s.pre {
		if _, ok := p.(byteLevel); ok {
			if raw = true; i != len(s.pre)-1 {
				return nil, nil, fmt.Errorf("pre_tokenizer \"ByteLevel\" is supported at the end of a sequence only")
			}
		}
		if m, ok := p.(metaspace); ok && m.scheme == "first" && i > 0 {
			return nil, nil, fmt.Errorf("pre_tokenizer \"Metaspace\" with prepend_scheme \"first\" is supported at the beginning of a sequence only")
		}
	}
	if err := s.parseModel(f.Model, raw); err != nil {
		return nil, nil, fmt.Errorf("model: %w", err)
	}
	if s.decode, err = parseDecoder(f.Decoder); err != nil {
		return nil, nil, err
	}

	tokens := f.AddedTokens
	if c != nil {
		tokens = c.onTopOf(tokens)
		s.splitSpecial = c.values.SplitSpecial
	}
	moved := 0
	s.added = assign(s.ids, tokens, func(t addedToken, stated int32) {
		if moved++; moved == 1 {
			warnings = append(warnings, fmt.Sprintf("tokenizer.json: added token %q has id %d there, but the library gives it %d on reading, and so does this one", t.Content, stated, t.ID))
		}
	})
	id := func(token string) (int32, bool) {
		for _, t := range s.added {
			if t.Content == token {
				return t.ID, true
			}
		}
		id, ok := s.ids[token]
		return id, ok
	}
	if err := s.parsePostProcessor(f.PostProcessor, 0); err != nil {
		return nil, nil, err
	}
	s.roles(c, id)
	for _, t := range s.added {
		if t.Normalized && !t.Special && changed(s.norm, t.Content) {
			warnings = append(warnings, fmt.Sprintf("tokenizer.json: added token %q is looked for after normalization, which makes %q of it: in text it is found only where that occurs", t.Content, normalizeAll(s.norm, t.Content)))
			break
		}
	}
	if c != nil && len(s.pre) > 0 && raw {
		if b := s.pre[len(s.pre)-1].(byteLevel); c.values.AddPrefixSpace != nil && *c.values.AddPrefixSpace != b.prefix {
			warnings = append(warnings, fmt.Sprintf("tokenizer.json has add_prefix_space %v and tokenizer_config.json %v: the former is used, AutoTokenizer takes the latter", b.prefix, *c.values.AddPrefixSpace))
		}
	}
	return s, warnings, nil
}

func normalizeAll(list []normalizer, s string) string {
	for _, n := range list {
		s = n.apply(s)
	}
	return s
}

func changed(list []normalizer, s string) bool { return normalizeAll(list, s) != s }

// onTopOf adds what the small files say to the tokens of tokenizer.json.
func (c *config) onTopOf(tokens []addedToken) []addedToken {
	out := append([]addedToken(nil), tokens...)
	find := func(content string) int {
		for i, t := range out {
			if t.Content == content {
				return i
			}
		}
		return -1
	}
	for _, t := range c.decoder {
		if i := find(t.Content); i >= 0 {
			out[i] = t
		} else {
			out = append(out, t)
		}
	}
	if len(c.decoder) == 0 && len(c.added) > 0 {
		known := map[string]bool{}
		for _, t := range out {
			known[t.Content] = true
		}
		for _, content := range sortedKeys(c.added, func(a, b int32) int { return int(a) - int(b) }) {
			if !known[content] {
				out = append(out, addedToken{ID: c.added[content], Content: content, Normalized: true})
			}
		}
	}
	for _, s := range c.special {
		if find(s.Content) < 0 {
			out = append(out, s.addedToken)
		}
	}
	return out
}

// roles finds the special tokens: by the small files, else by what the template puts around a text, else by usual names
// among the special added tokens.
func (s *spec) roles(c *config, id func(string) (int32, bool)) {
	set := func(role string, id int32) {
		if _, ok := s.special[role]; !ok {
			s.special[role] = id
		}
	}
	if c != nil {
		for _, t := range c.special {
			if v, ok := id(t.Content); ok && t.role != "" {
				set(t.role, v)
			}
		}
	}
	if len(s.prefix) == 1 {
		set("bos_token", s.prefix[0])
	}
	if len(s.suffix) == 1 {
		set("eos_token", s.suffix[0])
	}
	usual := map[string]string{"<s>": "bos_token", "</s>": "eos_token", "<pad>": "pad_token", "[PAD]": "pad_token", "<unk>": "unk_token", "[UNK]": "unk_token"}
	for _, t := range s.added {
		if role, ok := usual[t.Content]; ok && t.Special {
			set(role, t.ID)
		}
	}
}
