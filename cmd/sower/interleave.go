package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/spf13/cobra"

	"sower/internal/blob"
	"sower/internal/blob/memblob"
	"sower/internal/interleave"
	"sower/internal/plan"
	"sower/internal/shards"
	pipeline "sower/pipelines/interleave"
	"sower/schemas"
	"sower/transforms/manifest"
)

type interleaveOptions struct {
	run          runFlags
	codes, texts []string
	field        string
	output       string
	tokenizer    string
	rules        string
	overlong     string
	fileTokens   int64
	config       interleave.Config
}

// defaultInterleave are the settings where the user says nothing.
func defaultInterleave() interleaveOptions {
	return interleaveOptions{field: "text", tokenizer: "bytes", rules: "auto", fileTokens: 8 << 20,
		config: interleave.Config{ImageFirst: 0.5, Context: 1024, Validation: 0.005}}
}

func newInterleave() *cobra.Command {
	o := defaultInterleave()
	cmd := &cobra.Command{
		Use:   "interleave --codes CORPUS --output FOLDER --tokenizer FOLDER",
		Short: "Turn codes and texts into training sequences of a language model",
		Long: `Interleave lays out the rows of code tables, and texts, as sequences of token ids for a language model: text ids are the
tokenizer's, an image is <img>, its codes and </img>. No image is encoded again; a new template, context or tokenizer is a new
run of this alone. The tokenizer with the image words is written to FOLDER/tokenizer.

Each kind of record has a template; --template chooses others: ` + strings.Join(interleave.Names(), ", ") + `.
Defaults: caption for pairs; document, conversation and edit for documents of that kind; text for texts.`,
		Example: `  sower interleave --codes corpus --output train --tokenizer opt-folder/ --template caption --context 1024 --pack
  sower interleave --codes docs --text 'wiki/*.jsonl:0.2' --output mixed --tokenizer llama-folder/ --max-images 7
  sower interleave --codes corpus:2 --codes small:0.5 --output train --tokenizer bytes`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "output"); err != nil {
				return err
			}
			return o.execute(cmd)
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringArrayVar(&o.codes, "codes", nil, "corpus of sower encode, with a weight after a colon (0.5 is half of it, 2 is twice); repeat for several")
	fs.StringArrayVar(&o.texts, "text", nil, "files of lines (JSON, or plain if they end in .txt), quoted pattern, with a weight after a colon; repeat for several")
	fs.StringVar(&o.field, "text-field", o.field, "field of the text in JSON lines")
	fs.StringVarP(&o.output, "output", "o", "", "folder for the sequences")
	fs.StringVarP(&o.tokenizer, "tokenizer", "t", o.tokenizer, "folder or file of a tokenizer (tokenizer.json, vocab.json + merges.txt, tokenizer.model, vocab.txt, GGUF), or bytes")
	fs.StringVar(&o.rules, "tokenizer-rules", o.rules, "white space at image words: hf, seed (the published system's), or auto (hf where there is a tokenizer.json)")
	fs.StringArrayVar(&o.config.Templates, "template", nil, "layout; repeat for several kinds of records")
	fs.IntVar(&o.config.Context, "context", o.config.Context, "ids of a sequence at most")
	fs.BoolVar(&o.config.Pack, "pack", false, "put several sequences into a row (best fit; an image is never cut)")
	fs.StringVar(&o.overlong, "overlong", "", "sequences over the context: split (at element edges), truncate (texts) or drop; default: as the template says")
	fs.Float64Var(&o.config.ImageFirst, "image-first", o.config.ImageFirst, "share of pairs with the image before the text, chosen by hash")
	fs.Float64Var(&o.config.Swap, "swap", 0, "share of a document's images that change places with the element after them")
	fs.IntVar(&o.config.MaxImages, "max-images", 0, "images of a document at most; 0 is no limit")
	fs.BoolVar(&o.config.NoBOS, "no-bos", false, "no BOS in front")
	fs.BoolVar(&o.config.NoEOS, "no-eos", false, "no EOS at the end")
	fs.Float64Var(&o.config.Validation, "validation", o.config.Validation, "share of documents for the validation split, chosen by hash")
	fs.Uint64Var(&o.config.Seed, "seed", 0, "of the order and of all choices")
	fs.Int64Var(&o.fileTokens, "file-tokens", o.fileTokens, "about how many ids a file has")
	o.run.register(fs)
	hide(fs, "max-failure-rate")
	return cmd
}

// source is an opened --codes.
type source struct {
	bucket   *blob.Bucket
	manifest *schemas.Manifest
}

