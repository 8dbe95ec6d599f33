package text

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

const (
	// maxFile bounds what is read into memory at once. The largest published tokenizer.json has about 35 MB.
	maxFile = 128 << 20
	// maxTrie bounds the bytes of the tokens that a trie is made of: it takes some 30 bytes for each.
	maxTrie = 16 << 20
)

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(p) > maxFile {
		err = fmt.Errorf("larger than %d bytes", maxFile)
	}
	return p, err
}

// roles are the special tokens that configuration files name, in the order in which the library adds them.
var roles = []string{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}

// specialToken is a special token as special_tokens_map.json or tokenizer_config.json has it: a text, or an object.
type specialToken struct {
	addedToken
	role  string // "" for further ones
	plain bool   // a text
}

// config is what the small files beside a vocabulary say.
type config struct {
	special  []specialToken
	added    map[string]int32 // added_tokens.json
	decoder  []addedToken     // added_tokens_decoder of tokenizer_config.json
	values   configValues
	files    []string
	mapPlain map[string]bool // roles that special_tokens_map.json gives as text
}

// configValues are the keys of tokenizer_config.json that change ids. Spelling and defaults are the library's.
type configValues struct {
	Legacy         *bool                      `json:"legacy"`
	AddBOS         *bool                      `json:"add_bos_token"`
	AddEOS         *bool                      `json:"add_eos_token"`
	AddPrefixSpace *bool                      `json:"add_prefix_space"`
	SplitSpecial   bool                       `json:"split_special_tokens"`
	DoLowerCase    *bool                      `json:"do_lower_case"`
	DoBasic        *bool                      `json:"do_basic_tokenize"`
	Chinese        *bool                      `json:"tokenize_chinese_chars"`
	StripAccents   *bool                      `json:"strip_accents"`
	NeverSplit     json.RawMessage            `json:"never_split"`
	AddedDecoder   map[string]json.RawMessage `json:"added_tokens_decoder"`
	Class          string                     `json:"tokenizer_class"`
	SPArgs         map[string]json.RawMessage `json:"sp_model_kwargs"`
}

func boolOr(p *bool, or bool) bool {
	if p == nil {
		return or
	}
	return *p
}

// readConfig reads the small files of a folder; each of them may be missing.
func readConfig(dir string) (*config, error) {
	c := &config{mapPlain: map[string]bool{}}
	roleOf := map[string]json.RawMessage{}
	var more json.RawMessage
	for _, name := range []string{"tokenizer_config.json", "special_tokens_map.json"} {
		var all map[string]json.RawMessage
		found, err := c.read(dir, name, &all)
		if err != nil {
			return nil, err
		}
		if !found {
			continue
		}
		if name == "tokenizer_config.json" {
			if _, err := c.read(dir, name, &c.values); err != nil {
				return nil, err
			}
			c.files = c.files[:len(c.files)-1]
		}
		for _, role := range roles {
			if raw, ok := all[role]; ok && string(raw) != "null" {
				roleOf[role] = raw
				c.mapPlain[role] = name == "special_tokens_map.json" && raw[0] == '"'
			}
		}
		if raw, ok := all["additional_special_tokens"]; ok && string(raw) != "null" {
			more = raw
		}
	}
	for _, role := range roles {
		if raw, ok := roleOf[role]; ok {
			t, err := parseSpecial(raw)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", role, err)
			}
			t.role = role
			c.special = append(c.special, t)
		}
	}
	var list []json.RawMessage
	if more != nil {
		if err := json.Unmarshal(more, &list); err != nil {
			return nil, fmt.Errorf("additional_special_tokens: %w", err)
		}
	}
	for _, raw := range list {
		t, err := parseSpecial(raw)
		if err != nil {
			return nil, fmt.Errorf("additional_special_tokens: %w", err)
		}
		c.special = append(c.special, t)
	}
	for key, raw := range c.values.AddedDecoder {
		id, err := strconv.ParseInt(key, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("tokenizer_config.json: added_tokens_decoder: key %q is not an id", key)
		}
		var t addedToken
		if err := json.Unmarshal(raw, &t); err != nil {
			return nil, fmt.Errorf("tokenizer_config.json: added_tokens_decoder: %s: %w", key, err)
		}
		t.ID = int32(id)
		c.decoder = append(c.decoder, t)
	}
	c.decoder = sortedByID(c.decoder)
	_, err := c.read(dir, "added_tokens.json", &c.added)
	return c, err
}

