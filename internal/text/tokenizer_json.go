package text

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
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

// maxNested bounds sequences inside sequences.
const maxNested = 8

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
		if err := strict(raw, &v); err != nil || depth == maxNested {
			return fail(fmt.Errorf("nested too deep, or %w", err))
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
		if err := strict(raw, &v); err != nil || depth == maxNested {
			return fail(fmt.Errorf("nested too deep, or %w", err))
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

func parseDecoder(raw json.RawMessage) (steps, error) {
	return decoderSteps(raw, 0)
}

func decoderSteps(raw json.RawMessage, depth int) (steps, error) {
	if absent(raw) {
		return nil, nil
	}
	kind, err := typeOf(raw)
	if err != nil {
		return nil, fmt.Errorf("decoder: %w", err)
	}
	fail := func(err error) (steps, error) { return nil, fmt.Errorf("decoder %q: %w", kind, err) }
	var step decodeStep
	switch kind {
	case "Sequence":
		var v struct {
			Type     string
			Decoders []json.RawMessage
		}
		if err := strict(raw, &v); err != nil || depth == maxNested {
			return fail(fmt.Errorf("nested too deep, or %w", err))
		}
		all := steps{}
		for _, r := range v.Decoders {
			d, err := decoderSteps(r, depth+1)
			if err != nil {
				return nil, err
			}
			all = append(all, d...)
		}
		if len(all) == 0 {
			all = steps{decodeFuse{}}
		}
		return all, nil
	case "ByteLevel":
		var v byteLevelJSON
		err, step = strict(raw, &v), decodeByteLevel{}
	case "Replace":
		var v struct {
			Type, Content string
			Pattern       struct{ String *string }
		}
		if err = strict(raw, &v); err == nil && (v.Pattern.String == nil || *v.Pattern.String == "") {
			err = fmt.Errorf("no pattern")
		}
		if err == nil {
			step = decodeReplace{*v.Pattern.String, v.Content}
		}
	case "ByteFallback":
		var v struct{ Type string }
		err, step = strict(raw, &v), decodeBytes{}
	case "Fuse":
		var v struct{ Type string }
		err, step = strict(raw, &v), decodeFuse{}
	case "Strip":
		var v struct {
			Type, Content string
			Start, Stop   int
		}
		if err = strict(raw, &v); err == nil && (utf8.RuneCountInString(v.Content) != 1 || v.Start < 0 || v.Stop < 0) {
			err = fmt.Errorf("content %q, start %d, stop %d", v.Content, v.Start, v.Stop)
		}
		if err == nil {
			r, _ := utf8.DecodeRuneInString(v.Content)
			step = decodeStrip{r, v.Start, v.Stop}
		}
	case "Metaspace":
		var m metaspace
		m, err = parseMetaspace(raw)
		step = decodeMetaspace(m)
	case "WordPiece":
		v := struct {
			Type, Prefix string
			Cleanup      bool
		}{Prefix: "##", Cleanup: true}
		err = strict(raw, &v)
		step = decodeWordPiece{v.Prefix, v.Cleanup}
	default:
		return nil, unsupported("decoder", kind, "Sequence, ByteLevel, Replace, ByteFallback, Fuse, Strip, Metaspace, WordPiece")
	}
	if err != nil {
		return fail(err)
	}
	return steps{step}, nil
}

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
		if err := strict(raw, &v); err != nil || depth == maxNested {
			return fmt.Errorf("post_processor %q: nested too deep, or %w", kind, err)
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
