// Package card writes what a corpus says about itself, from its manifest alone: the README with the YAML that Hugging Face's
// loader needs, and a Croissant description. The text depends on the rows and their identity, not on the run that made them.
package card

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"

	"sower/schemas"
)

// Files are the descriptions of a corpus by name.
func Files(m *schemas.Manifest) (map[string][]byte, error) {
	switch m.Pipeline {
	case "encode":
		return map[string][]byte{"README.md": encode(m)}, nil
	case "interleave":
		croissant, err := Croissant(m)
		if err != nil {
			return nil, err
		}
		return map[string][]byte{"README.md": interleave(m), "croissant.json": croissant}, nil
	case "detokenize":
		return map[string][]byte{"README.md": detokenize(m)}, nil
	case "evaluate":
		return map[string][]byte{"README.md": evaluated(m)}, nil
	case "prepare":
		return map[string][]byte{"README.md": prepared(m)}, nil
	case "generate":
		return map[string][]byte{"README.md": generate(m)}, nil
	}
	return nil, fmt.Errorf("card: no description for pipeline %q", m.Pipeline)
}

// split is one split of the data for the Hub's loader.
type split struct {
	name, glob  string
	rows, bytes int64
}

// splits counts the parts in data/ by split.
func splits(m *schemas.Manifest, globs map[string]string) []split {
	var out []split
	for name, glob := range globs {
		s := split{name: name, glob: glob}
		prefix := strings.TrimSuffix(strings.TrimSuffix(glob, "*.parquet"), "*")
		for _, f := range m.Files {
			if strings.HasPrefix(f.Path, prefix) {
				s.rows += f.Rows
				s.bytes += f.Bytes
			}
		}
		out = append(out, s)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].name < out[j].name })
	return out
}

// header writes the YAML block; more are lines of further configurations.
func header(b *strings.Builder, tags []string, list []split, more ...string) {
	b.WriteString("---\nconfigs:\n- config_name: default\n  data_files:\n")
	for _, s := range list {
		if s.rows > 0 || len(list) == 1 { // the loader refuses a split without rows
			fmt.Fprintf(b, "  - split: %s\n    path: %s\n", s.name, s.glob)
		}
	}
	for _, line := range more {
		b.WriteString(line + "\n")
	}
	var rows int64
	b.WriteString("tags:\n")
	for _, t := range tags {
		fmt.Fprintf(b, "- %s\n", t)
	}
	for _, s := range list {
		rows += s.rows
	}
	fmt.Fprintf(b, "size_categories:\n- %s\n---\n", category(rows))
}

// category is the Hub's word for a number of rows.
func category(rows int64) string {
	names := []string{"n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B", "10B<n<100B", "100B<n<1T"}
	i := 0
	for limit := int64(1000); rows >= limit && i < len(names)-1; limit *= 10 {
		i++
	}
	return names[i]
}

// table writes the accounts.
func table(b *strings.Builder, c schemas.Counts, used string) {
	fmt.Fprintf(b, "| rows | count |\n| --- | ---: |\n| in | %d |\n| %s | %d |\n", c.In, used, c.Encoded)
	if c.Split > 0 {
		fmt.Fprintf(b, "| of them cut into several sequences | %d |\n", c.Split)
	}
	if c.Truncated > 0 {
		fmt.Fprintf(b, "| of them truncated to the context | %d |\n", c.Truncated)
	}
	reasons := make([]string, 0, len(c.Rejected))
	for r := range c.Rejected {
		reasons = append(reasons, r)
	}
	sort.Strings(reasons)
	for _, r := range reasons {
		if n := c.Rejected[r]; n > 0 {
			fmt.Fprintf(b, "| not used: %s | %d |\n", r, n)
		}
	}
}

// made says what made the corpus.
func made(b *strings.Builder, v any) {
	p, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic("card: " + err.Error()) // structs of strings, numbers and maps of strings
	}
	fmt.Fprintf(b, "```json\n%s\n```\n", p)
}

