package weights

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"sower/gpu/checkpoint"
	"sower/internal/blob"
	"sower/internal/tensors"
)

// shardBytes is the size that a converted model's files stay below, as Hugging Face folders do.
const shardBytes = 4 << 30

// Convert writes the tensors that the model knows as a folder of config.json and model.safetensors (or shards with an
// index), which opens faster than .pt files and by any tool. dtype "" keeps each tensor's element type. The converted
// folder has the same weights digest as the original as long as the element types are kept.
func (m *Model) Convert(ctx context.Context, out *blob.Bucket, dtype checkpoint.DType) (files []string, err error) {
	if m.IsNull() {
		return nil, fmt.Errorf("model: %s has no weights to convert", m.Arg)
	}
	if encode, detokenize := m.Check(); encode != nil && detokenize != nil {
		return nil, encode
	}
	var shards [][]checkpoint.Entry
	var texts []checkpoint.Entry
	inText := map[string]bool{}
	for _, p := range m.Config.TextParams() {
		inText[p.Name] = true
	}
	var size, total int
	for _, p := range m.Config.Params() {
		info, ok := m.Source.Find(p.Name)
		if !ok || !info.DType.Float() {
			continue
		}
		if fmt.Sprint(info.Shape) != fmt.Sprint(p.Shape) {
			return nil, m.check(m.Config.Params())
		}
		if dtype != "" {
			info.DType = dtype
		}
		if info.DType == checkpoint.F64 {
			info.DType = checkpoint.F32
		}
		if inText[p.Name] {
			texts = append(texts, checkpoint.Entry{Info: info, From: m.Source})
			continue
		}
		n := info.Len() * info.DType.Size()
		if len(shards) == 0 || size+n > shardBytes {
			shards = append(shards, nil)
			size = 0
		}
		size += n
		total += n
		last := len(shards) - 1
		shards[last] = append(shards[last], checkpoint.Entry{Info: info, From: m.Source})
	}
	config, err := json.MarshalIndent(m.Config, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := out.WriteAll(ctx, configFile, append(config, '\n')); err != nil {
		return nil, err
	}
	files = append(files, configFile)
	index := map[string]string{}
	for i, entries := range shards {
		name := "model.safetensors"
		if len(shards) > 1 {
			name = fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(shards))
		}
		if _, err := tensors.Write(ctx, out, name, entries, tensors.PyTorch); err != nil {
			return nil, err
		}
		for _, e := range entries {
			index[e.Name] = name
		}
		files = append(files, name)
	}
	if len(shards) > 1 {
		p, err := json.MarshalIndent(map[string]any{"metadata": map[string]int{"total_size": total}, "weight_map": index}, "", "  ")
		if err != nil {
			return nil, err
		}
		if err := out.WriteAll(ctx, "model.safetensors.index.json", append(p, '\n')); err != nil {
			return nil, err
		}
		files = append(files, "model.safetensors.index.json")
	}
	if len(texts) == 0 {
		return files, nil
	}
	words, err := m.Vocabulary()
	if err != nil {
		return nil, err
	}
	if err := out.WriteAll(ctx, VocabularyFile, words); err != nil {
		return nil, err
	}
	_, err = tensors.Write(ctx, out, TextFile, texts, tensors.PyTorch)
	return append(files, TextFile, VocabularyFile), err
}

// ParseDType reads --dtype.
func ParseDType(s string) (checkpoint.DType, error) {
	switch strings.ToLower(s) {
	case "", "keep":
		return "", nil
	case "f32", "float32":
		return checkpoint.F32, nil
	case "f16", "float16":
		return checkpoint.F16, nil
	case "bf16", "bfloat16":
		return checkpoint.BF16, nil
	}
	return "", fmt.Errorf("model: --dtype %q: want keep, f32, f16 or bf16", s)
}
