package text

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sower/internal/fetch"
)

// Options says how to read a vocabulary.
type Options struct {
	// Rules decides what happens at added tokens and which files of a folder count.
	//
	//	hf    tokenizer.json as the tokenizers library applies it; without that file, the same rules for the others
	//	seed  the files that came before tokenizer.json, as transformers 4.30 read them, which the published system used:
	//	      white space on both sides of an added token is lost. For a tokenizer.json alone, that rule on top of it
	//	auto  hf where there is a tokenizer.json, else seed; the default
	Rules string
}

// Loaded is an opened tokenizer and where it came from.
type Loaded struct {
	Tokenizer
	Kind     string   // the format and, where it has several, the model, such as "tokenizer.model unigram"
	Rules    string   // hf or seed; "" for bytes
	Files    []string // names of the files that were read, the vocabulary first
	Warnings []string
}

// Open reads the tokenizer in a folder or file; "bytes" is the built-in one. Of a folder it takes the first of
// tokenizer.json (not with Rules "seed"), tokenizer.model, vocab.json with merges.txt, vocab.txt, tokenizer.json, or the
// only GGUF file; the small files beside it (tokenizer_config.json, special_tokens_map.json, added_tokens.json) count. Of a
// file that is named, nothing beside it counts except merges.txt for vocab.json. What lies in an object store is fetched first.
func Open(path string, o Options) (*Loaded, error) {
	if path == "bytes" {
		return &Loaded{Tokenizer: Bytes(), Kind: "bytes"}, nil
	}
	switch o.Rules {
	case "", "auto", "hf", "seed":
	default:
		return nil, fmt.Errorf("text: rules %q are not known (have: auto, hf, seed)", o.Rules)
	}
	path, err := local(path)
	if err != nil {
		return nil, fmt.Errorf("text: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("text: %w", err)
	}
	dir, name := filepath.Dir(path), filepath.Base(path)
	c := &config{mapPlain: map[string]bool{}}
	if info.IsDir() {
		dir = path
		if name, err = choose(path, o.Rules); err != nil {
			return nil, fmt.Errorf("text: %w", err)
		}
		if c, err = readConfig(dir); err != nil {
			return nil, fmt.Errorf("text: %s: %w", path, err)
		}
	}
	l := &Loaded{Rules: o.Rules, Files: append([]string{name}, c.files...)}
	if l.Rules == "" || l.Rules == "auto" {
		l.Rules = "seed"
		if isTokenizerJSON(name) {
			l.Rules = "hf"
		}
	}
	s, err := l.read(dir, name, c)
	if err != nil {
		return nil, fmt.Errorf("text: %s: %w", name, err)
	}
	chain, err := build(s)
	if err != nil {
		return nil, fmt.Errorf("text: %s: %w", name, err)
	}
	l.Tokenizer = chain
	if n := len(s.added) - len(specialIDs(s.added)); info.IsDir() && n > 0 && !isTokenizerJSON(name) && name != "vocab.txt" && !strings.HasSuffix(name, ".gguf") {
		if _, err := os.Stat(filepath.Join(dir, "tokenizer.json")); err != nil {
			l.Warnings = append(l.Warnings, fmt.Sprintf("the folder has no tokenizer.json: AutoTokenizer makes one in which its %d added tokens are looked for after normalization, and may not find them in text; the one that this program writes does not have that fault", n))
		}
	}
	return l, nil
}

// local fetches what lies in an object store. vocab.json and merges.txt are read together, whichever is named.
func local(path string) (string, error) {
	name := path[strings.LastIndexByte(path, '/')+1:]
	if fetch.Remote(path) && (name == "vocab.json" || name == "merges.txt") {
		dir, err := fetch.Local(path[:len(path)-len(name)], func([]string) []string { return []string{"vocab.json", "merges.txt"} })
		return filepath.Join(dir, name), err
	}
	return fetch.Local(path, fetch.Vocabulary)
}

func isTokenizerJSON(name string) bool {
	return strings.HasSuffix(name, ".json") && name != "vocab.json"
}

// choose returns the vocabulary file of a folder.
func choose(dir, rules string) (string, error) {
	has := func(name string) bool {
		info, err := os.Stat(filepath.Join(dir, name))
		return err == nil && info.Mode().IsRegular()
	}
	if rules != "seed" && has("tokenizer.json") {
		return "tokenizer.json", nil
	}
	for _, name := range []string{"tokenizer.model", "vocab.json", "vocab.txt", "tokenizer.json"} {
		if has(name) && (name != "vocab.json" || has("merges.txt")) {
			return name, nil
		}
	}
	found, err := filepath.Glob(filepath.Join(escapeGlob(dir), "*.gguf"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("%s: no tokenizer found (looked for tokenizer.json, tokenizer.model, vocab.json with merges.txt, vocab.txt, one *.gguf)", dir)
	}
	return filepath.Base(found[0]), nil
}

func escapeGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}

func (l *Loaded) read(dir, name string, c *config) (*spec, error) {
	seed := l.Rules == "seed"
	path := filepath.Join(dir, name)
	switch {
	case strings.HasSuffix(name, ".gguf"):
		l.Kind = "gguf"
		return l.readGGUF(path, seed)
	case name == "vocab.json" || name == "merges.txt":
		l.Kind, l.Files = "vocab.json+merges.txt", append([]string{"vocab.json", "merges.txt"}, c.files...)
		vocab, err := readFile(filepath.Join(dir, "vocab.json"))
		if err != nil {
			return nil, err
		}
		merges, err := readFile(filepath.Join(dir, "merges.txt"))
		if err != nil {
			return nil, err
		}
		return parseGPT2(vocab, merges, c, seed)
	}
	p, err := readFile(path)
	if err != nil {
		return nil, err
	}
	switch {
	case strings.HasSuffix(name, ".model"):
		s, m, err := parseSPFile(p, c, seed)
		if err == nil {
			l.Kind = "tokenizer.model " + m.kindName()
		}
		return s, err
	case strings.HasSuffix(name, ".txt"):
		l.Kind = "vocab.txt"
		return parseVocabTxt(p, c, seed)
	case strings.HasSuffix(name, ".json"):
		l.Kind = "tokenizer.json"
		s, warnings, err := parseTokenizerJSON(p, c)
		if err != nil {
			return nil, err
		}
		l.Warnings = warnings
		switch s.model.(type) {
		case *bpe:
			l.Kind += " bpe"
		case *wordPiece:
			l.Kind += " wordpiece"
		case *unigram:
			l.Kind += " unigram"
		}
		if s.seed = seed; seed {
			for i := range s.added {
				if t := &s.added[i]; !t.Special {
					t.LStrip, t.RStrip = true, true
				}
			}
		}
		return s, nil
	}
	return nil, errors.New("not a tokenizer file by its name (have: *.json, *.model, *.txt, *.gguf)")
}
