package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/spf13/cobra"

	"sower/gpu"
	"sower/gpu/models/seed"
	"sower/internal/blob"
	"sower/internal/encode"
	"sower/internal/plan"
	"sower/internal/progress"
	"sower/internal/shards"
	"sower/internal/weights"
	pipeline "sower/pipelines/encode"
	"sower/runners"
	"sower/schemas"
	"sower/transforms/manifest"
)

// encodeOptions are the flags of sower encode.
type encodeOptions struct {
	run       runFlags
	device    deviceFlags
	input     []string
	output    string
	model     string
	resize    string
	format    string
	columns   shards.Options
	filters   encode.Filters
	unitBytes sizeFlag
	maxPixels int64
	maxBytes  sizeFlag
	missing   string
	dryRun    bool
}

func newEncode() *cobra.Command {
	limits := encode.DefaultLimits()
	o := encodeOptions{maxBytes: sizeFlag(limits.MaxImageBytes)}
	cmd := &cobra.Command{
		Use:   "encode --input PATTERN --output FOLDER --model WEIGHTS",
		Short: "Encode image-text pairs and documents into SEED codes",
		Long: `Encode reads image-text pairs and writes one row an image with its 32 codes (data/), one row with a reason for every
row that has none (rejects/), a card and, last, a manifest. Input rows = encoded + rejected, always.

Inputs: WebDataset tars (.tar, .tar.gz), Parquet (img2dataset, Hugging Face), JSONL, CSV, TSV, and folders of images with
.txt or .json beside them or a metadata file. Patterns know *, ?, **, {a,b} and {00000..00063}.

Documents of several images and texts are read as well: MMC4 (mmc4), OBELICS (obelics), MINT-1T (mint1t), conversations as
LLaVA has them (llava) and image edits (edit). They go to documents/, and their images to the same tables as pairs.

Killed or interrupted, the same command finishes the job with the same bytes. Another model, filter or input is refused.`,
		Example: `  sower encode --input 'shards/{00000..00063}.tar' --output corpus --model weights/
  sower encode --input photos/ --output corpus --model standin:seed2:0 --resize bilinear --dry-run
  sower encode --input data.jsonl --image-column file --text-column title --output corpus --model seed2/
  sower encode --input 'laion/*.tar' --output corpus --model seed2/ --min-side 180 --max-aspect 1.82 --min-similarity 0.25
  sower encode --input 'mmc4/*.jsonl' --format mmc4 --image-root mmc4-images/ --output documents --model seed2/`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "input", "output", "model"); err != nil {
				return err
			}
			return o.execute(cmd)
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringArrayVarP(&o.input, "input", "i", nil, "files, folders or quoted patterns, here or as gs:// and s3:// URLs; repeat for several")
	fs.StringVarP(&o.output, "output", "o", "", "folder for the corpus")
	fs.StringVarP(&o.model, "model", "m", "", weights.Usage)
	fs.StringVar(&o.resize, "resize", "bicubic", "filter of the squash to the model's size, as Pillow computes it: bicubic or bilinear")
	fs.StringVar(&o.format, "format", "", "input format, guessed if not given: "+strings.Join(shards.Formats(), ", "))
	fs.StringVar(&o.columns.ImageColumn, "image-column", "", "column, field or extension of the image; of edits 'source;target'")
	fs.StringVar(&o.columns.TextColumn, "text-column", "", "column, field or extension of the caption")
	fs.StringVar(&o.columns.KeyColumn, "key-column", "", "column or field of the key")
	fs.StringVar(&o.columns.ImageRoot, "image-root", "", "folder or .tar that image paths in tables are relative to; default: the table's own folder")
	fs.StringVar(&o.missing, "missing-image", encode.DropElement, "of a document that lost an image: drop-element keeps the rest, drop-document rejects it")
	registerFilters(fs, &o.filters)
	fs.Int64Var(&o.maxPixels, "max-pixels", limits.MaxPixels, "reject images of more pixels, by their header")
	fs.Var(&o.maxBytes, "max-image-bytes", "reject larger image files")
	fs.Var(&o.unitBytes, "unit-bytes", "input bytes of a work unit, which is what a kill can cost and one output file; 0 chooses: 16 MiB on a CPU, 256 MiB on a GPU, and more, up to 4 GiB, where that would be more than 50,000 units")
	o.device.register(fs)
	o.device.registerPrecision(fs)
	o.run.register(fs)
	fs.BoolVar(&o.dryRun, "dry-run", false, "show the plan and an estimate from a sample, write nothing")
	return cmd
}

