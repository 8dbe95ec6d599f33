package main

import (
	"fmt"

	"sower/schemas"
)

// identityLine says in one line which weights made something.
func identityLine(id schemas.Identity) string {
	return fmt.Sprintf("%s, weights %.12s, %dx%d %s, %s, K = %d", id.Tokenizer, id.Weights, id.ImageSize, id.ImageSize, id.Resize, id.Precision, id.Codes)
}
