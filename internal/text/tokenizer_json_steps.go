package text

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

func parseNormalizers(raw json.RawMessage, depth int) ([]normalizer, error) {
	if absent(raw) {
		return nil, nil
	}
	kind, err := typeOf(raw)
	if err != nil {
		return nil, fmt.Errorf("normalizer: %w", err)
	}
	fail := func(err error) ([]normalizer, error) { return nil, fmt.Errorf("normalizer %q: %w", kind, err) }
	switch kind {
	case "Sequence":
		var v struct {
			Type        string
			Normalizers []json.RawMessage
		}
		if err := sequence(raw, &v, depth); err != nil {
			return fail(err)
		}
		var all []normalizer
		for _, r := range v.Normalizers {
			n, err := parseNormalizers(r, depth+1)
			if err != nil {
				return nil, err
			}
			all = append(all, n...)
		}
		return all, nil
	case "Prepend":
		var v struct{ Type, Prepend string }
		if err := strict(raw, &v); err != nil {
			return fail(err)
		}
		return []normalizer{prepend(v.Prepend)}, nil
	case "Replace":
		var v struct {
			Type, Content string
			Pattern       struct{ String, Regex *string }
		}
		if err := strict(raw, &v); err != nil {
			return fail(err)
		}
		if v.Pattern.String != nil && *v.Pattern.String != "" {
			return []normalizer{replace{*v.Pattern.String, v.Content}}, nil
		}
		if v.Pattern.Regex != nil {
			switch [2]string{*v.Pattern.Regex, v.Content} {
			case [2]string{regexUnassigned, ""}:
				return []normalizer{dropUnassigned{}}, nil
			case [2]string{regexLeading, ""}:
				return []normalizer{trimLeading{}}, nil
			case [2]string{regexRuns, " "}:
				return []normalizer{squeeze{}}, nil
			case [2]string{regexTrailing, ""}:
				return []normalizer{trimTrailing{}}, nil
			}
			return nil, fmt.Errorf("normalizer \"Replace\" with the regular expression %q is not supported", *v.Pattern.Regex)
		}
		return fail(fmt.Errorf("no pattern"))
	case "BertNormalizer":
		v := struct {
			Type         string
			CleanText    bool  `json:"clean_text"`
			Chinese      bool  `json:"handle_chinese_chars"`
			StripAccents *bool `json:"strip_accents"`
			Lowercase    bool  `json:"lowercase"`
		}{CleanText: true, Chinese: true, Lowercase: true}
		if err := strict(raw, &v); err != nil {
			return fail(err)
		}
		return []normalizer{bert{clean: v.CleanText, chinese: v.Chinese, accents: boolOr(v.StripAccents, v.Lowercase), lower: v.Lowercase, stripAccents: v.StripAccents}}, nil
	}
	return nil, unsupported("normalizer", kind, "Sequence, Prepend, Replace, BertNormalizer")
}

func parsePretokenizers(raw json.RawMessage, depth int) ([]pretokenizer, error) {
	if absent(raw) {
		return nil, nil
	}
	kind, err := typeOf(raw)
	if err != nil {
		return nil, fmt.Errorf("pre_tokenizer: %w", err)
	}
	fail := func(err error) ([]pretokenizer, error) {
		return nil, fmt.Errorf("pre_tokenizer %q: %w", kind, err)
	}
	switch kind {
	case "Sequence":
		var v struct {
			Type          string
			Pretokenizers []json.RawMessage
		}
		if err := sequence(raw, &v, depth); err != nil {
			return fail(err)
		}
		var all []pretokenizer
		for _, r := range v.Pretokenizers {
			p, err := parsePretokenizers(r, depth+1)
			if err != nil {
				return nil, err
			}
			all = append(all, p...)
		}
		return all, nil
	case "ByteLevel":
		v := byteLevelJSON{Prefix: true, Pattern: true}
		if err := strict(raw, &v); err != nil {
			return fail(err)
		}
		return []pretokenizer{byteLevel{v.Prefix, v.Pattern}}, nil
	case "Metaspace":
		m, err := parseMetaspace(raw)
		if err != nil {
			return fail(err)
		}
		return []pretokenizer{m}, nil
	case "Digits":
		var v struct {
			Type       string
			Individual bool `json:"individual_digits"`
		}
		if err := strict(raw, &v); err != nil {
			return fail(err)
		}
		return []pretokenizer{digits{v.Individual}}, nil
	case "BertPreTokenizer":
		var v struct{ Type string }
		if err := strict(raw, &v); err != nil {
			return fail(err)
		}
		return []pretokenizer{bertWords{}}, nil
	}
	return nil, unsupported("pre_tokenizer", kind, "Sequence, ByteLevel, Metaspace, Digits, BertPreTokenizer")
}

type byteLevelJSON struct {
	Type    string
	Prefix  bool `json:"add_prefix_space"`
	Trim    bool `json:"trim_offsets"` // of no effect on ids
	Pattern bool `json:"use_regex"`
}

func parseMetaspace(raw json.RawMessage) (metaspace, error) {
	v := struct {
		Type        string
		Replacement string
		StrRep      string  `json:"str_rep"`          // old files; the same as replacement
		Prefix      *bool   `json:"add_prefix_space"` // old files
		Scheme      *string `json:"prepend_scheme"`
		Split       *bool
	}{}
	if err := strict(raw, &v); err != nil {
		return metaspace{}, err
	}
	if utf8.RuneCountInString(v.Replacement) != 1 || v.StrRep != "" && v.StrRep != v.Replacement {
		return metaspace{}, fmt.Errorf("replacement %q is not one character", v.Replacement)
	}
	m := metaspace{replacement: v.Replacement, scheme: "always", cut: boolOr(v.Split, true)}
	if v.Scheme != nil {
		m.scheme = *v.Scheme
	}
	if !boolOr(v.Prefix, true) {
		if v.Scheme != nil && m.scheme != "never" {
			return m, fmt.Errorf("add_prefix_space false with prepend_scheme %q", m.scheme)
		}
		m.scheme = "never"
	}
	if m.scheme != "always" && m.scheme != "first" && m.scheme != "never" {
		return m, fmt.Errorf("prepend_scheme %q is not supported (have: always, first, never)", m.scheme)
	}
	return m, nil
}
