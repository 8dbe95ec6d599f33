package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/spf13/cobra"

	"sower/gpu"
	"sower/internal/blob"
	"sower/internal/draw"
	"sower/internal/encode"
	"sower/internal/evaluate"
	"sower/internal/launch"
	"sower/internal/plan"
	"sower/internal/shards"
	"sower/internal/weights"
	pipeline "sower/pipelines/evaluate"
	"sower/schemas"
	"sower/transforms/manifest"
)

// evaluateOptions are the flags of sower evaluate's commands.
type evaluateOptions struct {
	run      runFlags
	device   deviceFlags
	input    []string
	seen     []string
	format   string
	columns  shards.Options
	output   string
	model    string
	picture  string
	nearest  string
	page     string
	gallery  evaluate.Gallery
	unknown  bool
	pictures int
}

func newEvaluate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "evaluate",
		Short: "Measure what a tokenizer's codes are worth",
		Long: `Evaluate runs a tokenizer on pairs that it has not seen and measures: retrieval of captions by images and of images by captions, by the
causal embedding and by what the codes alone give back; what the first codes already say; how the codebook is used; and how much of a
picture its codes keep. For the agreement of two precisions or devices see sower agree.`,
		Example: `  sower evaluate retrieval --input held.tar --model my-tokenizer/ --json
  sower evaluate reconstruction --input held.tar --model my-tokenizer/ --picture grid.png --page report.html`,
	}
	cmd.AddCommand(
		newEvaluateOf("retrieval", "Recall of captions by images and of images by captions", func(r *evaluate.Report) error {
			if r.Retrieval == nil {
				return errorf("evaluate: fewer than two pairs can be told apart by their captions (of %d images): give pairs with captions that the model's text tower knows, or lower --min-words; "+
					"models without a text tower have codes and reconstruction alone", r.Images)
			}
			return nil
		}),
		newEvaluateOf("reconstruction", "How much of an image its codes keep, with pictures of models that draw", func(*evaluate.Report) error { return nil }),
		newEvaluateOf("codes", "How the codebook is used", func(*evaluate.Report) error { return nil }),
		newEvaluateLanguage())
	return cmd
}

func defaultEvaluate() evaluateOptions {
	return evaluateOptions{gallery: evaluate.Gallery{Most: 500, MinWords: 2}, pictures: 40}
}

func newEvaluateOf(name, short string, check func(*evaluate.Report) error) *cobra.Command {
	o := defaultEvaluate()
	cmd := &cobra.Command{
		Use:   name + " --input PATTERN --model MODEL",
		Short: short,
		Long: short + `. All is measured whichever of the commands is asked, and printed; --json has every figure.

The gallery of retrieval is pairs whose captions differ, have --min-words words that the model knows, and are not among those of --seen (the
training set), at most --gallery of them in the order of the input.`,
		Example: "  sower evaluate " + name + " --input held.tar --model my-tokenizer/ --seen 'train-*.tar' --output evaluation",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "input", "model"); err != nil {
				return err
			}
			return o.execute(cmd, check)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringArrayVarP(&o.input, "input", "i", nil, "files, folders or quoted patterns of pairs that training did not see; repeat for several")
	f.StringVarP(&o.model, "model", "m", "", weights.Usage)
	f.StringVarP(&o.output, "output", "o", "", "folder for rows, report.json and report.html; default: none is kept")
	f.StringVar(&o.picture, "picture", "", "write pictures and what their codes say to this PNG file")
	f.StringVar(&o.nearest, "nearest", "", "write pictures with those that are nearest by their codes beside them to this PNG file")
	f.StringVar(&o.page, "page", "", "write the report with plots to this HTML file")
	f.StringArrayVar(&o.seen, "seen", nil, "pairs of the training set: their captions are left out of the gallery")
	f.IntVar(&o.gallery.Most, "gallery", o.gallery.Most, "pairs of the gallery at most")
	f.IntVar(&o.gallery.MinWords, "min-words", o.gallery.MinWords, "known words that a caption of the gallery has at least")
	f.BoolVar(&o.unknown, "keep-unknown", false, "words that the model does not know become [UNK] instead of being left out")
	f.IntVar(&o.pictures, "pictures", o.pictures, "pictures to draw")
	f.StringVar(&o.format, "format", "", "input format, guessed if not given: "+strings.Join(shards.Formats(), ", "))
	f.StringVar(&o.columns.ImageColumn, "image-column", "", "column, field or extension of the image")
	f.StringVar(&o.columns.TextColumn, "text-column", "", "column, field or extension of the caption")
	f.StringVar(&o.columns.KeyColumn, "key-column", "", "column or field of the key")
	f.StringVar(&o.columns.ImageRoot, "image-root", "", "folder or .tar that image paths in tables are relative to")
	o.device.register(f)
	o.run.register(f)
	hide(f, "batch")
	return cmd
}

