// Package weights resolves --model: the published pair of files, a converted folder, stand-in weights by rule, or null.
// It finds files, reads sizes, joins the parts under their published names and says what is missing or left over.
package weights

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"sower/gpu/checkpoint"
	"sower/gpu/models/seed"
	"sower/internal/fetch"
	"sower/internal/mini"
)

// Names of the published files (docs/weights.md).
const (
	quantizerFile = "seed_quantizer.pt"
	visionFile    = "eva_vit_g.pth"
	visionPrefix  = "visual_encoder."
	configFile    = "config.json"
)

// TextFile is where a model folder has its text tower, which evaluation needs and encoding does not, and VocabularyFile the tower's
// words, a line each, as BERT's.
const (
	TextFile       = "text.safetensors"
	VocabularyFile = "vocab.txt"
)

// Null is the --model that reads, hashes and writes without decoding or encoding anything.
const Null = "null"

// Model is an opened --model argument.
type Model struct {
	Arg string
	// Kind says how the weights came: "published", "folder", "stand-in" or "null".
	Kind   string
	Config seed.Config
	Source checkpoint.Source // nil for null
	Files  []string
	// Notes are facts that a user should see: keys that were ignored, classes that a pickle named.
	Notes []string
	// Unknown are the tensors that the model does not use.
	Unknown []string

	some  bool  // of the parts are enough
	stamp stamp // of the files as they were when the model was opened
}

// IsNull reports whether the model is the null one.
func (m *Model) IsNull() bool { return m.Kind == Null }

// Tokenizer is the kind of model for identities.
func (m *Model) Tokenizer() string {
	if m.IsNull() {
		return Null
	}
	return "seed2"
}

// Usage is the help text of --model.
const Usage = `weights: a folder (by path, gs:// or s3:// URL) with seed_quantizer.pt and eva_vit_g.pth, a folder made by "sower model convert",
mini (bundled: small pictures of clip art's kind, 1,024 codes), standin:seed2:N or standin:tiny:N (deterministic weights by rule, N the seed: exact but meaningless codes),
or null (no codes, for timing the pipeline alone)`

// Open resolves a --model argument. A folder in an object store is fetched to this machine first.
func Open(arg string) (*Model, error) { return open(arg, false) }

// OpenSome is Open for weights that training begins with: a folder may have one of the published files alone.
func OpenSome(arg string) (*Model, error) { return open(arg, true) }

func open(arg string, some bool) (*Model, error) {
	m := &Model{Arg: arg, some: some}
	switch {
	case arg == "":
		return nil, errors.New("model: --model is missing: give " + Usage)
	case arg == Null:
		m.Kind, m.Config = Null, seed.Published()
		return m, nil
	case arg == mini.Name:
		var err error
		m.Kind = "bundled"
		m.Config, m.Source, err = mini.Open()
		return m, err
	case strings.HasPrefix(arg, "standin:"):
		return m, m.openStandIn(arg)
	}
	dir, err := fetch.Local(arg, fetch.Weights)
	if err != nil {
		return nil, fmt.Errorf("model: --model %s: %w", arg, err)
	}
	st, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("model: --model %s: no such folder; give %s", arg, Usage)
	}
	if !st.IsDir() {
		return nil, fmt.Errorf("model: --model %s is a file: give the folder that holds it beside the other one (%s and %s)", arg, quantizerFile, visionFile)
	}
	return m, m.openFolder(dir)
}

