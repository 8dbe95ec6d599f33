package text

import (
	"context"
	"errors"
	"fmt"
	"path"

	"sower/internal/blob"
)

// WriteFolder writes a tokenizer so that AutoTokenizer reads it with the same ids: tokenizer.json, tokenizer_config.json
// and special_tokens_map.json under dir. It works for every tokenizer of this package; SentencePiece models whose rules
// tokenizer.json cannot express are refused with the reason. The warnings name texts for which AutoTokenizer's ids differ.
func WriteFolder(ctx context.Context, b *blob.Bucket, dir string, t Tokenizer) (warnings []string, err error) {
	files, warnings, err := folderFiles(t)
	if err != nil {
		return nil, fmt.Errorf("text: write tokenizer: %w", err)
	}
	for _, f := range files {
		if err := b.WriteAll(ctx, path.Join(dir, f.name), f.data); err != nil {
			return nil, fmt.Errorf("text: write tokenizer: %w", err)
		}
	}
	return warnings, nil
}

type folderFile struct {
	name string
	data []byte
}

func folderFiles(t Tokenizer) ([]folderFile, []string, error) {
	c, err := chainOf(t)
	if err != nil {
		return nil, nil, err
	}
	whole, warnings, err := c.tokenizerJSON()
	if err != nil {
		return nil, nil, err
	}
	special := object{}
	for role, id := range c.spec.special {
		special[role] = c.names.tokens[id]
	}
	// The general class takes the file as it is. A class that is named after a model rebuilds parts of it.
	conf := object{"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": false, "model_max_length": 1000000000000000019884624838656.0}
	for role, token := range special {
		conf[role] = token
	}
	if c.spec.splitSpecial {
		conf["split_special_tokens"] = true
	}
	for _, p := range c.pre {
		if b, ok := p.(byteLevel); ok && b.prefix {
			conf["add_prefix_space"] = true // else AutoTokenizer would turn it off
		}
	}
	var files []folderFile
	for _, f := range []struct {
		name string
		v    any
	}{{"tokenizer.json", whole}, {"tokenizer_config.json", conf}, {"special_tokens_map.json", special}} {
		data, err := marshal(f.v)
		if err != nil {
			return nil, nil, err
		}
		files = append(files, folderFile{f.name, append(data, '\n')})
	}
	return files, warnings, c.readsBack(files[0].data)
}

// tokenizerJSON is the chain in the terms of the tokenizers library.
func (c *chain) tokenizerJSON() (any, []string, error) {
	s := c.spec
	var warnings []string
	for _, n := range s.norm {
		if z, ok := n.(*spNormalizer); ok {
			if err := z.expressible(); err != nil {
				return nil, nil, err
			}
		}
		if b, ok := n.(bert); ok && b.slow {
			warnings = append(warnings, "rules of BertTokenizer: AutoTokenizer's classes of rare characters differ where their Unicode versions do")
		}
	}
	if u, ok := s.model.(*unigram); ok && u.single && u.byteFallback {
		warnings = append(warnings, "unigram model with bytes: AutoTokenizer reads text that spells a byte token, as <0x41>, as that token")
	}
	if u, ok := s.model.(*unigram); ok && u.single {
		warnings = append(warnings, "unigram model: AutoTokenizer adds scores in double precision, which may decide otherwise between cuts of equal score")
	}
	for _, t := range s.added {
		if s.seed && (t.LStrip || t.RStrip) {
			warnings = append(warnings, "rules seed: AutoTokenizer keeps the control characters U+001C to U+001F beside an added token, which are dropped here")
			break
		}
	}
	if s.keepBytes {
		warnings = append(warnings, "bytes: AutoTokenizer takes UTF-8 only")
	}

	base := fill(c.base())
	added := sortedByID(s.added)
	next, inOrder := len(base), true
	for _, t := range added {
		if _, ok := s.ids[t.Content]; !ok {
			inOrder = inOrder && int(t.ID) == next
			next++
		}
	}
	if !inOrder {
		// The library numbers added tokens from the end of the vocabulary, whatever the file says. Tokens that are part of
		// the vocabulary keep their place.
		base = append([]string(nil), c.names.tokens...)
		base = fill(base)
	}
	m, err := s.model.json(base)
	if err != nil {
		return nil, nil, err
	}
	if added == nil {
		added = []addedToken{}
	}
	return object{"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": added, "normalizer": normalizersJSON(s.norm),
		"pre_tokenizer": pretokenizersJSON(s.pre), "post_processor": c.template(), "decoder": s.decode.json(), "model": m}, warnings, nil
}

// fill gives ids that no token has a name that no text can spell: words hold no spaces.
func fill(tokens []string) []string {
	for id, t := range tokens {
		if t == "" {
			tokens[id] = fmt.Sprintf("no token %d", id)
		}
	}
	return tokens
}

func (c *chain) template() any {
	if len(c.vocab.Prefix)+len(c.vocab.Suffix) == 0 {
		return nil
	}
	special := object{}
	item := func(id int32, typeID int) any {
		token := c.names.tokens[id]
		special[token] = object{"id": token, "ids": []int32{id}, "tokens": []string{token}}
		return object{"SpecialToken": object{"id": token, "type_id": typeID}}
	}
	var single, pair []any
	for typeID, text := range []string{"A", "B"} {
		for _, id := range c.vocab.Prefix {
			pair = append(pair, item(id, typeID))
		}
		pair = append(pair, object{"Sequence": object{"id": text, "type_id": typeID}})
		for _, id := range c.vocab.Suffix {
			pair = append(pair, item(id, typeID))
		}
		if typeID == 0 {
			single = append(single, pair...)
		}
	}
	return object{"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special}
}

// readsBack makes sure that what was written means the same to this package.
func (c *chain) readsBack(p []byte) error {
	s, _, err := parseTokenizerJSON(p, nil)
	if err != nil {
		return fmt.Errorf("tokenizer.json: %w", err)
	}
	back, err := build(s)
	if err != nil {
		return fmt.Errorf("tokenizer.json: %w", err)
	}
	for id, token := range c.names.tokens {
		if token != "" && back.names.ids[token] != int32(id) {
			return fmt.Errorf("tokenizer.json: token %q would have id %d, not %d", token, back.names.ids[token], id)
		}
	}
	if back.vocab.Size != c.vocab.Size {
		return errors.New("tokenizer.json: it would have another size")
	}
	return nil
}
