// Table prints what the scripts of docs/recipes measured as Markdown: a column for each kind of run, in it the mean over seeds and, behind ±,
// the standard deviation where there are several. A run is a folder KIND-SEED with retrieval.json and, if a language model was measured, language.json.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"sower/internal/evaluate"
	"sower/internal/evaluate/language"
)

// run is one seed of a kind.
type run struct {
	evaluate.Report
	language *language.Report // nil without one
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: table FOLDER KIND...")
		os.Exit(2)
	}
	if err := write(os.Stdout, os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "table:", err)
		os.Exit(1)
	}
}

// rows are what is compared; a row that no run has a value for is left out.
var rows = []struct {
	name string
	of   func(*run) *float64
}{
	{"embedding: image to text, R@1, %", func(r *run) *float64 { return &r.Retrieval.Embedding.ImageToText.At1 }},
	{"embedding: text to image, R@1, %", func(r *run) *float64 { return &r.Retrieval.Embedding.TextToImage.At1 }},
	{"embedding: image to text, R@10, %", func(r *run) *float64 { return &r.Retrieval.Embedding.ImageToText.At10 }},
	{"embedding: text to image, R@10, %", func(r *run) *float64 { return &r.Retrieval.Embedding.TextToImage.At10 }},
	{"embedding: mean recall, %", func(r *run) *float64 { return &r.Retrieval.Embedding.Mean }},
	{"codes: mean recall, %", func(r *run) *float64 { return &r.Retrieval.Decoded.Mean }},
	{"codes: share of the embedding's", func(r *run) *float64 { return &r.Retrieval.Share }},
	{"the same before quantization", func(r *run) *float64 {
		if r.Retrieval.DecodedZ == nil {
			return nil
		}
		return number(r.Retrieval.DecodedZ.Mean / r.Retrieval.Embedding.Mean)
	}},
	{"codes used, of 1,024", func(r *run) *float64 { return number(r.Usage.Used) }},
	{"perplexity of the codebook", func(r *run) *float64 { return &r.Usage.Perplexity }},
	{"cosine of reconstruction", func(r *run) *float64 { return &r.Reconstruction.Cosine }},
	{"drawn pictures: PSNR, dB", func(r *run) *float64 { return r.Reconstruction.PSNR }},
	{"drawn pictures: SSIM", func(r *run) *float64 { return r.Reconstruction.SSIM }},
	{"counts of each place, bits a code", ofLanguage(func(r *language.Report) *float64 { return r.Baseline })},
	{"language model, bits a code", ofLanguage(func(r *language.Report) *float64 { return &r.Bits })},
	{"behind another caption, bits a code", ofLanguage(func(r *language.Report) *float64 { return &r.Swapped })},
	{"first 8 codes, bits a code", ofLanguage(func(r *language.Report) *float64 { return number(mean(r.ByPlace[:8])) })},
	{"last 8 codes, bits a code", ofLanguage(func(r *language.Report) *float64 { return number(mean(r.ByPlace[len(r.ByPlace)-8:])) })},
	{"whole images when any token may follow, %", ofLanguage(func(r *language.Report) *float64 { return &r.Whole })},
	{"caption found by the model's codes, R@1, %", ofLanguage(func(r *language.Report) *float64 { return &r.Generated.At1 })},
	{"caption found by the model's codes, R@10, %", ofLanguage(func(r *language.Report) *float64 { return &r.Generated.At10 })},
	{"caption found by true codes, R@10, %", ofLanguage(func(r *language.Report) *float64 { return &r.True.At10 })},
}

func number[T int | float64](v T) *float64 {
	f := float64(v)
	return &f
}

func ofLanguage(of func(*language.Report) *float64) func(*run) *float64 {
	return func(r *run) *float64 {
		if r.language == nil {
			return nil
		}
		return of(r.language)
	}
}