func (m *Model) openStandIn(arg string) error {
	parts := strings.Split(arg, ":")
	if len(parts) != 3 {
		return fmt.Errorf("model: %q: want standin:seed2:N or standin:tiny:N", arg)
	}
	switch parts[1] {
	case "seed2":
		m.Config = seed.Published()
	case "tiny":
		m.Config = seed.Tiny()
	default:
		return fmt.Errorf("model: %q: no stand-in of kind %q (have: seed2, tiny)", arg, parts[1])
	}
	n, err := strconv.ParseUint(parts[2], 10, 64)
	if err != nil {
		return fmt.Errorf("model: %q: seed %q is no number", arg, parts[2])
	}
	m.Kind, m.Source = "stand-in", seed.StandIn(m.Config, n)
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (m *Model) openFolder(dir string) (err error) {
	if m.Config, err = readConfig(filepath.Join(dir, configFile)); err != nil {
		return err
	}
	quantizer, vision := filepath.Join(dir, quantizerFile), filepath.Join(dir, visionFile)
	haveQ, haveV := exists(quantizer), exists(vision)
	converted := exists(filepath.Join(dir, "model.safetensors")) || exists(filepath.Join(dir, "model.safetensors.index.json"))
	switch {
	case converted:
		m.Kind = "folder"
		if m.Source, err = checkpoint.OpenSharded(dir); err != nil {
			return err
		}
		if text := filepath.Join(dir, TextFile); exists(text) {
			tower, err := checkpoint.OpenSafetensors(text)
			if err != nil {
				return errors.Join(err, m.Source.Close())
			}
			m.Source = checkpoint.Union(checkpoint.Prefixed{Source: m.Source}, checkpoint.Prefixed{Source: tower})
		}
		m.Files = []string{dir}
	case haveQ && haveV:
		m.Kind = "published"
		q, err := checkpoint.OpenTorch(quantizer)
		if err != nil {
			return err
		}
		v, err := checkpoint.OpenTorch(vision)
		if err != nil {
			q.Close()
			return err
		}
		for i, s := range []checkpoint.TorchSource{q, v} {
			if names := s.Ignored(); len(names) > 0 {
				m.Notes = append(m.Notes, fmt.Sprintf("%s names %s: not looked up, not run", []string{quantizerFile, visionFile}[i], strings.Join(names, ", ")))
			}
		}
		// The quantizer's own tensors come first, should it hold a vision tower after all.
		m.Source = checkpoint.Union(checkpoint.Prefixed{Source: q}, checkpoint.Prefixed{Source: v, Prefix: visionPrefix})
		m.Files = []string{quantizer, vision}
	case (haveQ || haveV) && m.some:
		m.Kind = "published, in part"
		file, prefix := quantizer, ""
		if haveV {
			file, prefix = vision, visionPrefix
		}
		one, err := checkpoint.OpenTorch(file)
		if err != nil {
			return err
		}
		m.Source, m.Files = checkpoint.Union(checkpoint.Prefixed{Source: one, Prefix: prefix}), []string{file}
	case haveQ:
		return fmt.Errorf("model: %s holds %s but not %s, the vision tower (BLIP-2's EVA-CLIP-g): see docs/weights.md for where to get it", dir, quantizerFile, visionFile)
	case haveV:
		return fmt.Errorf("model: %s holds %s but not %s, the SEED tokenizer: see docs/weights.md for where to get it", dir, visionFile, quantizerFile)
	default:
		return fmt.Errorf("model: %s holds neither %s and %s nor model.safetensors: see docs/weights.md", dir, quantizerFile, visionFile)
	}
	if m.stamp, err = stampOf(dir); err != nil {
		return err
	}
	known := map[string]bool{}
	for _, p := range m.Config.Params() {
		known[p.Name] = true
	}
	for _, t := range m.Source.Tensors() {
		if !known[t.Name] {
			m.Unknown = append(m.Unknown, t.Name)
		}
	}
	if n := len(m.Unknown); n > 0 {
		m.Notes = append(m.Notes, fmt.Sprintf("%d tensors that the tokenizer does not use were ignored (%s)", n, some(m.Unknown, 6)))
	}
	return nil
}

func some(names []string, n int) string {
	if len(names) <= n {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:n], ", ") + ", …"
}

// readConfig reads the sizes; a folder without config.json has the published ones.
func readConfig(path string) (seed.Config, error) {
	p, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return seed.Published(), nil
	}
	if err != nil {
		return seed.Config{}, fmt.Errorf("model: %w", err)
	}
	c, err := seed.ParseConfig(p)
	if err != nil {
		return c, fmt.Errorf("model: %s: %w", path, err)
	}
	return c, nil
}

// check names every tensor of params that is missing or misshapen.
func (m *Model) check(params []seed.Param) error {
	var bad []string
	for _, p := range params {
		info, ok := m.Source.Find(p.Name)
		switch {
		case !ok:
			bad = append(bad, fmt.Sprintf("%s is missing, want %v", p.Name, p.Shape))
		case fmt.Sprint(info.Shape) != fmt.Sprint(p.Shape):
			bad = append(bad, fmt.Sprintf("%s has shape %v, want %v", p.Name, info.Shape, p.Shape))
		case !info.DType.Float():
			bad = append(bad, fmt.Sprintf("%s has element type %s, want floats", p.Name, info.DType))
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("model: %s: %d of %d tensors cannot be used:\n  %s", m.Arg, len(bad), len(params), strings.Join(bad, "\n  "))
	}
	return nil
}

// Check reports whether the model can encode, can detokenize, and which of its parts are missing.
func (m *Model) Check() (encode, detokenize error) {
	return m.check(m.Config.Encoder()), m.check(m.Config.Detokenizer())
}

// Vocabulary reads the words of the text tower.
func (m *Model) Vocabulary() ([]byte, error) {
	if m.Arg == mini.Name {
		return mini.Vocabulary(), nil
	}
	if len(m.Files) != 1 {
		return nil, fmt.Errorf("model: %s has no %s: its text tower cannot be used", m.Arg, VocabularyFile)
	}
	raw, err := os.ReadFile(filepath.Join(m.Files[0], VocabularyFile))
	if err != nil {
		return nil, fmt.Errorf("model: %s: the words of its text tower: %w", m.Arg, err)
	}
	return raw, nil
}

// Close releases files and mappings.
func (m *Model) Close() error {
	if m.Source == nil {
		return nil
	}
	return m.Source.Close()
}
