package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"sower/internal/blob"
	"sower/internal/corpus"
	"sower/internal/progress"
	"sower/schemas"
)

// splitUsage is what inspect finds out about one split of a sequence corpus.
type splitUsage struct {
	Rows      int64 `json:"rows"`
	Sequences int64 `json:"sequences"`
	IDs       int64 `json:"ids"`
	Images    int64 `json:"images"`
	// Fill is the share of rows times context that holds ids; what packing is for.
	Fill float64 `json:"fill"`
}

// tableOf tells the tables in data/ apart by their columns, which unfinished corpora have, too.
func tableOf(f *corpus.Footer) string {
	for column, table := range map[string]string{"sha256": "codes", "embedding": "embeddings", "input_ids": "sequences"} {
		for _, c := range f.Schema.Fields() {
			if c.Name() == column {
				return table
			}
		}
	}
	return ""
}

// sequences adds one part of a sequence table to the report.
func (r *report) sequences(ctx context.Context, b *blob.Bucket, name string, f *corpus.Footer) error {
	split, _, _ := strings.Cut(path.Base(name), "-")
	if r.Splits == nil {
		r.Splits = map[string]*splitUsage{}
	}
	u := r.Splits[split]
	if u == nil {
		u = new(splitUsage)
		r.Splits[split] = u
	}
	if r.Vocabulary == nil {
		v := new(schemas.Vocabulary)
		if err := json.Unmarshal([]byte(f.Values[schemas.VocabularyKey]), v); err != nil {
			return fmt.Errorf("inspect: %s: vocabulary: %w", name, err)
		}
		r.Vocabulary = v
	}
	context := 0
	if r.Identity != nil {
		context, _ = strconv.Atoi(r.Identity.Options["context"]) // absent in files of other makers: no fill then
	}
	var err error
	add := func(ids int32, images, sequences int) error {
		u.Rows++
		u.IDs += int64(ids)
		u.Images += int64(images)
		u.Sequences += int64(sequences)
		return nil
	}
	if r.Identity != nil && r.Identity.Options["pack"] == "true" {
		type columns struct {
			Images          []int32 `parquet:"images,list"`
			Length          int32   `parquet:"length"`
			SequenceLengths []int32 `parquet:"sequence_lengths,list"`
		}
		err = corpus.Read(ctx, b, name, func(c columns) error { return add(c.Length, len(c.Images), len(c.SequenceLengths)) })
	} else {
		type columns struct {
			Images []int32 `parquet:"images,list"`
			Length int32   `parquet:"length"`
		}
		err = corpus.Read(ctx, b, name, func(c columns) error { return add(c.Length, len(c.Images), 1) })
	}
	if u.Rows > 0 && context > 0 {
		u.Fill = float64(u.IDs) / float64(u.Rows) / float64(context)
	}
	return err
}

// printSequences writes what there is to say about a sequence corpus.
func (r *report) printSequences(w io.Writer) {
	for _, split := range []string{"train", "validation"} {
		u := r.Splits[split]
		if u == nil {
			continue
		}
		fmt.Fprintf(w, "  %s: %s rows, %s sequences, %s ids, %s images", split, progress.Thousands(u.Rows), progress.Thousands(u.Sequences),
			progress.Thousands(u.IDs), progress.Thousands(u.Images))
		if u.Fill > 0 {
			fmt.Fprintf(w, ", %.1f%% of the context filled", 100*u.Fill)
		}
		fmt.Fprintln(w)
	}
	if v := r.Vocabulary; v != nil {
		fmt.Fprintf(w, "  vocabulary: %s, code i is id %d + i, <img> %d, </img> %d, %d ids in all\n", v.Tokenizer, v.Offset, v.Begin, v.End, v.Length)
	}
}
