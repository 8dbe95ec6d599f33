package trainer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"

	"sower/internal/blob"
	"sower/internal/corpus"
	"sower/schemas"
)

// Teacher is a folder of Parquet files with the image embedding of each picture, which the second stage learns to give back. A row has the
// columns source, row and embedding: the identity of the pair, as prepared rows and code tables have it, and list of image_embed floats.
// What sower detokenize writes is one; so is what another program computes of the pictures of prepared/.
type Teacher struct {
	bucket *blob.Bucket
	parts  []string
	width  int
	at     map[string][]int // source to the parts that have rows of it
}

// place identifies a pair.
type place struct {
	source string
	row    int64
}

// OpenTeacher lists the files of a folder and makes sure that the first embedding has the width.
func OpenTeacher(ctx context.Context, url string, width int) (*Teacher, error) {
	b, err := blob.OpenBucket(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("trainer: --teacher: %w", err)
	}
	t := &Teacher{bucket: b, width: width}
	if err := t.list(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("trainer: --teacher %s: %w", url, err), b.Close())
	}
	return t, nil
}

// dataFile reports whether a file of a folder is one with rows, and no reject table, plan, or hidden file.
func dataFile(name string) bool {
	for _, part := range strings.Split(name, "/") {
		if strings.HasPrefix(part, "_") || strings.HasPrefix(part, ".") || part == "rejects" {
			return false
		}
	}
	return strings.HasSuffix(name, ".parquet")
}

var errFirst = errors.New("the first row is enough")

func (t *Teacher) list(ctx context.Context) error {
	for info, err := range t.bucket.List(ctx, "") {
		if err != nil {
			return err
		}
		if dataFile(info.Name) {
			t.parts = append(t.parts, info.Name)
		}
	}
	if len(t.parts) == 0 {
		return errors.New("no Parquet file with columns source, row and embedding")
	}
	for _, name := range t.parts {
		err := corpus.Read(ctx, t.bucket, name, func(r schemas.TeacherRow) error {
			if err := t.check(&r); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return errFirst
		})
		if errors.Is(err, errFirst) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return errors.New("its files have no rows")
}

func (t *Teacher) check(r *schemas.TeacherRow) error {
	if len(r.Embedding) != t.width {
		return fmt.Errorf("an embedding of %d numbers (source %q, row %d), image_embed of the recipe's model is %d", len(r.Embedding), r.Source, r.Row, t.width)
	}
	for _, v := range r.Embedding {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return fmt.Errorf("an embedding that is not finite (source %q, row %d)", r.Source, r.Row)
		}
	}
	return nil
}

// Digest identifies the embeddings: SHA-256 over names and contents of the files.
func (t *Teacher) Digest(ctx context.Context) (string, error) {
	sum := sha256.New()
	for _, name := range t.parts {
		d, err := corpus.Digest(ctx, t.bucket, name)
		if err != nil {
			return "", fmt.Errorf("trainer: --teacher: %w", err)
		}
		fmt.Fprintln(sum, name, d)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// index finds out which parts have rows of which source.
func (t *Teacher) index(ctx context.Context) error {
	if t.at != nil {
		return nil
	}
	at := map[string][]int{}
	for i, name := range t.parts {
		err := corpus.Read(ctx, t.bucket, name, func(r struct {
			Source string `parquet:"source"`
		}) error {
			if list := at[r.Source]; len(list) == 0 || list[len(list)-1] != i {
				at[r.Source] = append(list, i)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("trainer: --teacher: %w", err)
		}
	}
	t.at = at
	return nil
}

// Take returns the embeddings of pairs. Each must be there.
func (t *Teacher) Take(ctx context.Context, places []place) ([][]float32, error) {
	if err := t.index(ctx); err != nil {
		return nil, err
	}
	wanted, parts := make(map[place]int, len(places)), map[int]bool{}
	for i, p := range places {
		wanted[p] = i
		for _, part := range t.at[p.source] {
			parts[part] = true
		}
	}
	out, found := make([][]float32, len(places)), 0
	for i, name := range t.parts {
		if !parts[i] {
			continue
		}
		err := corpus.Read(ctx, t.bucket, name, func(r schemas.TeacherRow) error {
			at, ok := wanted[place{r.Source, r.Row}]
			if !ok {
				return nil
			}
			if out[at] != nil {
				return fmt.Errorf("source %q, row %d is there twice", r.Source, r.Row)
			}
			found++
			out[at] = r.Embedding
			return t.check(&r)
		})
		if err != nil {
			return nil, fmt.Errorf("trainer: --teacher: %s: %w", name, err)
		}
	}
	if missing := len(places) - found; missing > 0 {
		for i, p := range places {
			if out[i] == nil {
				return nil, fmt.Errorf("trainer: --teacher has no embedding of %d of %d pictures, such as source %q, row %d: it must have one of every prepared row", missing, len(places), p.source, p.row)
			}
		}
	}
	return out, nil
}

// CheckTeacher makes sure that every prepared row has its embedding, a part at a time.
func (c *Config) CheckTeacher(ctx context.Context) (err error) {
	t, err := OpenTeacher(ctx, c.Teacher, c.Recipe.Model.ImageEmbed)
	if err != nil {
		return err
	}
	defer t.Close()
	in, err := blob.OpenBucket(ctx, c.Prepared)
	if err != nil {
		return err
	}
	defer in.Close()
	for _, f := range c.Parts {
		var places []place
		err := corpus.Read(ctx, in, f.Path, func(r struct {
			Source string `parquet:"source"`
			Row    int64  `parquet:"row"`
		}) error {
			places = append(places, place{r.Source, r.Row})
			return nil
		})
		if err != nil {
			return err
		}
		if _, err := t.Take(ctx, places); err != nil {
			return err
		}
	}
	return nil
}

// Close gives back the folder.
func (t *Teacher) Close() error { return t.bucket.Close() }
