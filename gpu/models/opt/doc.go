// Package opt is the OPT decoder (arXiv 2205.01068), as Hugging Face's OPTForCausalLM computes it: learned positions, LayerNorm
// before attention and before a ReLU layer, biases everywhere, the embedding as head. opt-350m, which normalizes after and
// projects its embeddings, is another architecture and refused.
//
// Positions count tokens, not columns, and their table begins with two rows of its own: that of padding is row 1.
package opt
