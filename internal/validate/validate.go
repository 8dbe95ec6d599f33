// Package validate reads a finished corpus as a stranger would and lists everything that is not as docs/formats.md says: files
// against the manifest, schemas, identities, and every row.
package validate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sort"
	"strings"

	"github.com/parquet-go/parquet-go"

	"sower/internal/blob"
	"sower/internal/corpus"
	"sower/internal/launch"
	"sower/internal/text"
	"sower/schemas"
)

// maxProblems is how many problems a report lists; all are counted.
const maxProblems = 100

// Problem is one thing that is wrong.
type Problem struct {
	File string `json:"file"`
	Row  int64  `json:"row"` // -1 for the whole file
	What string `json:"what"`
}

func (p Problem) String() string {
	if p.Row < 0 {
		return fmt.Sprintf("%s: %s", p.File, p.What)
	}
	return fmt.Sprintf("%s row %d: %s", p.File, p.Row, p.What)
}

// Report is what was looked at and what was found.
type Report struct {
	Folder   string    `json:"folder"`
	Pipeline string    `json:"pipeline"`
	Files    int       `json:"files"`
	Rows     int64     `json:"rows"`
	Bytes    int64     `json:"bytes"`
	Problems []Problem `json:"problems"`
	Total    int       `json:"total_problems"`
}

// OK reports whether nothing was found.
func (r *Report) OK() bool { return r.Total == 0 }

type checker struct {
	ctx    context.Context
	b      *blob.Bucket
	m      *schemas.Manifest
	report *Report
}

func (c *checker) problem(file string, row int64, format string, args ...any) {
	c.report.Total++
	if len(c.report.Problems) < maxProblems {
		c.report.Problems = append(c.report.Problems, Problem{file, row, fmt.Sprintf(format, args...)})
	}
}

// Corpus checks a folder that any command wrote. An error means that it could not be looked at; what is
// wrong with it stands in the report. progress, if not nil, is called after each file.
func Corpus(ctx context.Context, b *blob.Bucket, progress func(done, of int)) (*Report, error) {
	c := &checker{ctx: ctx, b: b, report: &Report{Folder: b.URL()}}
	m, err := launch.ReadManifest(ctx, b)
	if errors.Is(err, fs.ErrNotExist) {
		c.problem(schemas.ManifestName, -1, "is not there: the corpus is not finished")
		return c.report, nil
	}
	if err != nil {
		c.problem(schemas.ManifestName, -1, "%v", err)
		return c.report, nil
	}
	c.m = m
	c.report.Pipeline = m.Pipeline
	if err := m.Counts.Check(); err != nil {
		c.problem(schemas.ManifestName, -1, "%v", err)
	}
	switch m.Pipeline {
	case "tune":
		if m.Vocabulary == nil {
			c.problem(schemas.ManifestName, -1, "has no vocabulary")
		}
		return c.report, c.trained(progress, "adapter_config.json", "adapter_model.safetensors")
	case "train-tokenizer":
		return c.report, c.trained(progress, "config.json", "model.safetensors", "metrics.parquet")
	}
	if m.Pipeline == "interleave" && m.Vocabulary == nil {
		c.problem(schemas.ManifestName, -1, "has no vocabulary")
		return c.report, nil
	}
	if m.Pipeline == "interleave" {
		c.tokenizer()
	}
	if err := c.strangers(); err != nil {
		return nil, err
	}
	rows := map[string]int64{}
	for i, f := range m.Files {
		if err := c.file(f); err != nil {
			return nil, err
		}
		rows[folder(f.Path)] += f.Rows
		if progress != nil {
			progress(i+1, len(m.Files))
		}
	}
	if m.Pipeline != "interleave" {
		if got := rows["data"]; got != m.Counts.Encoded {
			c.problem(schemas.ManifestName, -1, "counts %d encoded rows, its files in data/ have %d", m.Counts.Encoded, got)
		}
	}
	return c.report, nil
}

// tokenizer checks that the tokenizer beside the sequences has their ids. Its digest may be another than the manifest's, which
// is of the files that it was made of.
func (c *checker) tokenizer() {
	const dir = "tokenizer"
	if scheme, _ := blob.SplitScheme(c.b.URL()); scheme != "" {
		return // tokenizers are read from local folders alone
	}
	t, err := text.Open(blob.Join(c.b.URL(), dir), text.Options{Rules: "hf"})
	if err != nil {
		c.problem(dir, -1, "%v", err)
		return
	}
	v := c.m.Vocabulary
	if size := t.Vocab().Size; size != int(v.Length) {
		c.problem(dir, -1, "has %d ids, the manifest says %d", size, v.Length)
		return
	}
	images, err := text.Extend(t, int(v.K))
	if err != nil {
		c.problem(dir, -1, "%v", err)
		return
	}
	if images.Offset != v.Offset || images.Begin != v.Begin || images.End != v.End {
		c.problem(dir, -1, "code 0, <img> and </img> are %d, %d and %d, the manifest says %d, %d and %d", images.Offset, images.Begin, images.End, v.Offset, v.Begin, v.End)
	}
}

func folder(path string) string {
	f, _, _ := strings.Cut(path, "/")
	return f
}

// strangers finds parts that the manifest does not list.
func (c *checker) strangers() error {
	listed := map[string]bool{}
	for _, f := range c.m.Files {
		if listed[f.Path] {
			c.problem(schemas.ManifestName, -1, "lists %s twice", f.Path)
		}
		listed[f.Path] = true
	}
	for _, dir := range []string{"data", "documents", "rejects"} {
		parts, err := corpus.Parts(c.ctx, c.b, dir)
		if err != nil {
			return err
		}
		for _, p := range parts {
			if !listed[p.Name] {
				c.problem(p.Name, -1, "is not in the manifest")
			}
		}
	}
	return nil
}

