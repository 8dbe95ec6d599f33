package text

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"
)

// spec is what a reader of some format found; build makes the chain of it.
type spec struct {
	ids            map[string]int32 // the vocabulary's own tokens
	added          []addedToken     // with their ids
	norm           []normalizer
	pre            []pretokenizer
	model          model
	identity       any // what decides the model's ids, if its json does not say it
	decode         decoder
	prefix, suffix []int32
	special        map[string]int32 // role, such as "bos_token", → id
	splitSpecial   bool             // special tokens are not looked for in text
	keepBytes      bool             // text need not be UTF-8
	seed           bool             // white space around added tokens is what Python's strip takes
}

// maxVocab bounds ids. Vocabularies of language models end at some 300,000.
const maxVocab = 1 << 22

func build(s *spec) (*chain, error) {
	c := &chain{norm: s.norm, pre: s.pre, model: s.model, decode: s.decode, spec: s}
	size := 0
	for token, id := range s.ids {
		if err := checkToken(token, id, len(s.ids)+len(s.added)); err != nil {
			return nil, err
		}
		size = max(size, int(id)+1)
	}
	for _, t := range s.added {
		if err := checkToken(t.Content, t.ID, len(s.ids)+len(s.added)); err != nil {
			return nil, err
		}
		size = max(size, int(t.ID)+1)
	}
	c.names = names{ids: make(map[string]int32, size), tokens: make([]string, size)}
	put := func(token string, id int32) error {
		if had := c.names.tokens[id]; had != "" && had != token {
			return fmt.Errorf("tokens %q and %q have the same id %d", had, token, id)
		}
		if had, ok := c.names.ids[token]; ok && had != id {
			return fmt.Errorf("token %q has the ids %d and %d", token, had, id)
		}
		c.names.tokens[id], c.names.ids[token] = token, id
		return nil
	}
	for token, id := range s.ids {
		if err := put(token, id); err != nil {
			return nil, err
		}
	}
	for _, t := range s.added {
		if err := put(t.Content, t.ID); err != nil {
			return nil, err
		}
	}
	if err := c.splitters(); err != nil {
		return nil, err
	}
	role := func(names ...string) int32 {
		for _, n := range names {
			if id, ok := s.special[n]; ok {
				return id
			}
		}
		return -1
	}
	c.vocab = Vocab{Size: size, Pad: role("pad_token"), BOS: role("bos_token", "cls_token"), EOS: role("eos_token", "sep_token"), Unk: role("unk_token"),
		Prefix: s.prefix, Suffix: s.suffix}
	digest, err := c.digest()
	c.vocab.Digest = digest
	return c, err
}

// checkToken also refuses ids that would need far more memory than the file that names them.
func checkToken(token string, id int32, n int) error {
	if token == "" {
		return fmt.Errorf("token with id %d is empty", id)
	}
	if !utf8.ValidString(token) {
		return fmt.Errorf("token %q (id %d) is not UTF-8", token, id)
	}
	if id < 0 || int(id) >= maxVocab || int(id) > 4*n+4096 {
		return fmt.Errorf("token %q: id %d of %d tokens is out of range", token, id, n)
	}
	return nil
}

func (c *chain) splitters() error {
	space := whiteSpace
	if c.spec.seed {
		space = pythonSpace
	}
	var raw, normalized []addedToken
	var rawTexts, normalizedTexts []string
	total := 0
	for _, t := range c.spec.added {
		if total += len(t.Content); total > maxTrie {
			return fmt.Errorf("added tokens of more than %d bytes", maxTrie)
		}
		if c.spec.splitSpecial && t.Special {
			continue
		}
		if !t.Normalized {
			raw, rawTexts = append(raw, t), append(rawTexts, t.Content)
			continue
		}
		text := t.Content
		for _, n := range c.norm {
			text = n.apply(text)
		}
		if text == "" {
			return fmt.Errorf("added token %q: nothing is left of it after normalization", t.Content)
		}
		normalized, normalizedTexts = append(normalized, t), append(normalizedTexts, text)
	}
	c.raw, c.normalized = newSplitter(raw, rawTexts, space), newSplitter(normalized, normalizedTexts, space)
	return nil
}

// digest covers everything that decides ids, in a form that does not depend on the order of the file.
func (c *chain) digest() (string, error) {
	s := c.spec
	identity := s.identity
	if identity == nil {
		var err error
		if identity, err = s.model.json(c.base()); err != nil {
			return "", err
		}
	}
	b, err := marshal([]any{"sower text 1", normalizersJSON(s.norm), pretokenizersJSON(s.pre), identity, sortedByID(s.added), s.splitSpecial, s.keepBytes, s.seed})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// base has the vocabulary's own tokens by id.
func (c *chain) base() []string {
	n := 0
	for _, id := range c.spec.ids {
		n = max(n, int(id)+1)
	}
	base := make([]string, n)
	for token, id := range c.spec.ids {
		base[id] = token
	}
	return base
}

func normalizersJSON(list []normalizer) any {
	var all []any
	for _, n := range list {
		all = append(all, n.json()...)
	}
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return object{"type": "Sequence", "normalizers": all}
}

func pretokenizersJSON(list []pretokenizer) any {
	switch len(list) {
	case 0:
		return nil
	case 1:
		return list[0].json()
	}
	all := make([]any, len(list))
	for i, p := range list {
		all[i] = p.json()
	}
	return object{"type": "Sequence", "pretokenizers": all}
}

// vocabulary is written as an object from token to id, in the order of ids.
type vocabulary []string

// MarshalJSON implements json.Marshaler.
func (v vocabulary) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for id, token := range v {
		if token == "" {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		key, err := marshal(token)
		if err != nil {
			return nil, err
		}
		b = strconv.AppendInt(append(append(b, key...), ':'), int64(id), 10)
	}
	return append(b, '}'), nil
}

// marshal is json.Marshal without escapes for HTML.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// assign gives ids to added tokens as the tokenizers library does on reading: that of the vocabulary, else the next one
// behind all. What the file says is not asked; stated tells of each difference.
func assign(ids map[string]int32, tokens []addedToken, stated func(t addedToken, got int32)) []addedToken {
	var out []addedToken
	at := map[string]int{}
	highest := int32(-1)
	for _, t := range tokens {
		if t.Content == "" {
			continue
		}
		want := t.ID
		if i, ok := at[t.Content]; ok {
			t.ID = out[i].ID
			out[i] = t
			continue
		}
		if id, ok := ids[t.Content]; ok {
			t.ID = id
		} else {
			t.ID = max(highest+1, int32(len(ids)))
		}
		if want >= 0 && want != t.ID {
			stated(t, want)
		}
		highest = max(highest, t.ID)
		at[t.Content] = len(out)
		out = append(out, t)
	}
	return out
}

func sortedKeys[V any](m map[string]V, by func(a, b V) int) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int { return cmp.Or(by(m[a], m[b]), cmp.Compare(a, b)) })
	return keys
}
