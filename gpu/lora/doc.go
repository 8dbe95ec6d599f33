// Package lora trains low-rank changes of linear layers (LoRA, arXiv 2106.09685) beside modules that are trained whole and
// single token rows, and reads and writes all of it as PEFT folders.
//
//	c := lora.Config{R: 16, Alpha: 32, Targets: []string{"q_proj", "v_proj"}, Saved: []string{"embed_tokens", "lm_head"}}
//	m, err := base.Load(dev, c.Options(rows, seed))      // base from lm.Open
//	a, err := lora.Attach(m, c, seed)
//	opt, err := optim.New(dev, a.Parameters(), …)
//
// A layer then computes y = W·x + b + Alpha/R·B(A·dropout(x)). A starts uniform within ±1/√in, B as 0.
package lora
