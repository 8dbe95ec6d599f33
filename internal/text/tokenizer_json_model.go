package text

import (
	"encoding/json"
	"fmt"
	"strings"
)

func (s *spec) parseModel(raw json.RawMessage, rawWords bool) error {
	if absent(raw) {
		return fmt.Errorf("missing")
	}
	var has map[string]json.RawMessage
	if err := json.Unmarshal(raw, &has); err != nil {
		return err
	}
	kind, err := typeOf(raw)
	if err != nil {
		return err
	}
	if kind == "" { // files of the first versions
		switch {
		case has["merges"] != nil:
			kind = "BPE"
		case has["max_input_chars_per_word"] != nil:
			kind = "WordPiece"
		}
	}
	if rawWords && kind != "BPE" {
		return fmt.Errorf("%q with pre_tokenizer \"ByteLevel\" is not supported", kind)
	}
	switch kind {
	case "BPE":
		return s.parseBPE(raw, rawWords)
	case "WordPiece":
		v := struct {
			Type   string
			Unk    string `json:"unk_token"`
			Prefix string `json:"continuing_subword_prefix"`
			Max    int    `json:"max_input_chars_per_word"`
			Vocab  map[string]int32
		}{Unk: "[UNK]", Prefix: "##", Max: 100}
		if err := strict(raw, &v); err != nil {
			return err
		}
		s.ids = v.Vocab
		s.model, err = newWordPiece(v.Vocab, v.Prefix, v.Unk, v.Max)
		return err
	case "Unigram":
		return s.parseUnigram(raw)
	}
	return unsupported("model", kind, "BPE, WordPiece, Unigram")
}

func (s *spec) parseBPE(raw json.RawMessage, rawWords bool) error {
	var v struct {
		Type         string
		Dropout      *float64
		Unk          *string `json:"unk_token"`
		Prefix       *string `json:"continuing_subword_prefix"`
		Suffix       *string `json:"end_of_word_suffix"`
		Fuse         bool    `json:"fuse_unk"`
		ByteFallback bool    `json:"byte_fallback"`
		IgnoreMerges bool    `json:"ignore_merges"`
		Vocab        map[string]int32
		Merges       json.RawMessage
	}
	if err := strict(raw, &v); err != nil {
		return err
	}
	switch {
	case v.Dropout != nil && *v.Dropout != 0:
		return fmt.Errorf("dropout %v is not supported: it makes ids random", *v.Dropout)
	case v.Prefix != nil && *v.Prefix != "":
		return fmt.Errorf("continuing_subword_prefix %q is not supported", *v.Prefix)
	case v.Suffix != nil && *v.Suffix != "":
		return fmt.Errorf("end_of_word_suffix %q is not supported", *v.Suffix)
	}
	var merges [][2]string
	if err := json.Unmarshal(v.Merges, &merges); err != nil {
		var lines []string
		if json.Unmarshal(v.Merges, &lines) != nil {
			return fmt.Errorf("merges: %w", err)
		}
		merges = make([][2]string, len(lines))
		for i, line := range lines {
			a, b, ok := strings.Cut(line, " ")
			if !ok || strings.Contains(b, " ") {
				return fmt.Errorf("merge %d: %q is not two tokens", i, line)
			}
			merges[i] = [2]string{a, b}
		}
	}
	if v.Unk != nil {
		if _, ok := v.Vocab[*v.Unk]; !ok && *v.Unk == "" && rawWords {
			v.Unk = nil // GPT-2's own file; nothing is unknown there
		}
	}
	s.ids = v.Vocab
	m, err := newBPE(v.Vocab, merges, v.Unk, v.Fuse, v.ByteFallback, v.IgnoreMerges, rawWords)
	s.model = m
	return err
}

func (s *spec) parseUnigram(raw json.RawMessage) error {
	var v struct {
		Type         string
		Unk          *int32 `json:"unk_id"`
		ByteFallback bool   `json:"byte_fallback"`
		Vocab        [][2]json.RawMessage
	}
	if err := strict(raw, &v); err != nil {
		return err
	}
	if v.Unk == nil || *v.Unk < 0 || int(*v.Unk) >= len(v.Vocab) {
		return fmt.Errorf("unk_id is missing or out of range")
	}
	s.ids = make(map[string]int32, len(v.Vocab))
	find, scores := make([]string, len(v.Vocab)), make([]float64, len(v.Vocab))
	for i, e := range v.Vocab {
		if err := json.Unmarshal(e[0], &find[i]); err != nil {
			return fmt.Errorf("token %d: %w", i, err)
		}
		if err := json.Unmarshal(e[1], &scores[i]); err != nil {
			return fmt.Errorf("score %d: %w", i, err)
		}
		if _, ok := s.ids[find[i]]; ok || find[i] == "" {
			return fmt.Errorf("token %d: %q is empty or there twice", i, find[i])
		}
		s.ids[find[i]] = int32(i)
	}
	m, err := newUnigram(find, scores, *v.Unk)
	if err != nil {
		return err
	}
	if m.byteFallback = v.ByteFallback; v.ByteFallback {
		for b := range m.fallback {
			id, ok := s.ids[fmt.Sprintf("<0x%02X>", b)]
			if !ok {
				return fmt.Errorf("byte_fallback without a token <0x%02X> is not supported", b)
			}
			m.fallback[b] = id
		}
	}
	s.model = m
	return nil
}
