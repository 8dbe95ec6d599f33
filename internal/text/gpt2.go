package text

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// parseGPT2 reads GPT-2's pair of files: vocab.json is an object from token to id, merges.txt has two tokens a line, best
// pair first, behind a line "#version: …". OPT comes in the same form.
func parseGPT2(vocab, merges []byte, c *config, seed bool) (*spec, error) {
	s := &spec{seed: seed, splitSpecial: c.values.SplitSpecial}
	if err := json.Unmarshal(vocab, &s.ids); err != nil {
		return nil, fmt.Errorf("vocab.json: %w", err)
	}
	var list [][2]string
	for i, line := range bytes.Split(merges, []byte("\n")) {
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 || bytes.HasPrefix(line, []byte("#version")) {
			continue
		}
		a, b, ok := bytes.Cut(line, []byte(" "))
		if !ok || bytes.IndexByte(b, ' ') >= 0 {
			return nil, fmt.Errorf("merges.txt: line %d is not two tokens", i+1)
		}
		list = append(list, [2]string{string(a), string(b)})
	}
	prefix := boolOr(c.values.AddPrefixSpace, false)
	if prefix && seed {
		return nil, errors.New("add_prefix_space is not supported with rules seed")
	}
	return s, s.byteLevel(list, c, prefix, seed)
}

// byteLevel completes a spec that has its vocabulary.
func (s *spec) byteLevel(merges [][2]string, c *config, prefix, seed bool) error {
	m, err := newBPE(s.ids, merges, nil, false, false, false, true)
	if err != nil {
		return err
	}
	var defaults []specialToken
	if _, ok := s.ids["<|endoftext|>"]; ok {
		for _, role := range []string{"bos_token", "eos_token", "unk_token"} {
			defaults = append(defaults, specialToken{addedToken: addedToken{Content: "<|endoftext|>"}, role: role})
		}
	}
	if s.added, s.special, err = c.slowAdded(s.ids, defaults, true, seed); err != nil {
		return err
	}
	s.model, s.pre = m, []pretokenizer{byteLevel{prefix: prefix, pattern: true}}
	s.decode = steps{decodeByteLevel{}}
	if seed {
		s.decode = &slowDecoder{outside(s.ids, s.added), joinByteLevel, steps{decodeByteLevel{}}}
	}
	return s.ends(c, "bos_token", false, "eos_token")
}

// ends sets what is put around a text by add_bos_token and add_eos_token.
func (s *spec) ends(c *config, bos string, addBOS bool, eos string) error {
	if boolOr(c.values.AddBOS, addBOS) {
		id, ok := s.special[bos]
		if !ok {
			return fmt.Errorf("add_bos_token is set, but there is no %s", bos)
		}
		s.prefix = []int32{id}
	}
	if boolOr(c.values.AddEOS, false) {
		id, ok := s.special[eos]
		if !ok {
			return fmt.Errorf("add_eos_token is set, but there is no %s", eos)
		}
		s.suffix = []int32{id}
	}
	return nil
}
