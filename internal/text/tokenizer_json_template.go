package text

import (
	"encoding/json"
	"fmt"
)

// parsePostProcessor reads what is put around one text.
func (s *spec) parsePostProcessor(raw json.RawMessage, depth int) error {
	if absent(raw) {
		return nil
	}
	kind, err := typeOf(raw)
	if err != nil {
		return fmt.Errorf("post_processor: %w", err)
	}
	switch kind {
	case "ByteLevel": // moves offsets only
		return nil
	case "Sequence":
		var v struct {
			Type       string
			Processors []json.RawMessage
		}
		if err := sequence(raw, &v, depth); err != nil {
			return fmt.Errorf("post_processor %q: %w", kind, err)
		}
		for _, r := range v.Processors {
			if err := s.parsePostProcessor(r, depth+1); err != nil {
				return err
			}
		}
		return nil
	case "BertProcessing", "RobertaProcessing":
		var v struct {
			Type     string
			Sep, Cls [2]json.RawMessage
			Trim     bool `json:"trim_offsets"`
			Prefix   bool `json:"add_prefix_space"`
		}
		var cls, sep int32
		if err = strict(raw, &v); err == nil {
			if err = json.Unmarshal(v.Cls[1], &cls); err == nil {
				err = json.Unmarshal(v.Sep[1], &sep)
			}
		}
		s.prefix, s.suffix = append([]int32{cls}, s.prefix...), append(s.suffix, sep)
	case "TemplateProcessing":
		err = s.parseTemplate(raw)
	default:
		return unsupported("post_processor", kind, "Sequence, ByteLevel, BertProcessing, RobertaProcessing, TemplateProcessing")
	}
	if err != nil {
		return fmt.Errorf("post_processor %q: %w", kind, err)
	}
	return nil
}

func (s *spec) parseTemplate(raw json.RawMessage) error {
	type item struct {
		SpecialToken, Sequence *struct {
			ID     string `json:"id"`
			TypeID int    `json:"type_id"`
		}
	}
	var v struct {
		Type         string
		Single, Pair []item
		Special      map[string]struct {
			ID     string   `json:"id"`
			IDs    []int32  `json:"ids"`
			Tokens []string `json:"tokens"`
		} `json:"special_tokens"`
	}
	if err := strict(raw, &v); err != nil {
		return err
	}
	var before, after []int32
	seen := false
	for _, it := range v.Single {
		switch {
		case it.Sequence != nil && !seen:
			seen = true
		case it.SpecialToken != nil:
			t, ok := v.Special[it.SpecialToken.ID]
			if !ok {
				return fmt.Errorf("token %q is not among special_tokens", it.SpecialToken.ID)
			}
			if seen {
				after = append(after, t.IDs...)
			} else {
				before = append(before, t.IDs...)
			}
		default:
			return fmt.Errorf("the template of a single text is not one text between special tokens")
		}
	}
	if !seen {
		return fmt.Errorf("the template has no text")
	}
	s.prefix, s.suffix = append(before, s.prefix...), append(s.suffix, after...)
	return nil
}