func (o *evaluateOptions) execute(cmd *cobra.Command, check func(*evaluate.Report) error) error {
	ctx := cmd.Context()
	files := append(arguments("input", o.input...), argument{"output", o.output}, argument{"model", o.model}, argument{"image-root", o.columns.ImageRoot})
	if err := o.run.begin(cmd, o.device.device, files...); err != nil {
		return err
	}
	if o.output == "" {
		dir, err := os.MkdirTemp("", "sower-evaluate-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.output = dir
		if o.run.config.SharedFiles || o.run.chosen.Names()[0] == "dataflow" {
			return usageError{errorf("evaluate: --output is missing: workers on other machines need a place for their rows")}
		}
	}
	cfg, j, err := o.prepare(ctx)
	if err != nil {
		return err
	}
	defer j.out.Close()
	quiet := o.run
	quiet.summaryless = true
	if err := quiet.launch(cmd, j); err != nil {
		return err
	}
	m, err := launch.ReadManifest(ctx, j.out)
	if err != nil {
		return err
	}
	if o.gallery.Seen, err = captions(ctx, o.seen, o.format, &o.columns); err != nil {
		return err
	}
	report, err := evaluate.Analyze(ctx, j.out, m, o.gallery)
	if err != nil {
		return err
	}
	if err := check(report); err != nil {
		return err
	}
	if err := o.write(ctx, j.out, cfg, report); err != nil {
		return err
	}
	if o.run.json {
		return writeJSON(cmd.OutOrStdout(), report)
	}
	_, err = fmt.Fprint(cmd.OutOrStdout(), report.Lines())
	return err
}

// prepare opens input and model and plans the run.
func (o *evaluateOptions) prepare(ctx context.Context) (*evaluate.Config, *job, error) {
	limits := encode.DefaultLimits()
	cfg := evaluate.Config{RunID: newRunID(), Output: absolute(o.output), ImageRoot: absolute(o.columns.ImageRoot), ImageColumn: o.columns.ImageColumn, TextColumn: o.columns.TextColumn,
		KeyColumn: o.columns.KeyColumn, Model: absoluteModel(o.model), Device: o.device.device, Threads: o.device.threads, DropUnknown: !o.unknown, MaxPixels: limits.MaxPixels, MaxImageBytes: limits.MaxImageBytes}
	model, err := weights.Open(cfg.Model)
	if err != nil {
		return nil, nil, err
	}
	defer model.Close()
	if model.IsNull() {
		return nil, nil, usageError{errorf("evaluate: --model null makes no codes to measure")}
	}
	digest, err := model.Digest()
	if err != nil {
		return nil, nil, err
	}
	back, err := model.DetokenizerDigest()
	if err != nil {
		return nil, nil, err
	}
	in, err := shards.Resolve(ctx, o.input, o.format)
	if err != nil {
		return nil, nil, err
	}
	defer in.Root.Close()
	o.columns.Root, o.columns.ImageRoot, o.columns.MaxImageBytes = in.Root, cfg.ImageRoot, limits.MaxImageBytes
	options := map[string]string{"image_column": cfg.ImageColumn, "text_column": cfg.TextColumn, "key_column": cfg.KeyColumn, "detokenizer": back, "drop_unknown": fmt.Sprint(cfg.DropUnknown)}
	unitBytes := plan.UnitBytes(in.Bytes(), gpu.OnGPU(o.device.device))
	pl, err := plan.Build(in.Ranges(ctx, &o.columns, unitBytes), unitBytes, options)
	if err != nil {
		return nil, nil, err
	}
	c := model.Config
	cfg.Input, cfg.Plan, cfg.Units = in.Root.URL(), pl.Name(), pl.Units
	cfg.Identity = schemas.Identity{Tokenizer: model.Tokenizer(), Weights: digest, ImageSize: c.ImageSize, Codes: c.Codes, CodesPerImage: c.Queries, Resize: "bicubic", Precision: "float32",
		NumericsVersion: schemas.NumericsVersion, Options: options, Plan: pl.Digest}
	if err := cfg.Validate(); err != nil {
		return nil, nil, usageError{err}
	}
	out, err := blob.OpenBucket(ctx, cfg.Output)
	if err != nil {
		return nil, nil, err
	}
	m := schemas.Manifest{Version: schemas.ManifestVersion, Tool: tool(), Pipeline: "evaluate", Identity: cfg.Identity, Units: pl.Units, Model: o.model, Input: o.input, Command: os.Args, Runner: o.run.runner}
	return &cfg, &job{what: "evaluate", id: cfg.RunID, out: out, plan: pl, manifest: m,
		build: func(s beam.Scope, branches int, mo manifest.Options) error {
			return pipeline.Build(s, pipeline.Options{Config: cfg, Branches: branches, Manifest: mo})
		},
		forget: func() {}}, nil
}

// write leaves what was asked for beside the printed report.
func (o *evaluateOptions) write(ctx context.Context, out *blob.Bucket, cfg *evaluate.Config, report *evaluate.Report) error {
	var picture []byte
	if o.pictures > 0 {
		var err error
		if picture, err = cfg.Grid(ctx, o.pictures); err != nil && !(errors.Is(err, draw.ErrNoPainter) && o.picture == "") {
			return errorf("evaluate: --picture: %w", err)
		}
	}
	var nearest []byte
	if o.nearest != "" {
		var err error
		if nearest, err = cfg.Nearest(ctx, 500, 12); err != nil {
			return errorf("evaluate: --nearest: %w", err)
		}
	}
	page, err := report.Page(picture)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{"report.json": append(text, '\n'), "report.html": page} {
		if err := out.WriteAll(ctx, name, data); err != nil {
			return err
		}
	}
	for file, data := range map[string][]byte{o.picture: picture, o.page: page, o.nearest: nearest} {
		if file != "" {
			if err := os.WriteFile(file, data, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// captions reads those of some pairs, without their pictures.
func captions(ctx context.Context, patterns []string, format string, columns *shards.Options) (map[string]bool, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	in, err := shards.Resolve(ctx, patterns, format)
	if err != nil {
		return nil, err
	}
	defer in.Root.Close()
	options := *columns
	options.Root = in.Root
	out := map[string]bool{}
	for r, err := range in.Ranges(ctx, &options, 1<<40) {
		if err != nil {
			return nil, err
		}
		f, err := shards.Lookup(r.Format)
		if err != nil {
			return nil, err
		}
		for pair, err := range f.Read(ctx, &options, r) {
			if err != nil {
				return nil, err
			}
			if pair.Text != nil {
				out[*pair.Text] = true
			}
		}
	}
	return out, nil
}