func (c *config) read(dir, name string, into any) (bool, error) {
	p, err := readFile(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(p, into)
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	c.files = append(c.files, name)
	return true, nil
}

func parseSpecial(raw json.RawMessage) (specialToken, error) {
	t := specialToken{plain: true}
	if json.Unmarshal(raw, &t.Content) != nil {
		t.plain = false
		if err := json.Unmarshal(raw, &t.addedToken); err != nil {
			return t, err
		}
	}
	if t.Content == "" {
		return t, errors.New("empty")
	}
	t.Special, t.ID = true, -1
	return t, nil
}

// slowAdded lists the added tokens of a folder without tokenizer.json, as the tokenizers written in Python find them. With
// seed, white space beside a token is dropped unless an object says otherwise, which for special tokens that the class
// itself makes objects of (wraps) is only what special_tokens_map.json gives as plain text.
func (c *config) slowAdded(ids map[string]int32, defaults []specialToken, wraps, seed bool) ([]addedToken, map[string]int32, error) {
	special := c.special
	for _, d := range defaults {
		known := false
		for _, t := range c.special {
			known = known || t.role == d.role
		}
		if !known {
			d.Special, d.ID, d.plain = true, -1, true
			special = append(special, d)
		}
	}
	var tokens []addedToken
	at := map[string]int{}
	add := func(t addedToken) {
		if i, ok := at[t.Content]; ok {
			t.Special = t.Special || tokens[i].Special
			if t.ID < 0 {
				t.ID = tokens[i].ID
			}
			tokens[i] = t
			return
		}
		at[t.Content] = len(tokens)
		tokens = append(tokens, t)
	}
	for _, t := range c.decoder {
		t.Normalized = false
		if seed && !t.Special {
			t.LStrip, t.RStrip = true, true
		}
		add(t)
	}
	for _, content := range sortedKeys(c.added, cmp.Compare[int32]) {
		add(addedToken{ID: c.added[content], Content: content, LStrip: seed, RStrip: seed})
	}
	for _, s := range special {
		t := s.addedToken
		t.Normalized = false
		if s.plain && seed && (!wraps || s.role == "" || c.mapPlain[s.role]) {
			t.LStrip, t.RStrip = true, true
		}
		add(t)
	}
	next := int32(len(ids))
	for _, id := range ids {
		next = max(next, id+1)
	}
	for i := range tokens {
		t := &tokens[i]
		if id, ok := ids[t.Content]; ok {
			if t.ID >= 0 && t.ID != id {
				return nil, nil, fmt.Errorf("added token %q has id %d, and %d in the vocabulary", t.Content, t.ID, id)
			}
			t.ID = id
		}
		next = max(next, t.ID+1)
	}
	roleIDs := map[string]int32{}
	for i := range tokens {
		if tokens[i].ID < 0 {
			tokens[i].ID = next
			next++
		}
	}
	for _, s := range special {
		if s.role != "" {
			roleIDs[s.role] = tokens[at[s.Content]].ID
		}
	}
	return tokens, roleIDs, nil
}

// outside has the added tokens that the vocabulary file itself lacks.
func outside(ids map[string]int32, added []addedToken) map[int32]bool {
	m := map[int32]bool{}
	for _, t := range added {
		if _, ok := ids[t.Content]; !ok {
			m[t.ID] = true
		}
	}
	return m
}

// specialIDs has the ids of the special tokens.
func specialIDs(added []addedToken) map[int32]bool {
	m := map[int32]bool{}
	for _, t := range added {
		if t.Special {
			m[t.ID] = true
		}
	}
	return m
}

func addedIDs(added []addedToken) map[int32]bool {
	m := map[int32]bool{}
	for _, t := range added {
		m[t.ID] = true
	}
	return m
}
