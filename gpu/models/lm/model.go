package lm

import (
	"sower/gpu"
	"sower/gpu/nn"
)

// Sizes are those of a decoder, whatever its architecture calls them.
type Sizes struct {
	Vocabulary int // V, tokens, with those that Options.Rows added
	Width      int // C
	Layers     int
	Heads      int
	KVHeads    int // heads of keys and values, a divisor of Heads
	HeadDim    int // D
	Positions  int // places of a sequence: positions are less than this
	Tied       bool
}

// Model is a decoder on a device. Its methods may be called from several goroutines at once, save while an optimizer
// changes its parameters.
type Model interface {
	// Architecture is model_type of config.json.
	Architecture() string
	Sizes() Sizes
	// Hidden computes the last hidden states, after the last norm: [B T C]. With a cache, the batch continues what the cache
	// holds, whose length grows by T. What is wrong with a batch is an error of the pass.
	Hidden(p *gpu.Pass, b *Batch, cache *Cache) *gpu.Tensor
	// Head turns hidden states into scores, with Pass.Logits or Pass.CrossEntropy.
	Head() *gpu.Head
	// Linears lists the linear layers inside the decoder, in the order of computation; the head is not one of them.
	Linears() []Module
	// Parameters lists the tensors that Options asked to train. Names are those of Hugging Face's checkpoints, and of PEFT's
	// for trained token rows, without "base_model.model.".
	Parameters() []Parameter
	// Device is where the model is.
	Device() *gpu.Device
	// Close gives back the model's memory. No call may be in progress.
	Close() error
}

// Module is a linear layer and its path, as in "model.layers.0.self_attn.q_proj".
type Module struct {
	Path    string
	Linear  *nn.Linear
	In, Out int
}

// Parameter is a trained tensor of the base model.
type Parameter struct {
	nn.Parameter
	// Tokens are the ids of the rows, ascending, if only these rows of a table are trained.
	Tokens []int32
}