func encode(m *schemas.Manifest) []byte {
	var b strings.Builder
	var more []string
	if d := m.Counts.Documents; d != nil && d.Written > 0 { // the loader refuses a split without rows
		more = []string{"- config_name: documents", "  data_files:", "  - split: train", "    path: documents/*.parquet"}
	}
	header(&b, []string{"seed-tokens", "image-text"}, splits(m, map[string]string{"train": "data/*.parquet"}), more...)
	fmt.Fprintf(&b, "# Image codes\n\nOne row an image of an image-text corpus, made by Sower. The column `codes` holds its SEED codes: %d integers in 0…%d.\n\n",
		m.Identity.CodesPerImage, m.Identity.Codes-1)
	table(&b, m.Counts, "encoded")
	b.WriteString(`
Rows that have no codes stand in ` + "`rejects/`" + `, each with its reason. ` + "`_manifest.json`" + ` lists every file with its
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
`)
	documents(&b, m.Counts.Documents)
	b.WriteString("\n## What made it\n\n")
	made(&b, m.Identity)
	return []byte(b.String())
}

// documents describes the document table; c is nil where there is none.
func documents(b *strings.Builder, c *schemas.DocumentCounts) {
	if c == nil {
		return
	}
	b.WriteString("\n## Documents\n\n")
	fmt.Fprintf(b, "| documents | count |\n| --- | ---: |\n| in | %d |\n| written | %d |\n| of them without some of their images | %d |\n", c.In, c.Written, c.Incomplete)
	for _, r := range schemas.Reasons {
		if n := c.Rejected[string(r)]; n > 0 {
			fmt.Fprintf(b, "| not used: %s | %d |\n", r, n)
		}
	}
	b.WriteString(`
` + "`documents/`" + ` has one row a document, in the order of ` + "`data/`" + `: the parts of one number belong together, and a document's
images stand side by side. A document that was rejected has a row of its own in ` + "`rejects/`" + `, with position -1; images of it
that have codes keep them.

| column | meaning |
| --- | --- |
| document | the input's own key, not necessarily unique: source and row join it to its images |
| source, row | input file and document index in it |
| kind | interleaved, conversation or edit |
| elements | texts and images in order: type, text, role, image (the position in ` + "`data/`" + `) |
| metadata | the input's other fields, as JSON |
`)
}

func detokenize(m *schemas.Manifest) []byte {
	var b strings.Builder
	header(&b, []string{"image-embeddings"}, splits(m, map[string]string{"train": "data/*.parquet"}))
	b.WriteString("# Image embeddings\n\nOne row an image: the embedding that its SEED codes stand for, made by Sower. Rows are those of the code table, in order.\n\n")
	table(&b, m.Counts, "embedded")
	b.WriteString("\n## What made it\n\n")
	made(&b, m.Identity)
	return []byte(b.String())
}

func interleave(m *schemas.Manifest) []byte {
	var b strings.Builder
	header(&b, []string{"seed-tokens", "image-text", "pretraining"}, splits(m, map[string]string{"train": "data/train-*", "validation": "data/validation-*"}))
	v := m.Vocabulary
	fmt.Fprintf(&b, `# Training sequences

Token sequences of texts and images for a language model, made by Sower. Text ids are those of the tokenizer in `+"`tokenizer/`"+`.
An image is `+"`<img>`"+` (%d), its %d codes (code i has id %d + i) and `+"`</img>`"+` (%d), and is never cut. A model that learns from this
needs at least %d rows in its embedding.

`, v.Begin, v.ImageLength-2, v.Offset, v.End, v.Length)
	table(&b, m.Counts, "used")
	b.WriteString(`
| column | meaning |
| --- | --- |
| input_ids | ids of text and images |
| labels | the same, with -100 where there is no loss; the first of every sequence always is |
| images | offsets of every ` + "`<img>`" + ` |
| keys | keys of the images, or of the document or text |
| length | number of ids |
| position_ids, sequence_lengths | in packed corpora: positions that restart at 0, and the lengths of the sequences in a row |

## What made it

`)
	made(&b, map[string]any{"identity": m.Identity, "vocabulary": v})
	return []byte(b.String())
}
