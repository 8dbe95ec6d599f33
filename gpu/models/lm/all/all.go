// Package all registers every architecture of language models, for lm.Open.
package all

import (
	_ "sower/gpu/models/llama"
	_ "sower/gpu/models/opt"
)
