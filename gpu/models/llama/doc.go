// Package llama is the LLaMA decoder (arXiv 2302.13971, 2307.09288), as Hugging Face's LlamaForCausalLM computes it: RMSNorm,
// rotated queries and keys, keys and values shared by groups of heads, SwiGLU.
package llama
