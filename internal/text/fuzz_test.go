package text

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"sower/internal/golden"
)

var probes = []string{"", " a  cat's 12 seeds\n猫", "<tok><s>ab<img_00003> word", "\xff\xe2\x82é\x00▁▁ <0x41>"}

// try builds what a parser accepted, encodes with it and writes it: nothing may panic, and every id must have a token.
func try(t *testing.T, s *spec, err error) {
	if err != nil {
		return
	}
	c, err := build(s)
	if err != nil {
		return
	}
	for _, p := range append(probes, strings.Repeat("ab ▁", 20)) {
		ids := c.Encode(nil, p)
		for _, id := range ids {
			if _, ok := c.Token(id); !ok {
				t.Fatalf("%q: id %d has no token", p, id)
			}
		}
		c.Decode(ids)
	}
	if len(c.names.tokens) < 1<<12 {
		_, _, _ = folderFiles(c)
	}
}

// smallSP is a model file of a few pieces: long seeds make the fuzzer slow.
func smallSP(kind byte, pieces ...string) []byte {
	p := []byte{}
	for i, text := range append([]string{"<unk>", "<s>"}, pieces...) {
		body := append([]byte{1<<3 | 2, byte(len(text))}, text...)
		body = binary.LittleEndian.AppendUint32(append(body, 2<<3|5), math.Float32bits(-float32(i)))
		if i < 2 {
			body = append(body, 3<<3, byte(pieceUnknown+i))
		}
		p = append(append(p, 1<<3|2, byte(len(body))), body...)
	}
	p = append(p, 2<<3|2, 2, 3<<3, kind)
	return append(p, 3<<3|2, 6, 3<<3, 1, 4<<3, 0, 5<<3, 1)
}

// smallGGUF is the metadata of a file with a vocabulary.
func smallGGUF(model string, tokens ...string) []byte {
	str := func(p []byte, s string) []byte {
		return append(binary.LittleEndian.AppendUint64(p, uint64(len(s))), s...)
	}
	u32, u64 := binary.LittleEndian.AppendUint32, binary.LittleEndian.AppendUint64
	p := u64(u64(u32([]byte("GGUF"), 3), 0), 4)
	p = str(u32(str(p, "tokenizer.ggml.model"), ggufString), model)
	p = u64(u32(u32(str(p, "tokenizer.ggml.tokens"), ggufArray), ggufString), uint64(len(tokens)))
	for _, t := range tokens {
		p = str(p, t)
	}
	p = u64(u32(u32(str(p, "tokenizer.ggml.scores"), ggufArray), ggufFloat32), uint64(len(tokens)))
	for i := range tokens {
		p = u32(p, math.Float32bits(-float32(i)))
	}
	return u32(u32(str(p, "tokenizer.ggml.unknown_token_id"), ggufUint32), 0)
}

// smallJSON is a seed that the fuzzer can change more meaningfully than a whole vocabulary.
const smallJSON = `{"version":"1.0","truncation":null,"padding":null,"added_tokens":[{"id":4,"content":"<s>","single_word":false,"lstrip":false,"rstrip":true,"normalized":true,"special":true}],` +
	`"normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]},"pre_tokenizer":null,` +
	`"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"pair":[],"special_tokens":{"<s>":{"id":"<s>","ids":[4],"tokens":["<s>"]}}},` +
	`"decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]},` +
	`"model":{"type":"BPE","dropout":null,"unk_token":"u","continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":true,"byte_fallback":true,"ignore_merges":false,"vocab":{"u":0,"a":1,"▁":2,"▁a":3},"merges":[["▁","a"]]}}`

func FuzzTokenizerJSON(f *testing.F) {
	f.Add([]byte(smallJSON))
	f.Add([]byte(strings.Replace(smallJSON, `"pre_tokenizer":null`, `"pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":true}`, 1)))
	f.Add([]byte(`{"version":"1.0","added_tokens":[],"pre_tokenizer":{"type":"BertPreTokenizer"},"normalizer":{"type":"BertNormalizer"},"decoder":{"type":"WordPiece"},"model":{"type":"WordPiece","unk_token":"u","vocab":{"u":0,"a":1,"##b":2}}}`))
	f.Add([]byte(`{"version":"1.0","added_tokens":[],"model":{"type":"Unigram","unk_id":0,"vocab":[["u",0],["a",-1.5],["ab",-2]]}}`))
	f.Fuzz(func(t *testing.T, p []byte) {
		s, _, err := parseTokenizerJSON(p, nil)
		try(t, s, err)
	})
}

func FuzzSentencePiece(f *testing.F) {
	f.Add(smallSP(modelBPE, "▁", "a", "b", "ab", "▁ab"))
	f.Add(smallSP(modelUnigram, "▁", "a", "b", "ab", "▁ab"))
	f.Fuzz(func(t *testing.T, p []byte) {
		s, _, err := parseSPFile(p, &config{}, len(p)%2 == 0)
		try(t, s, err)
	})
}

func FuzzGGUF(f *testing.F) {
	f.Add(smallGGUF("gpt2", "<unk>", "a", "b"))
	f.Add(smallGGUF("llama", "<unk>", "▁", "a", "▁a"))
	f.Add(smallGGUF("bert", "[UNK]", "▁a", "b"))
	f.Fuzz(func(t *testing.T, p []byte) {
		v, err := parseGGUF(bytes.NewReader(p), int64(len(p)))
		if err != nil {
			return
		}
		s, err := v.spec(len(p)%2 == 0)
		try(t, s, err)
	})
}

