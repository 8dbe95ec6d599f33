package lm

import (
	"fmt"
	"slices"
	"strings"
)

// Options say what of a model is trained, and how large its vocabulary is to be. The zero value loads a frozen model.
type Options struct {
	// Saved are the modules that are trained whole: those whose path ends in one of these strings (modules_to_save of PEFT).
	// "norm" also catches every "input_layernorm". Each must match something.
	Saved []string
	// Tokens are the rows of a table that are trained, by a module name such as "embed_tokens" or "lm_head"
	// (trainable_token_indices of PEFT). In a tied model, those of the embedding serve the head, too.
	Tokens map[string][]int32
	// Rows is the size to which the vocabulary grows; one that is as large already stays. New rows must be trained; see Grow for
	// what they start as.
	Rows int
	// Seed is that of new rows.
	Seed uint64
	// Positions bounds the positions for which tables are made, 0 for config.json's max_position_embeddings. Less saves memory.
	Positions int
}

// Suffixed reports whether a module path ends in name, as modules_to_save matches.
func Suffixed(path, name string) bool { return strings.HasSuffix(path, name) }

// Targeted reports whether name is a module path, or the last parts of one, as target_modules matches.
func Targeted(path, name string) bool { return path == name || strings.HasSuffix(path, "."+name) }

// tokens returns the trained rows of a table, ascending, and whether there are any.
func (o *Options) tokens(path string) ([]int32, error) {
	var ids []int32
	for name, list := range o.Tokens {
		if Targeted(path, name) {
			ids = append(ids, list...)
		}
	}
	slices.Sort(ids)
	for i, id := range ids {
		if id < 0 || i > 0 && ids[i-1] == id {
			return nil, fmt.Errorf("trained token %d of %s occurs twice, or is below 0", id, path)
		}
	}
	return ids, nil
}