// load reads the runs of a kind.
func load(folder, kind string) (list []*run, err error) {
	names, err := filepath.Glob(filepath.Join(folder, kind+"-*", "retrieval.json"))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		r := &run{language: &language.Report{}}
		if err := read(name, &r.Report); err != nil {
			return nil, err
		}
		if r.Retrieval == nil {
			return nil, fmt.Errorf("%s has no retrieval", name)
		}
		name = filepath.Join(filepath.Dir(name), "language.json")
		switch err := read(name, r.language); {
		case errors.Is(err, fs.ErrNotExist):
			r.language = nil
		case err != nil:
			return nil, err
		case len(r.language.ByPlace) < 8:
			return nil, fmt.Errorf("%s: %d places, want 8 or more", name, len(r.language.ByPlace))
		}
		list = append(list, r)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s has no %s-*/retrieval.json: has the script ended?", folder, kind)
	}
	return list, nil
}

func write(w io.Writer, folder string, kinds []string) error {
	found := map[string][]*run{}
	fmt.Fprint(w, "| |")
	for _, kind := range kinds {
		var err error
		if found[kind], err = load(folder, kind); err != nil {
			return err
		}
		fmt.Fprintf(w, " %s (%d) |", kind, len(found[kind]))
	}
	fmt.Fprint(w, "\n| --- |")
	for range kinds {
		fmt.Fprint(w, " --- |")
	}
	fmt.Fprintln(w)
	for _, row := range rows {
		line, some := fmt.Sprintf("| %s |", row.name), false
		for _, kind := range kinds {
			var values []float64
			for _, r := range found[kind] {
				if v := row.of(r); v != nil {
					values = append(values, *v)
				}
			}
			if len(values) == 0 {
				line += " |"
				continue
			}
			m := mean(values)
			line += fmt.Sprintf(" %.*f", digits(m), m)
			if len(values) > 1 { // one run says nothing of how runs differ
				line += fmt.Sprintf(" ± %.*f", digits(m), deviation(values, m))
			}
			line += " |"
			some = true
		}
		if some {
			fmt.Fprintln(w, line)
		}
	}
	return prefixes(w, kinds, found)
}

// prefixes adds what the first codes already say.
func prefixes(w io.Writer, kinds []string, found map[string][]*run) error {
	fmt.Fprintf(w, "\nImage to text R@1 after the first k codes, from embedding and from codes, means:\n\n| k |")
	list := found[kinds[0]][0].Retrieval.Prefixes
	for _, p := range list {
		fmt.Fprintf(w, " %d |", p.Codes)
	}
	fmt.Fprint(w, "\n| --- |")
	for range list {
		fmt.Fprint(w, " --- |")
	}
	for _, kind := range kinds {
		for _, side := range []struct {
			name string
			of   func(evaluate.Prefix) float64
		}{{"embedding", func(p evaluate.Prefix) float64 { return p.Embedding }}, {"codes", func(p evaluate.Prefix) float64 { return p.Decoded }}} {
			fmt.Fprintf(w, "\n| %s, %s |", kind, side.name)
			for i := range list {
				var values []float64
				for _, r := range found[kind] {
					if i >= len(r.Retrieval.Prefixes) {
						return fmt.Errorf("a run of %s has %d prefixes, another %d: the models differ", kind, len(r.Retrieval.Prefixes), len(list))
					}
					values = append(values, side.of(r.Retrieval.Prefixes[i]))
				}
				fmt.Fprintf(w, " %.1f |", mean(values))
			}
		}
	}
	_, err := fmt.Fprintln(w)
	return err
}

func read(name string, to any) error {
	p, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(p, to); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// deviation is that of the sample; 0 for a single value.
func deviation(values []float64, m float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += (v - m) * (v - m)
	}
	return math.Sqrt(sum / max(float64(len(values)-1), 1))
}

// digits behind the point, for three that count.
func digits(v float64) int {
	switch {
	case v >= 100:
		return 0
	case v >= 10:
		return 1
	}
	return 2
}
