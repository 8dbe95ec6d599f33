package validate

import (
	"math"

	"sower/schemas"
)

// prepared checks a picture that a tokenizer is trained on.
func (c *checker) prepared(name string, n int64, r *schemas.PreparedRow) {
	if want := 3 * c.m.Identity.ImageSize * c.m.Identity.ImageSize; len(r.RGB) != want {
		c.problem(name, n, "a picture of %d bytes, want %d", len(r.RGB), want)
	}
}

// evaluated checks what a tokenizer made of a pair.
func (c *checker) evaluated(name string, n int64, r *schemas.EvaluationRow) {
	id := &c.m.Identity
	if len(r.Codes) != id.CodesPerImage {
		c.problem(name, n, "%d codes, want %d", len(r.Codes), id.CodesPerImage)
	}
	for _, code := range r.Codes {
		if int(code) >= id.Codes {
			c.problem(name, n, "code %d of %d", code, id.Codes)
			break
		}
	}
	if len(r.Image) != len(r.Decoded) {
		c.problem(name, n, "vectors of %d and %d values", len(r.Image), len(r.Decoded))
	}
	for _, list := range [][]float32{r.Image, r.Decoded, r.TextVector} {
		for _, v := range list {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				c.problem(name, n, "a value that is not finite")
				return
			}
		}
	}
}
