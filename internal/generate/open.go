package generate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sower/gpu"
	"sower/gpu/lora"
	"sower/gpu/models/lm"
	"sower/internal/base"
	"sower/internal/fetch"
	"sower/internal/interleave"
	"sower/internal/text"
	"sower/schemas"
)

// Files of an adapter folder, as PEFT names them.
const (
	adapterConfig  = "adapter_config.json"
	adapterWeights = "adapter_model.safetensors"
)

// Config names what generates.
type Config struct {
	// Base is a Hugging Face folder or a .gguf file; Adapter a PEFT folder, or "".
	Base, Adapter string
	// Tokenizer is a folder or file; "" takes the adapter's, or else the base's.
	Tokenizer string
	// IDs says that prompts come as ids and answers go as ids, so that no tokenizer is needed.
	IDs bool
}

// Generator is a loaded model with what is known about its tokens.
type Generator struct {
	Model lm.Model
	// Tokenizer is nil only where Config.IDs allows it.
	Tokenizer text.Tokenizer
	// Vocabulary says where image tokens are: as the adapter's manifest does or, without an adapter, the tokenizer of a base that
	// has them. nil for a model of texts.
	Vocabulary *schemas.Vocabulary
	// Manifest is that of the run that made the adapter, nil for a foreign adapter, or none.
	Manifest *schemas.Manifest
	// EOS are the tokens that end a text.
	EOS []int32
	// Notes are facts that a user should see.
	Notes []string

	config   Config
	dir      string                 // of the adapter, on this machine
	words    *interleave.ImageWords // nil for a model of texts
	prefix   []int32                // what comes before a text
	adapters *lora.Adapters
}

// Open loads base and adapter onto a device and grows the vocabulary to the adapter's rows.
func Open(dev *gpu.Device, cfg Config) (g *Generator, err error) {
	b, err := OpenBase(cfg.Base)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	g = &Generator{config: cfg}
	options := lm.Options{}
	var folder *lora.Folder
	if cfg.Adapter != "" {
		if folder, g.Manifest, err = OpenAdapter(cfg.Adapter); err != nil {
			return nil, err
		}
		defer folder.Close()
		if g.dir, err = localAdapter(cfg.Adapter); err != nil {
			return nil, err
		}
		options = folder.Config.Options(folder.Rows(), 0)
	}
	if err := g.openTokenizer(b); err != nil {
		return nil, err
	}
	if err := g.openVocabulary(b); err != nil {
		return nil, err
	}
	if g.Model, err = b.Load(dev, options); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			g.Close()
		}
	}()
	if folder != nil {
		if g.adapters, err = lora.Attach(g.Model, folder.Config, 0); err == nil {
			err = g.adapters.Restore(folder)
		}
		if err != nil {
			return g, fmt.Errorf("--adapter %s does not fit --base %s: %w", cfg.Adapter, cfg.Base, err)
		}
	}
	if v := g.Vocabulary; v != nil && int(v.Length) > g.Model.Sizes().Vocabulary {
		return g, fmt.Errorf("generate: --adapter %s: its manifest has %d tokens, the model %d rows: give the base that the adapter was trained on", cfg.Adapter, v.Length,
			g.Model.Sizes().Vocabulary)
	}
	return g, nil
}

// OpenBase opens --base.
func OpenBase(arg string) (*base.Base, error) {
	if _, err := os.Stat(arg); errors.Is(err, fs.ErrNotExist) && arg != "" && !strings.HasPrefix(arg, "standin:") && !fetch.Remote(arg) {
		return nil, fmt.Errorf("--base %s: no such file or folder; give a %s", arg, base.Usage)
	}
	return base.Open(arg)
}

// localAdapter fetches an adapter that lies in an object store.
func localAdapter(arg string) (string, error) {
	dir, err := fetch.Local(arg, fetch.Weights)
	if err != nil {
		return "", fmt.Errorf("generate: --adapter: %w", err)
	}
	return dir, nil
}

// OpenAdapter opens --adapter. The manifest is nil for a folder that sower tune did not write.
func OpenAdapter(arg string) (*lora.Folder, *schemas.Manifest, error) {
	dir, err := localAdapter(arg)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range []string{adapterConfig, adapterWeights} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return nil, nil, fmt.Errorf("generate: --adapter %s has no %s: give the folder that sower tune wrote, or one of PEFT with %s and %s", arg, name, adapterConfig, adapterWeights)
		}
	}
	var m *schemas.Manifest
	p, err := os.ReadFile(filepath.Join(dir, schemas.ManifestName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, nil, fmt.Errorf("generate: %w", err)
	default:
		if m, err = schemas.ParseManifest(p); err != nil {
			return nil, nil, fmt.Errorf("generate: --adapter %s: %w", arg, err)
		}
		if m.Pipeline != "tune" {
			return nil, nil, fmt.Errorf("generate: --adapter %s was written by sower %s: give the folder that sower tune wrote", arg, m.Pipeline)
		}
	}
	f, err := lora.Read(dir)
	return f, m, err
}

// tokenizerFiles are those of which a folder with a tokenizer has at least one.
var tokenizerFiles = []string{"tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt"}

