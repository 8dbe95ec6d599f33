//go:build cuda && linux && cgo

package cuda

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"sower/gpu"
	"sower/gpu/checkpoint"
	"sower/gpu/cuda/internal/fakecuda"
	"sower/gpu/lora"
	"sower/gpu/models/lm"
	_ "sower/gpu/models/lm/all"
	"sower/gpu/optim"
)

// llama are the sizes of a language model; firstrun/tune_torch.py has the same ones.
type llama struct{ vocabulary, width, mlp, layers, heads, kvHeads int }

var (
	llamaLarge = llama{32000, 2048, 5632, 22, 32, 4} // 1.1 billion parameters, the shape of TinyLlama
	llamaTiny  = llama{259, 96, 256, 2, 6, 2}
)

// standIn makes such a model by rule.
func (l llama) standIn() (*lm.Checkpoint, int, error) {
	config, err := json.Marshal(map[string]any{"model_type": "llama", "architectures": []string{"LlamaForCausalLM"}, "vocab_size": l.vocabulary,
		"hidden_size": l.width, "intermediate_size": l.mlp, "num_hidden_layers": l.layers, "num_attention_heads": l.heads, "num_key_value_heads": l.kvHeads,
		"max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": false,
		"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0})
	if err != nil {
		return nil, 0, err
	}
	var list []checkpoint.Info
	count := 0
	add := func(name string, shape ...int) {
		t := checkpoint.Info{Name: name + ".weight", Shape: shape}
		list, count = append(list, t), count+t.Len()
	}
	kv := l.width / l.heads * l.kvHeads
	add("model.embed_tokens", l.vocabulary, l.width)
	for i := range l.layers {
		layer := fmt.Sprintf("model.layers.%d.", i)
		add(layer+"input_layernorm", l.width)
		add(layer+"self_attn.q_proj", l.width, l.width)
		add(layer+"self_attn.k_proj", kv, l.width)
		add(layer+"self_attn.v_proj", kv, l.width)
		add(layer+"self_attn.o_proj", l.width, l.width)
		add(layer+"post_attention_layernorm", l.width)
		add(layer+"mlp.gate_proj", l.mlp, l.width)
		add(layer+"mlp.up_proj", l.mlp, l.width)
		add(layer+"mlp.down_proj", l.width, l.mlp)
	}
	add("model.norm", l.width)
	add("lm_head", l.vocabulary, l.width)
	return &lm.Checkpoint{Path: "stand-in", ModelType: "llama", Config: config, Source: checkpoint.NewStandIn(list, 0)}, count, nil
}

func benchNumber(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return otherwise
}

// BenchmarkTune is LoRA training, rank 16 on all seven projections, of a LLaMA of 1.1 billion parameters on made-up tokens:
// SOWER_BENCH_ROWS (4) rows of SOWER_BENCH_TOKENS (1024) a step, without gradient checkpointing, the loss over all tokens,
// gradients clipped, AdamW.
func BenchmarkTune(b *testing.B) {
	for _, p := range benchPrecisions(b, "bf16") {
		b.Run(p.String(), func(b *testing.B) { tuneRate(b, p) })
	}
}

func tuneRate(b *testing.B, p gpu.Precision) {
	fakecuda.Need(b)
	sizes, rows, tokens, rank := llamaLarge, benchNumber("SOWER_BENCH_ROWS", 4), benchNumber("SOWER_BENCH_TOKENS", 1024), 16
	if benchTiny() {
		sizes, rows, tokens, rank = llamaTiny, 2, 24, 4
	}
	start := time.Now()
	base, parameters, err := sizes.standIn()
	if err != nil {
		b.Fatal(err)
	}
	dev, err := gpu.Open("cuda", gpu.Options{Precision: p})
	if err != nil {
		b.Fatal(err)
	}
	defer dev.Close()
	m, err := base.Load(dev, lm.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	adapters, err := lora.Attach(m, lora.Config{R: rank, Alpha: float64(2 * rank),
		Targets: []string{"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}}, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer adapters.Close()
	opt, err := optim.New(dev, adapters.Parameters(), optim.Config{Beta1: 0.9, Beta2: 0.98, Eps: 1e-6, Decay: 0.05, Decayed: optim.Matrices, Clip: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer opt.Close()
	load, trained, step := time.Since(start).Seconds(), 0, uint64(0)
	for _, q := range adapters.Parameters() {
		trained += q.Tensor.Len()
	}
	var first, last float64
	median, least, err := repeat(func() error {
		r := rand.New(rand.NewPCG(step, 3))
		ids := make([]int32, rows*tokens)
		for i := range ids {
			ids[i] = r.Int32N(int32(sizes.vocabulary))
		}
		loss, _, err := lm.Accumulate(m, gpu.Training, []lm.Example{{Batch: &lm.Batch{B: rows, T: tokens, IDs: ids}, Labels: ids}}, nil)
		if err != nil {
			return err
		}
		if last = loss; step == 0 {
			first = loss
		}
		step++
		_, err = opt.Step(1e-4)
		return err
	})
	f := map[string]any{"figure": "tune", "engine": "sower", "device": dev.String(), "precision": p.String(), "rows": rows, "tokens": tokens, "rank": rank,
		"parameters": parameters, "trained": trained, "load_seconds": load}
	if err != nil {
		failure(b, f, err)
		return
	}
	f["milliseconds"], f["least_milliseconds"], f["tokens_per_second"] = 1e3*median, 1e3*least, float64(rows*tokens)/median
	f["steps"], f["first_loss"], f["last_loss"] = step, first, last
	figure(f)
	if !(last < 1e4) || !(first < 1e4) {
		b.Errorf("losses are %v and %v", first, last)
	}
}
