package text

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

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
		if err := sequence(raw, &v, depth); err != nil {
			return fail(err)
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