func hasTokenizer(dir string) bool {
	return slices.ContainsFunc(tokenizerFiles, func(name string) bool {
		st, err := os.Stat(filepath.Join(dir, name))
		return err == nil && st.Mode().IsRegular()
	})
}

// tokenizerPath is where the tokenizer of a base with an adapter lies: beside the adapter, where there is one.
func tokenizerPath(b *base.Base, adapter string) string {
	switch {
	case adapter != "" && hasTokenizer(adapter):
		return adapter
	case b.StandIn:
		return "bytes"
	}
	return b.Path
}

func (g *Generator) openTokenizer(b *base.Base) error {
	path := g.config.Tokenizer
	if path == "" {
		path = tokenizerPath(b, g.dir)
	}
	if g.config.IDs && g.config.Tokenizer == "" && path != "bytes" && !b.GGUF && !hasTokenizer(path) {
		return nil
	}
	var rules string
	if g.Manifest != nil && g.Manifest.Vocabulary != nil && path != g.dir {
		rules = g.Manifest.Vocabulary.Rules // those of the corpus; beside an adapter they are in the tokenizer's file
	}
	t, err := text.Open(path, text.Options{Rules: rules})
	if err != nil {
		return fmt.Errorf("%w; give --tokenizer FOLDER", err)
	}
	g.Tokenizer = t
	g.Notes = append(g.Notes, t.Warnings...)
	switch {
	case g.Manifest != nil && g.Manifest.Vocabulary != nil:
		v := g.Manifest.Vocabulary
		g.words, err = interleave.OpenWords(path, rules, int(v.K), int(v.ImageLength)-2)
		if err != nil {
			return err
		}
		if w := g.words.Vocabulary; w.Offset != v.Offset || w.Begin != v.Begin || w.End != v.End {
			return fmt.Errorf("generate: tokenizer %s has code 0 at %d, <img> at %d and </img> at %d; the adapter was trained with %d, %d and %d: give the tokenizer of its corpus",
				path, w.Offset, w.Begin, w.End, v.Offset, v.Begin, v.End)
		}
	case g.config.Adapter == "" && text.CountImageTokens(t) > 0: // such as a merged model
		g.words, err = interleave.OpenWords(path, rules, 0, text.ImageCodes)
	}
	return err
}

// openVocabulary finds out which tokens begin and end a text and which are images.
func (g *Generator) openVocabulary(b *base.Base) error {
	var v schemas.Vocabulary
	switch {
	case g.Manifest != nil && g.Manifest.Vocabulary != nil:
		v = *g.Manifest.Vocabulary
	case g.words != nil:
		v = g.words.Vocabulary
	}
	if v.K != 0 {
		if v.K < 1 || v.ImageLength < 3 {
			return fmt.Errorf("generate: --adapter %s: its manifest has %d image codes and images of %d tokens", g.config.Adapter, v.K, v.ImageLength)
		}
		g.Vocabulary = &v
		if v.EOS >= 0 {
			g.EOS = []int32{v.EOS}
		}
		if v.BOS >= 0 && g.option("bos") != "false" {
			g.prefix = []int32{v.BOS}
		}
		return nil
	}
	g.EOS = endings(b)
	if g.Tokenizer == nil {
		return nil
	}
	own := g.Tokenizer.Vocab()
	if own.EOS >= 0 && !slices.Contains(g.EOS, own.EOS) {
		g.EOS = append(g.EOS, own.EOS)
	}
	g.prefix = own.Prefix
	return nil
}

// endings are the tokens that end a text by generation_config.json or config.json.
func endings(b *base.Base) []int32 {
	read := func(p []byte) []int32 {
		var c struct {
			EOS json.RawMessage `json:"eos_token_id"`
		}
		var one int32
		var list []int32
		switch {
		case json.Unmarshal(p, &c) != nil || len(c.EOS) == 0 || string(c.EOS) == "null":
		case json.Unmarshal(c.EOS, &one) == nil:
			return []int32{one}
		case json.Unmarshal(c.EOS, &list) == nil:
			return list
		}
		return nil
	}
	if p, err := os.ReadFile(filepath.Join(b.Path, generationConfig)); err == nil {
		if list := read(p); list != nil {
			return list
		}
	}
	return read(b.Config)
}

// option is a setting of the corpus that the adapter was trained on, "" where the manifest does not say.
func (g *Generator) option(name string) string {
	if g.Manifest == nil {
		return ""
	}
	return g.Manifest.Identity.Options[name]
}

// noImages says why images are out of question.
func (g *Generator) noImages() error {
	if g.config.Adapter == "" {
		return errors.New("generate: images need a model that was trained on image tokens: give --adapter FOLDER, as sower tune writes it, or a base whose tokenizer has <img_00000>")
	}
	return fmt.Errorf("generate: --adapter %s has no %s with a vocabulary, so that nothing says which of its tokens are images: give the folder that sower tune wrote, or ask for text",
		g.config.Adapter, schemas.ManifestName)
}

// Close gives back the model.
func (g *Generator) Close() error {
	var errs []error
	if g.adapters != nil {
		errs = append(errs, g.adapters.Close())
	}
	if g.Model != nil {
		errs = append(errs, g.Model.Close())
	}
	g.adapters, g.Model = nil, nil
	return errors.Join(errs...)
}
