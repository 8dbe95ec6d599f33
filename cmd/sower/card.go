package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"sower/schemas"
)

// encodeCard is the corpus's README: what Hugging Face's loader needs to know, and what a person wants to. It depends on
// the rows and their identity alone.
func encodeCard(p *prepared) string {
	id := p.config.Identity
	var b strings.Builder
	b.WriteString(`---
configs:
- config_name: default
  data_files:
  - split: train
    path: data/*.parquet
tags:
- seed-tokens
- image-text
---
# Image codes

One row an image of an image-text corpus, made by Sower. The column ` + "`codes`" + ` holds its SEED codes: `)
	fmt.Fprintf(&b, "%d integers in 0…%d.\n\n%%COUNTS%%\n", id.CodesPerImage, id.Codes-1)
	b.WriteString(`Rows that have no codes stand in ` + "`rejects/`" + `, each with its reason. ` + "`_manifest.json`" + ` lists every file with its
SHA-256; it is written last, so a folder without it is not finished.

| column | meaning |
| --- | --- |
| key | the input's own key, not necessarily unique |
| source, row | input file and sample index in it: with position they identify the image |
| document, position | document and place in it; null and 0 for a plain pair |
| text | caption |
| codes | the image's codes, list<uint16> |
| width, height | of the original, in pixels |
| sha256 | of the image file |
| metadata | the input's other fields, as JSON |

## What made it

`)
	fields, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		panic("card: " + err.Error()) // strings, numbers and a map of strings
	}
	fmt.Fprintf(&b, "```json\n%s\n```\n", fields)
	return b.String()
}

// identityLine says in one line which weights made something.
func identityLine(id schemas.Identity) string {
	return fmt.Sprintf("%s, weights %.12s, %dx%d %s, %s, K = %d", id.Tokenizer, id.Weights, id.ImageSize, id.ImageSize, id.Resize, id.Precision, id.Codes)
}