func FuzzGPT2(f *testing.F) {
	f.Add([]byte(`{"a":0,"b":1,"ab":2,"Ġ":3,"<|endoftext|>":4}`), []byte("#version: 0.2\na b\n"))
	f.Fuzz(func(t *testing.T, vocab, merges []byte) {
		s, err := parseGPT2(vocab, merges, &config{}, len(merges)%2 == 0)
		try(t, s, err)
	})
}

func FuzzVocabTxt(f *testing.F) {
	f.Add([]byte("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n##b\n"))
	f.Fuzz(func(t *testing.T, p []byte) {
		s, err := parseVocabTxt(p, &config{}, len(p)%2 == 0)
		try(t, s, err)
	})
}

// FuzzConfig reads the small files of a folder.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"bos_token":{"content":"<s>","lstrip":true},"legacy":false,"added_tokens_decoder":{"4":{"content":"<x>","special":false}},"add_bos_token":true}`), []byte(`{"bos_token":"<s>","additional_special_tokens":["<y>"]}`), []byte(`{"<img>":5}`))
	f.Fuzz(func(t *testing.T, conf, special, added []byte) {
		dir := t.TempDir()
		for name, p := range map[string][]byte{"tokenizer_config.json": conf, "special_tokens_map.json": special, "added_tokens.json": added, "vocab.txt": []byte("[UNK]\na\n##b\n<s>\n"),
			"vocab.json": []byte(`{"a":0,"b":1,"<s>":2}`), "merges.txt": []byte("#version: 0.2\n")} {
			if err := os.WriteFile(filepath.Join(dir, name), p, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, rules := range []string{"hf", "seed"} {
			for _, file := range []string{"vocab.json", "vocab.txt"} {
				c, err := readConfig(dir)
				if err != nil {
					return
				}
				l := &Loaded{Rules: rules}
				s, err := l.read(dir, file, c)
				try(t, s, err)
			}
		}
		c, err := readConfig(dir)
		if err == nil && json.Valid([]byte(smallJSON)) {
			s, _, err := parseTokenizerJSON([]byte(smallJSON), c)
			try(t, s, err)
		}
	})
}

// FuzzRoundTrip: byte-level vocabularies give back the text, or what stands for it where it is not UTF-8; "bytes" gives back
// every byte; ids of all kinds have tokens.
func FuzzRoundTrip(f *testing.F) {
	root := golden.Fixtures(f, "tokenizers")
	exact := []Tokenizer{open(f, filepath.Join(root, "opt-bpe"), "hf"), open(f, filepath.Join("testdata", "json", "bytes-digits.json"), ""), open(f, filepath.Join("testdata", "gguf", "gpt2.gguf"), "hf")}
	others := []Tokenizer{open(f, filepath.Join(root, "opt-bpe"), "seed"), open(f, filepath.Join(root, "llama-bpe"), "seed"), open(f, filepath.Join(root, "llama-bpe"), "hf"), open(f, filepath.Join(root, "bert-wordpiece"), "seed"),
		open(f, filepath.Join(root, "bert-wordpiece"), "hf"), open(f, filepath.Join("testdata", "sp", "unigram-user.model"), ""), open(f, filepath.Join("testdata", "sp", "bpe-user.model"), "")}
	m, err := Extend(Bytes(), 16)
	if err != nil {
		f.Fatal(err)
	}
	for i := range 40 {
		f.Add(randomText(3, i))
	}
	for _, p := range probes {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want := s
		if !utf8.ValidString(s) {
			want = lossy(s)
			if want != string(bytes.ToValidUTF8([]byte(want), nil)) {
				t.Fatalf("%q is not UTF-8", want)
			}
		}
		for _, tok := range exact {
			if got := tok.Decode(tok.Encode(nil, s)); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
		for _, tok := range []Tokenizer{Bytes(), m} {
			if got := tok.Decode(tok.Encode(nil, s)); got != s {
				t.Fatalf("bytes: got %q, want %q", got, s)
			}
		}
		for _, tok := range others {
			ids := tok.Encode(nil, s)
			for _, id := range ids {
				if name, ok := tok.Token(id); !ok {
					t.Fatalf("%q: id %d has no token", s, id)
				} else if back, ok := tok.ID(name); !ok || back != id {
					t.Fatalf("token %q: id %d, back %d", name, id, back)
				}
			}
			tok.Decode(ids)
		}
	})
}

// TestSmallSeeds makes sure that the fuzzers start from files that are read.
func TestSmallSeeds(t *testing.T) {
	if _, _, err := parseTokenizerJSON([]byte(smallJSON), nil); err != nil {
		t.Error(err)
	}
	for _, kind := range []byte{modelBPE, modelUnigram} {
		if _, _, err := parseSPFile(smallSP(kind, "▁", "a"), &config{}, true); err != nil {
			t.Error(err)
		}
	}
	for _, model := range []string{"gpt2", "llama", "bert"} {
		p := smallGGUF(model, "<unk>", "▁", "a")
		v, err := parseGGUF(bytes.NewReader(p), int64(len(p)))
		if err == nil {
			_, err = v.spec(true)
		}
		if err != nil {
			t.Error(model, err)
		}
	}
}