// prepared is an encode run that is ready to go.
type prepared struct {
	config encode.Config
	plan   *plan.Plan
	out    *blob.Bucket
	notes  []string
	// computes describes a GPU, for the manifest.
	computes string
	settings schemas.Settings
}

// prepare opens what the flags name: input, plan, model and identity. Nothing is written.
func (o *encodeOptions) prepare(ctx context.Context) (p *prepared, err error) {
	if err := inside(o.input, o.output); err != nil {
		return nil, usageError{err}
	}
	cfg := encode.Config{RunID: newRunID(), Output: absolute(o.output), Model: o.model, Device: o.device.device, Threads: o.device.threads, Batch: o.device.batch,
		ImageColumn: o.columns.ImageColumn, TextColumn: o.columns.TextColumn, KeyColumn: o.columns.KeyColumn, ImageRoot: absolute(o.columns.ImageRoot),
		Filters: o.filters, Limits: encode.Limits{MaxPixels: o.maxPixels, MaxImageBytes: int64(o.maxBytes)}, MaxFailureRate: o.run.maxFail,
		MissingImage: o.missing, Input: "(unset)", Identity: schemas.Identity{Resize: o.resize}}
	if err := cfg.Validate(); err != nil { // what can be said without opening anything
		return nil, usageError{err}
	}
	if o.format != "" {
		if _, err := shards.Lookup(o.format); err != nil {
			return nil, usageError{err}
		}
	}
	precision, err := gpu.ParsePrecision(o.device.precision)
	if err != nil {
		return nil, usageError{errorf("encode: --precision: %w", err)}
	}
	if o.model != weights.Null {
		cfg.Model = absoluteModel(o.model)
	}
	model, err := weights.Open(cfg.Model)
	if err != nil {
		return nil, err
	}
	defer model.Close()
	computes := ""
	if !model.IsNull() {
		batch, what, err := o.run.deviceHere(&o.device, precision)
		if err != nil {
			return nil, err
		}
		cfg.Batch, computes = cmp.Or(cfg.Batch, batch), what
	}
	in, err := shards.Resolve(ctx, o.input, o.format)
	if err != nil {
		return nil, err
	}
	defer in.Root.Close()
	o.columns.Root = in.Root
	o.columns.ImageRoot = cfg.ImageRoot
	o.columns.MaxImageBytes = cfg.Limits.MaxImageBytes
	for _, s := range in.Sources {
		cfg.Documents = cfg.Documents || shards.HasDocuments(s.Format)
	}
	options := cfg.Options()
	unitBytes := cmp.Or(int64(o.unitBytes), plan.UnitBytes(in.Bytes(), gpu.OnGPU(o.device.device)))
	pl, err := plan.Build(in.Ranges(ctx, &o.columns, unitBytes), unitBytes, options)
	if err != nil {
		return nil, err
	}
	digest, err := model.Digest()
	if err != nil {
		return nil, err
	}
	c := model.Config
	cfg.Input, cfg.Plan, cfg.Units = in.Root.URL(), pl.Name(), pl.Units
	cfg.Batch = batchSize(cfg.Batch, c)
	cfg.Identity = schemas.Identity{Tokenizer: model.Tokenizer(), Weights: digest, ImageSize: c.ImageSize, Codes: c.Codes, CodesPerImage: c.Queries,
		Resize: o.resize, Precision: precision.On(o.device.device), NumericsVersion: schemas.NumericsVersion, Options: options, Plan: pl.Digest}
	out, err := blob.OpenBucket(ctx, cfg.Output)
	if err != nil {
		return nil, err
	}
	settings := schemas.Settings{Input: absolutes(o.input), Format: o.format, ImageRoot: cfg.ImageRoot, UnitBytes: unitBytes, Model: cfg.Model}
	return &prepared{config: cfg, plan: pl, out: out, computes: computes, settings: settings, notes: append(in.Notes, model.Notes...)}, nil
}

