// Package lm is what decoder-only language models share: batches, caches, losses, greedy generation, loading with trained
// parts, and the registry by which Open finds an architecture. The architectures are in sower/gpu/models/llama and
// sower/gpu/models/opt; import sower/gpu/models/lm/all for both.
//
//	c, err := lm.Open("llama-2-7b")             // a folder, or a .gguf file
//	m, err := c.Load(dev, lm.Options{})
//	p := dev.NewPass(gpu.Inference)
//	logits := p.Logits(m.Hidden(p, batch, nil), m.Head())
//
// What surprises: a row's documents and its left padding are both said by Starts, the first key that each query sees; there
// is no other mask. Dropout rates of config.json are not applied: only adapters have dropout.
package lm