func (o *interleaveOptions) execute(cmd *cobra.Command) error {
	ctx := cmd.Context()
	if len(o.codes)+len(o.texts) == 0 {
		return usageError{errorf("interleave: no input: give --codes, --text or both")}
	}
	if o.fileTokens < 1000 {
		return usageError{errorf("interleave: --file-tokens %d: want at least 1000", o.fileTokens)}
	}
	files := append(arguments("codes", o.codes...), append(arguments("text", o.texts...), argument{"output", o.output}, argument{"tokenizer", o.tokenizer})...)
	if err := o.run.begin(cmd, "", files...); err != nil {
		return err
	}
	cfg := o.config
	cfg.RunID, cfg.Output, cfg.Tokenizer = newRunID(), absolute(o.output), absoluteTokenizer(o.tokenizer)
	var err error
	if cfg.Overlong, err = interleave.ParseOverlong(o.overlong); err != nil {
		return usageError{err}
	}
	sources, err := o.openCodes(ctx, &cfg)
	defer func() {
		for _, s := range sources {
			s.bucket.Close()
		}
	}()
	if err != nil {
		return err
	}
	cfg.Identity = schemas.Identity{Tokenizer: "none", CodesPerImage: 32, NumericsVersion: schemas.NumericsVersion} // of texts alone
	if len(sources) > 0 {
		cfg.Identity = sources[0].manifest.Identity
	}
	words, err := interleave.OpenWords(cfg.Tokenizer, o.rules, cfg.Identity.Codes, cfg.Identity.CodesPerImage)
	if err != nil {
		return err
	}
	cfg.Identity.Codes = int(words.Vocabulary.K)
	// Some tokenizers cannot be written in Hugging Face's form: that must be known before an old corpus is deleted.
	if err := words.WriteFolder(ctx, blob.New("memory", memblob.New()), "tokenizer"); err != nil {
		return err
	}
	for _, w := range words.Warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), "note:", w)
	}
	cfg.Vocabulary, cfg.Rules = words.Vocabulary, words.Vocabulary.Rules
	rows, notes, err := o.ranges(ctx, &cfg, sources)
	if err != nil {
		return err
	}
	for _, n := range notes {
		fmt.Fprintln(cmd.ErrOrStderr(), "note:", n)
	}
	if len(rows) == 0 {
		return errorf("interleave: %s: no rows: there is nothing to lay out", strings.Join(append(append([]string(nil), o.codes...), o.texts...), ", "))
	}
	if err := cfg.Validate(); err != nil {
		return usageError{err}
	}
	options := cfg.Options()
	pl, err := plan.Dealt(interleave.Deal(rows, cfg.Seed, o.fileTokens), options)
	if err != nil {
		return err
	}
	cfg.Plan, cfg.Units = pl.Name(), pl.Units
	cfg.Identity.Options, cfg.Identity.Plan = options, pl.Digest
	out, err := blob.OpenBucket(ctx, cfg.Output)
	if err != nil {
		return err
	}
	defer out.Close()
	m := schemas.Manifest{Version: schemas.ManifestVersion, Tool: tool(), Pipeline: "interleave", Identity: cfg.Identity, Units: pl.Units, Vocabulary: &cfg.Vocabulary,
		Model: o.tokenizer, Input: append(append([]string(nil), o.codes...), o.texts...), Command: os.Args, Runner: o.run.runner}
	return o.run.launch(cmd, &job{
		what: "interleave", noun: "rows", id: cfg.RunID, out: out, plan: pl, manifest: m,
		before: func() error { return words.WriteFolder(ctx, out, "tokenizer") },
		build: func(s beam.Scope, branches int, mo manifest.Options) error {
			return pipeline.Build(s, pipeline.Options{Config: cfg, Branches: branches, Manifest: mo})
		},
		forget: func() { interleave.Forget(cfg.RunID) },
	})
}

// openCodes opens every --codes and makes sure that the same tokenizer made them all.
func (o *interleaveOptions) openCodes(ctx context.Context, cfg *interleave.Config) (sources []source, err error) {
	for _, arg := range o.codes {
		path, weight, err := interleave.ParseInput(arg)
		if err != nil {
			return sources, usageError{err}
		}
		if sameFolder(path, o.output) {
			return sources, usageError{errorf("interleave: --output %s is the corpus of --codes: its files would be mixed or, with --overwrite, deleted; give another folder", o.output)}
		}
		b, m, err := openMade(ctx, "--codes", path, "encode", "generate")
		if err != nil {
			return sources, err
		}
		sources = append(sources, source{b, m})
		if diff := sources[0].manifest.Identity.Diff(m.Identity, "plan", "options"); len(diff) > 0 {
			return sources, errorf("--codes %s and %s were not made alike: %s", o.codes[0], path, strings.Join(diff, "; "))
		}
		cfg.Inputs = append(cfg.Inputs, interleave.Input{URL: b.URL(), Weight: weight})
	}
	return sources, nil
}

// ranges lists what there is to read, of all inputs; notes say what is not read.
func (o *interleaveOptions) ranges(ctx context.Context, cfg *interleave.Config, sources []source) (out []interleave.Range, notes []string, err error) {
	for i, s := range sources {
		list, err := interleave.CodeRanges(ctx, s.bucket, s.manifest, i, cfg.Inputs[i].Weight)
		if err != nil {
			return nil, nil, err
		}
		out = append(out, list...)
	}
	for _, arg := range o.texts {
		pattern, weight, err := interleave.ParseInput(arg)
		if err != nil {
			return nil, nil, usageError{err}
		}
		in, err := shards.Resolve(ctx, []string{pattern}, "jsonl")
		if err != nil {
			return nil, nil, err
		}
		defer in.Root.Close()
		notes = append(notes, in.Notes...)
		for _, s := range in.Sources {
			if err := interleave.CheckLines(ctx, in.Root, s.Name); err != nil {
				return nil, nil, err
			}
			out = append(out, interleave.TextRanges(len(cfg.Inputs), weight, s.Source)...)
		}
		cfg.Inputs = append(cfg.Inputs, interleave.Input{URL: in.Root.URL(), Weight: weight, Text: true, Field: o.field})
	}
	return out, notes, nil
}

// sameFolder reports whether two arguments name one folder, by name or by what is there.
func sameFolder(a, b string) bool {
	if a == "" || b == "" {
		return false
	}
	if absolute(a) == absolute(b) {
		return true
	}
	x, errA := os.Stat(a)
	y, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(x, y)
}

// absoluteTokenizer makes a path independent of the working folder; "bytes" is no path.
func absoluteTokenizer(arg string) string {
	if arg == "bytes" {
		return arg
	}
	return absolute(arg)
}
