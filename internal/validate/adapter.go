package validate

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"math"
	"strings"

	"sower/gpu/checkpoint"
	"sower/internal/corpus"
	"sower/schemas"
)

// maxAdapter bounds a file of an adapter folder that is read into memory.
const maxAdapter = 64 << 30

// trained checks a folder of sower tune or sower train-tokenizer: every file's digest, that weights are whole and finite, that metrics are
// Parquet, and that what such a folder must have is listed.
func (c *checker) trained(progress func(done, of int), required ...string) error {
	listed := map[string]bool{}
	for i, f := range c.m.Files {
		listed[f.Path] = true
		c.report.Files++
		c.report.Bytes += f.Bytes
		raw, err := c.b.ReadAll(c.ctx, f.Path, maxAdapter)
		if errors.Is(err, fs.ErrNotExist) {
			c.problem(f.Path, -1, "is in the manifest, but not there")
			continue
		}
		if err != nil {
			return err
		}
		if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:]) != f.SHA256 || int64(len(raw)) != f.Bytes {
			c.problem(f.Path, -1, "is not the file that the manifest describes: %d bytes of %d, or another SHA-256", len(raw), f.Bytes)
			continue
		}
		switch {
		case strings.HasSuffix(f.Path, ".safetensors"):
			c.weights(f.Path, raw)
		case strings.HasSuffix(f.Path, ".parquet"):
			footer, err := corpus.ReadFooter(c.ctx, c.b, f.Path)
			if err != nil {
				c.problem(f.Path, -1, "%v", err)
				continue
			}
			c.report.Rows += footer.Rows
			if footer.Rows != f.Rows {
				c.problem(f.Path, -1, "has %d rows, the manifest says %d", footer.Rows, f.Rows)
			}
		}
		if progress != nil {
			progress(i+1, len(c.m.Files))
		}
	}
	for _, name := range required {
		if !listed[name] {
			c.problem(schemas.ManifestName, -1, "does not list %s", name)
		}
	}
	return nil
}

// weights checks that a safetensors file is whole and its values are numbers.
func (c *checker) weights(name string, raw []byte) {
	src, _, err := checkpoint.ParseSafetensors(name, raw)
	if err != nil {
		c.problem(name, -1, "%v", err)
		return
	}
	for _, t := range src.Tensors() {
		values := make([]float32, t.Len())
		if err := src.Read(t.Name, 0, values); err != nil {
			c.problem(name, -1, "%v", err)
			continue
		}
		for i, v := range values {
			if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
				c.problem(name, -1, "element %d of %s is %v", i, t.Name, v)
				break
			}
		}
	}
}
