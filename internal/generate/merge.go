package generate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"sower/gpu/checkpoint"
	"sower/gpu/lora"
	"sower/gpu/models/lm"
	"sower/internal/base"
	"sower/internal/blob"
	"sower/internal/tensors"
	"sower/internal/text"
)

// Files of a Hugging Face folder.
const (
	modelConfig      = "config.json"
	generationConfig = "generation_config.json"
	indexFile        = "model.safetensors.index.json"
)

// beside are the files of a tokenizer, as transformers names them.
var beside = []string{"tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "vocab.txt",
	"chat_template.jinja"}

// Merge is what Merge writes.
type Merge struct {
	Base, Adapter string
	// DType is that of the weights, "" for that of each tensor in the base; blocks of a GGUF file become float16.
	DType checkpoint.DType
	// ShardBytes is the size that a file of weights stays below, unless one tensor is larger; 0 is 4 GB.
	ShardBytes int
}

// Merged says what was written.
type Merged struct {
	Files   []string
	Tensors int
	Bytes   int64
	Rows    int // of the vocabulary
	Notes   []string
}

// WriteMerged folds an adapter into its base and writes a Hugging Face folder, tensor by tensor: in memory are the adapter and a
// piece of one tensor. config.json, without which no program takes the folder for a model, comes last.
func WriteMerged(ctx context.Context, out *blob.Bucket, m Merge) (_ *Merged, err error) {
	if m.Adapter, err = localAdapter(m.Adapter); err != nil {
		return nil, err
	}
	b, err := OpenBase(m.Base)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	folder, _, err := OpenAdapter(m.Adapter)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	model, err := lora.Merge(b.Checkpoint, folder)
	if err != nil {
		return nil, fmt.Errorf("--adapter %s does not fit --base %s: %w", m.Adapter, m.Base, err)
	}
	config, err := mergedConfig(b, model.Config, m.DType)
	if err != nil {
		return nil, err
	}
	if err := clearModel(ctx, out); err != nil {
		return nil, fmt.Errorf("merge: %w", err)
	}
	r := &Merged{}
	if err := r.weights(ctx, out, model, m); err != nil {
		return nil, err
	}
	if err := r.tokenizer(ctx, out, b, m.Adapter); err != nil {
		return nil, err
	}
	if err := out.WriteAll(ctx, modelConfig, config); err != nil {
		return nil, err
	}
	r.Files = append(r.Files, modelConfig)
	var c struct {
		Rows int `json:"vocab_size"`
	}
	err = json.Unmarshal(config, &c)
	r.Rows = c.Rows
	return r, err
}

