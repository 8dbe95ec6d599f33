package card

import (
	"strings"

	"sower/schemas"
)

func generate(m *schemas.Manifest) []byte {
	var b strings.Builder
	header(&b, []string{"seed-tokens", "image-text", "synthetic"}, splits(m, map[string]string{"train": "data/*.parquet"}))
	b.WriteString("# Generated pairs of images and texts\n\n")
	if m.Identity.Options["task"] == "image" {
		b.WriteString(`A code table of Sower whose codes a language model made of the texts: no one has seen these images. ` + "`width` and `height`" + ` are those that
the codes' model takes, ` + "`sha256`" + ` is of the codes. ` + "`sower detokenize`" + ` turns the codes into image embeddings.

`)
	} else {
		b.WriteString("A code table of Sower whose texts a language model made of the codes.\n\n")
	}
	b.WriteString("Key, source, row and position are those of the input's rows, in order.\n\n")
	table(&b, m.Counts, "generated")
	b.WriteString("\n## What made it\n\n")
	made(&b, m.Identity)
	return []byte(b.String())
}