// batchSize bounds a call of the model to a few seconds on a small machine, so that Ctrl-C is heard; a CPU gains little
// from larger batches, and results do not depend on it.
func batchSize(asked int, c seed.Config) int {
	if asked > 0 {
		return asked
	}
	const perCall = 500e9 // multiply-adds
	tokens := float64(c.Patches() + 1)
	w, m := float64(c.ViTWidth), float64(c.ViTMLP)
	image := float64(c.ViTDepth) * tokens * (4*w*w + 2*w*m + 2*tokens*w)
	return max(1, min(32, int(perCall/image)))
}

func (o *encodeOptions) execute(cmd *cobra.Command) error {
	ctx := cmd.Context()
	files := append(arguments("input", o.input...), argument{"output", o.output}, argument{"model", o.model}, argument{"image-root", o.columns.ImageRoot})
	if err := o.run.begin(cmd, o.device.device, files...); err != nil {
		return err
	}
	p, err := o.prepare(ctx)
	if err != nil {
		return err
	}
	defer p.out.Close()
	for _, n := range p.notes {
		fmt.Fprintln(cmd.ErrOrStderr(), "note:", n)
	}
	p.config.Model = cmp.Or(o.run.onWorkers, p.config.Model)
	m := schemas.Manifest{Version: schemas.ManifestVersion, Tool: tool(), Pipeline: "encode", Device: p.computes, Identity: p.config.Identity, Units: p.plan.Units,
		Model: o.model, Input: o.input, Settings: &p.settings, Command: os.Args, Runner: o.run.runner}
	j := &job{
		what: "encode", documents: p.config.Documents, id: p.config.RunID, out: p.out, plan: p.plan, manifest: m,
		build: func(s beam.Scope, branches int, mo manifest.Options) error {
			return pipeline.Build(s, pipeline.Options{Config: p.config, Branches: branches, Manifest: mo})
		},
		forget: func() { encode.Forget(p.config.RunID) },
	}
	if o.dryRun {
		if o.run.place != runners.InProcess && gpu.OnGPU(o.device.device) {
			// A sample would have to be encoded here.
			fmt.Fprintf(cmd.OutOrStdout(), "%s units of %s of input; nothing was written. --device %s is the workers', not this machine's, so that no sample was encoded: sower estimate --rate says "+
				"what it costs at a rate measured there.\n", progress.Thousands(int64(p.plan.Units)), progress.Size(p.plan.Bytes), o.device.device)
		} else if err := o.estimate(cmd, p); err != nil || o.run.json {
			return err
		}
		return o.run.describe(cmd, j)
	}
	return o.run.launch(cmd, j)
}

// inside refuses an output folder that lies in an input folder: the next run would read what this one wrote.
func inside(inputs []string, output string) error {
	if isURL(output) {
		return nil
	}
	out := absolute(output)
	for _, in := range inputs {
		if isURL(in) {
			continue
		}
		st, err := os.Stat(in)
		if err != nil || !st.IsDir() {
			continue
		}
		if rel, err := filepath.Rel(absolute(in), out); err == nil && rel != ".." && !filepath.IsAbs(rel) && !hasParent(rel) {
			return errorf("encode: --output %s lies inside --input %s: the next run would read it as input; choose another folder", output, in)
		}
	}
	return nil
}

func hasParent(rel string) bool {
	return rel == ".." || len(rel) > 2 && rel[:3] == ".."+string(filepath.Separator)
}

// absolute makes a local path independent of the working folder, which a worker does not share.
func absolute(path string) string {
	if path == "" || isURL(path) {
		return path
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

func absolutes(paths []string) []string {
	out := make([]string, len(paths))
	for i, p := range paths {
		out[i] = absolute(p)
	}
	return out
}

// absoluteModel does so for a --model that is a folder.
func absoluteModel(arg string) string {
	if _, err := os.Stat(arg); errors.Is(err, os.ErrNotExist) {
		return arg
	}
	return absolute(arg)
}