// clearModel deletes the model that a folder holds: config.json first, so that what is left is none, and weights that a reader
// might take in place of the new ones.
func clearModel(ctx context.Context, out *blob.Bucket) error {
	doomed := []string{modelConfig, generationConfig}
	for info, err := range out.List(ctx, "") {
		if err != nil {
			return err
		}
		for _, pattern := range []string{"model.safetensors", "model-*-of-*.safetensors", indexFile, "pytorch_model*.bin", "pytorch_model.bin.index.json"} {
			if ok, _ := path.Match(pattern, info.Name); ok {
				doomed = append(doomed, info.Name)
			}
		}
	}
	for _, name := range append(doomed, beside...) {
		if err := out.Delete(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// mergedConfig is config.json with what transformers needs beside what a GGUF file says, and the element type that was chosen.
func mergedConfig(b *base.Base, text []byte, dtype checkpoint.DType) ([]byte, error) {
	if bytes.Contains(text, []byte(`"freq_factors"`)) {
		return nil, fmt.Errorf("merge: --base %s has the frequency factors of a GGUF file, which config.json cannot say: give the Hugging Face folder that the file was made from", b.Arg)
	}
	var c map[string]json.RawMessage
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("merge: --base %s: config.json: %w", b.Arg, err)
	}
	set := func(key string, v any) {
		if p, err := json.Marshal(v); err == nil { // strings, lists of strings and numbers
			c[key] = p
		}
	}
	if b.GGUF {
		set("architectures", []string{"LlamaForCausalLM"})
		if dtype == "" {
			dtype = checkpoint.F16
		}
		if t, err := openText(b.Arg); err == nil {
			v := t.Vocab()
			for key, id := range map[string]int32{"bos_token_id": v.BOS, "eos_token_id": v.EOS, "pad_token_id": v.Pad} {
				if id >= 0 {
					set(key, id)
				}
			}
		}
	}
	if dtype != "" {
		key := "torch_dtype" // which new versions of transformers read, too
		if _, ok := c["dtype"]; ok {
			key = "dtype"
		}
		set(key, map[checkpoint.DType]string{checkpoint.F32: "float32", checkpoint.F16: "float16", checkpoint.BF16: "bfloat16"}[dtype])
	}
	p, err := json.MarshalIndent(c, "", "  ")
	return append(p, '\n'), err
}

// shardBytes is the size below which Hugging Face folders keep their files.
const shardBytes = 4 << 30

// weights writes model.safetensors, or shards with an index.
func (r *Merged) weights(ctx context.Context, out *blob.Bucket, model *lm.Checkpoint, m Merge) error {
	limit := m.ShardBytes
	if limit == 0 {
		limit = shardBytes
	}
	var shards [][]checkpoint.Entry
	size := 0
	for _, info := range model.Source.Tensors() {
		if !info.DType.Float() || model.Tied() && info.Name == "lm_head.weight" {
			continue
		}
		switch {
		case m.DType != "":
			info.DType = m.DType
		case info.DType == checkpoint.F64:
			info.DType = checkpoint.F32
		case info.DType.Size() == 0:
			info.DType = checkpoint.F16
		}
		n := info.Len() * info.DType.Size()
		if len(shards) == 0 || size+n > limit {
			shards, size = append(shards, nil), 0
		}
		size += n
		r.Bytes += int64(n)
		r.Tensors++
		shards[len(shards)-1] = append(shards[len(shards)-1], checkpoint.Entry{Info: info, From: model.Source})
	}
	index := map[string]string{}
	for i, entries := range shards {
		name := "model.safetensors"
		if len(shards) > 1 {
			name = fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(shards))
		}
		if _, err := tensors.Write(ctx, out, name, entries, tensors.PyTorch); err != nil {
			return fmt.Errorf("merge: write %s: %w", name, err)
		}
		for _, e := range entries {
			index[e.Name] = name
		}
		r.Files = append(r.Files, name)
	}
	if len(shards) < 2 {
		return nil
	}
	p, err := json.MarshalIndent(map[string]any{"metadata": map[string]int64{"total_size": r.Bytes}, "weight_map": index}, "", "  ")
	if err != nil {
		return err
	}
	r.Files = append(r.Files, indexFile)
	return out.WriteAll(ctx, indexFile, append(p, '\n'))
}

// tokenizer copies the files of the adapter's tokenizer, or of the base's, and generation_config.json.
func (r *Merged) tokenizer(ctx context.Context, out *blob.Bucket, b *base.Base, adapter string) error {
	from := tokenizerPath(b, adapter)
	copied := append([]string(nil), beside...)
	if !b.GGUF && !b.StandIn {
		if err := r.copy(ctx, out, b.Path, []string{generationConfig}); err != nil {
			return err
		}
	}
	if from == adapter || !b.GGUF && !b.StandIn {
		return r.copy(ctx, out, from, copied)
	}
	t, err := openText(from)
	if err != nil {
		return err
	}
	notes, err := text.WriteFolder(ctx, out, "", t)
	if err != nil {
		return fmt.Errorf("merge: the tokenizer of --base %s: %w", b.Arg, err)
	}
	r.Notes = append(r.Notes, notes...)
	r.Files = append(r.Files, "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
	return nil
}

func openText(path string) (*text.Loaded, error) { return text.Open(path, text.Options{}) }

// copy copies those of the named files that there are.
func (r *Merged) copy(ctx context.Context, out *blob.Bucket, dir string, names []string) error {
	for _, name := range names {
		p, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = out.WriteAll(ctx, name, p)
		}
		if err != nil {
			return fmt.Errorf("merge: copy %s: %w", name, err)
		}
		r.Files = append(r.Files, name)
	}
	return nil
}
