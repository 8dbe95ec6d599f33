package lm

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"sower/gpu"
	"sower/gpu/checkpoint"
)

// LoadFunc makes a model of one architecture from config.json and a checkpoint under Hugging Face's names.
type LoadFunc func(dev *gpu.Device, config []byte, src checkpoint.Source, o Options) (Model, error)

var architectures struct {
	sync.Mutex
	load map[string]LoadFunc
}

// Register makes an architecture known by its model_type. A second one of the same name panics.
func Register(modelType string, load LoadFunc) {
	architectures.Lock()
	defer architectures.Unlock()
	if _, twice := architectures.load[modelType]; twice {
		panic(fmt.Sprintf("lm: two architectures register as %q", modelType))
	}
	if architectures.load == nil {
		architectures.load = map[string]LoadFunc{}
	}
	architectures.load[modelType] = load
}

// Architectures lists the names that Load knows, sorted.
func Architectures() []string {
	architectures.Lock()
	defer architectures.Unlock()
	return slices.Sorted(maps.Keys(architectures.load))
}

// Checkpoint is an opened model folder or GGUF file.
type Checkpoint struct {
	Path string
	// ModelType is the architecture, as in config.json.
	ModelType string
	// Config is config.json; of a GGUF file, what its metadata say in the same form.
	Config []byte
	// Source has the tensors under Hugging Face's names. A caller may put another in its place, such as lora.Merge.
	Source checkpoint.Source
	// GGUF says that the model comes from a GGUF file.
	GGUF bool
}

// Open opens a folder with config.json and model.safetensors, its shards with model.safetensors.index.json, pytorch_model.bin,
// or its shards with pytorch_model.bin.index.json, whichever is found first; or a .gguf file of the LLaMA architecture.
func Open(path string) (*Checkpoint, error) {
	c, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("lm: open %s: %w", path, err)
	}
	return c, nil
}

func open(path string) (*Checkpoint, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		if !strings.HasSuffix(strings.ToLower(path), ".gguf") {
			return nil, errors.New("a file; give the folder that holds config.json, or a .gguf file")
		}
		return openGGUF(path)
	}
	c := &Checkpoint{Path: path}
	if c.Config, err = os.ReadFile(filepath.Join(path, "config.json")); err != nil {
		return nil, fmt.Errorf("%w; a model folder holds it beside the weights", err)
	}
	if c.ModelType, err = modelType(c.Config); err != nil {
		return nil, err
	}
	if c.Source, err = openWeights(path); err != nil {
		return nil, err
	}
	c.Source = outerName(c.Source)
	return c, nil
}

// outerName puts the outer module's name before those of files that lack it, as that of a model saved without its head and of
// some published OPTs: "decoder.layers.0…" becomes "model.decoder.layers.0…".
func outerName(src checkpoint.Source) checkpoint.Source {
	for _, info := range src.Tensors() {
		if strings.HasPrefix(info.Name, "model.") {
			return src
		}
	}
	return checkpoint.Union(checkpoint.Prefixed{Source: src, Prefix: "model."})
}

func modelType(config []byte) (string, error) {
	var head struct {
		ModelType string `json:"model_type"`
	}
	if err := json.Unmarshal(config, &head); err != nil {
		return "", fmt.Errorf("config.json: %w", err)
	}
	if head.ModelType == "" {
		return "", errors.New("config.json has no model_type")
	}
	return head.ModelType, nil
}

func openGGUF(path string) (*Checkpoint, error) {
	g, err := checkpoint.OpenGGUF(path)
	if err != nil {
		return nil, err
	}
	v, err := g.HuggingFace()
	if err != nil {
		return nil, errors.Join(err, g.Close())
	}
	config := v.Config()
	text, err := json.Marshal(config)
	if err == nil && config.RopeScaling != nil && config.RopeScaling.FreqFactors != nil {
		text, err = withFactors(text, config.RopeScaling.FreqFactors)
	}
	return &Checkpoint{Path: path, ModelType: config.ModelType, Config: text, Source: v, GGUF: true}, err
}

// withFactors adds what a GGUF file keeps of llama3 scaling to its config, under a key that config.json does not have.
func withFactors(config []byte, factors []float32) ([]byte, error) {
	var all map[string]any
	if err := json.Unmarshal(config, &all); err != nil {
		return nil, err
	}
	all["rope_scaling"].(map[string]any)["freq_factors"] = factors
	return json.Marshal(all)
}

func openWeights(dir string) (checkpoint.Source, error) {
	has := func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err == nil
	}
	switch {
	case has("model.safetensors"), has("model.safetensors.index.json"):
		return checkpoint.OpenSharded(dir)
	case has("pytorch_model.bin"):
		return checkpoint.OpenTorch(filepath.Join(dir, "pytorch_model.bin"))
	case has("pytorch_model.bin.index.json"):
		return openTorchShards(dir)
	}
	return nil, errors.New("no weights: want model.safetensors, pytorch_model.bin, or either in shards with its index")
}

func openTorchShards(dir string) (checkpoint.Source, error) {
	text, err := os.ReadFile(filepath.Join(dir, "pytorch_model.bin.index.json"))
	if err != nil {
		return nil, err
	}
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(text, &index); err != nil {
		return nil, fmt.Errorf("pytorch_model.bin.index.json: %w", err)
	}
	files := map[string]bool{}
	for name, file := range index.WeightMap {
		if file != filepath.Base(file) || strings.HasPrefix(file, ".") {
			return nil, fmt.Errorf("pytorch_model.bin.index.json: %q lies in %q, which is not a file of this folder", name, file)
		}
		files[file] = true
	}
	var parts []checkpoint.Prefixed
	for _, file := range slices.Sorted(maps.Keys(files)) {
		src, err := checkpoint.OpenTorch(filepath.Join(dir, file))
		if err != nil {
			for _, p := range parts {
				err = errors.Join(err, p.Close())
			}
			return nil, err
		}
		parts = append(parts, checkpoint.Prefixed{Source: src})
	}
	if len(parts) == 0 {
		return nil, errors.New("pytorch_model.bin.index.json: weight_map is empty")
	}
	return checkpoint.Union(parts...), nil
}

// Load makes the model on a device. The checkpoint may be closed afterwards.
func (c *Checkpoint) Load(dev *gpu.Device, o Options) (Model, error) {
	architectures.Lock()
	load := architectures.load[c.ModelType]
	architectures.Unlock()
	if load == nil {
		return nil, fmt.Errorf("lm: load %s: no architecture %q in this binary (have: %s); use a model of one of these, or import the package "+
			"that registers it, such as sower/gpu/models/lm/all", c.Path, c.ModelType, strings.Join(Architectures(), ", "))
	}
	m, err := load(dev, c.Config, c.Source, o)
	if err != nil {
		return nil, fmt.Errorf("lm: load %s: %w", c.Path, err)
	}
	return m, nil
}

// Tied reports whether the embedding is the head, too.
func (c *Checkpoint) Tied() bool {
	config := struct {
		Tied bool `json:"tie_word_embeddings"`
	}{c.ModelType == "opt"}
	return json.Unmarshal(c.Config, &config) == nil && config.Tied
}

// Close closes the source.
func (c *Checkpoint) Close() error { return c.Source.Close() }