// file checks one file of the manifest, outside in: there, size, digest, footer, schema, rows.
func (c *checker) file(f schemas.File) error {
	info, err := c.b.Stat(c.ctx, f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		c.problem(f.Path, -1, "is missing")
		return nil
	}
	if err != nil {
		return err
	}
	c.report.Files++
	c.report.Bytes += info.Size
	if info.Size != f.Bytes {
		c.problem(f.Path, -1, "has %d bytes, the manifest says %d", info.Size, f.Bytes)
	} else if sum, err := corpus.Digest(c.ctx, c.b, f.Path); err != nil {
		return err
	} else if sum != f.SHA256 {
		c.problem(f.Path, -1, "has SHA-256 %.16s…, the manifest says %.16s…", sum, f.SHA256)
	}
	footer, err := corpus.ReadFooter(c.ctx, c.b, f.Path)
	if errors.Is(err, corpus.ErrDamaged) {
		c.problem(f.Path, -1, "%v", err)
		return nil
	}
	if err != nil {
		return err
	}
	if footer.Rows != f.Rows {
		c.problem(f.Path, -1, "has %d rows, the manifest says %d", footer.Rows, f.Rows)
	}
	if err := corpus.SameIdentity(f.Path, footer, c.m.Identity); err != nil {
		c.problem(f.Path, -1, "%v", err)
	}
	for i, g := range footer.Groups {
		if g.Bytes > 100<<20 {
			c.problem(f.Path, -1, "row group %d has %d bytes, more than 100 MB", i, g.Bytes)
		}
	}
	before := c.report.Total
	err = c.rows(f.Path, footer)
	if errors.Is(err, corpus.ErrDamaged) || err != nil && c.ctx.Err() == nil {
		if c.report.Total == before || errors.Is(err, corpus.ErrDamaged) {
			c.problem(f.Path, -1, "cannot be read: %v", err)
		}
		return nil
	}
	return err
}

// rows checks schema and rows of a file by the table that its folder holds.
func (c *checker) rows(name string, footer *corpus.Footer) error {
	switch dir := folder(name); {
	case dir == "rejects":
		return table(c, name, footer, c.reject)
	case dir == "documents":
		images, err := c.images(strings.Replace(name, "documents/", "data/", 1))
		if err != nil {
			return err
		}
		return table(c, name, footer, func(name string, n int64, r *schemas.DocumentRow) { c.document(name, n, r, images) })
	case c.m.Pipeline == "prepare":
		return table(c, name, footer, c.prepared)
	case c.m.Pipeline == "evaluate":
		return table(c, name, footer, c.evaluated)
	case c.m.Pipeline == "detokenize":
		return table(c, name, footer, c.embedding)
	case c.m.Pipeline == "interleave":
		c.vocabulary(name, footer)
		if c.m.Identity.Options["pack"] == "true" {
			return table(c, name, footer, c.packed)
		}
		return table(c, name, footer, c.sequence)
	default:
		return table(c, name, footer, (&codeTable{c: c}).row)
	}
}

// imageName is what identifies an image in a code table.
type imageName struct {
	source string
	row    int64
	at     int32
}

// images are those of documents in one part of a code table; documents stand in the part of the same unit.
func (c *checker) images(data string) (map[imageName]bool, error) {
	type columns struct {
		Source   string  `parquet:"source,dict"`
		Row      int64   `parquet:"row,delta"`
		Document *string `parquet:"document,optional"`
		Position int32   `parquet:"position"`
	}
	out := map[imageName]bool{}
	err := corpus.Read(c.ctx, c.b, data, func(r columns) error {
		if r.Document != nil {
			out[imageName{r.Source, r.Row, r.Position}] = true
		}
		return nil
	})
	return out, err
}

// table compares a file's schema with that of T and calls check with every row.
func table[T any](c *checker, name string, footer *corpus.Footer, check func(name string, n int64, row *T)) error {
	var zero T
	want := parquet.SchemaOf(zero)
	if diff := schemaDiff(want, footer.Schema); diff != "" {
		c.problem(name, -1, "schema: %s", diff)
		return nil
	}
	n := int64(0)
	return corpus.Read(c.ctx, c.b, name, func(row T) error {
		check(name, n, &row)
		n++
		c.report.Rows++
		return nil
	})
}

// schemaDiff says which columns are missing, extra or of another type.
func schemaDiff(want, got *parquet.Schema) string {
	columns := func(s *parquet.Schema) map[string]string {
		m := map[string]string{}
		for _, f := range s.Fields() {
			m[f.Name()] = typeOf(f)
		}
		return m
	}
	a, b := columns(want), columns(got)
	var diff []string
	for name, t := range a {
		switch {
		case b[name] == "":
			diff = append(diff, fmt.Sprintf("column %s is missing", name))
		case b[name] != t:
			diff = append(diff, fmt.Sprintf("column %s is %s, want %s", name, b[name], t))
		}
	}
	for name := range b {
		if a[name] == "" {
			diff = append(diff, fmt.Sprintf("column %s is extra", name))
		}
	}
	sort.Strings(diff)
	return strings.Join(diff, "; ")
}

// typeOf writes a column's type, its nesting included.
func typeOf(n parquet.Node) string {
	s := ""
	if n.Optional() {
		s = "optional "
	}
	if n.Repeated() {
		s += "repeated "
	}
	if n.Leaf() {
		return s + n.Type().String()
	}
	s += "group("
	for _, f := range n.Fields() {
		s += f.Name() + " " + typeOf(f) + ","
	}
	return s + ")"
}
