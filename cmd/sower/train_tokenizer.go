package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/spf13/cobra"

	"sower/gpu"
	"sower/internal/blob"
	"sower/internal/launch"
	"sower/internal/plan"
	"sower/internal/progress"
	"sower/internal/rounds"
	"sower/internal/shards"
	"sower/internal/trainer"
	"sower/internal/weights"
	pipeline "sower/pipelines/trainer"
	"sower/runners"
	"sower/schemas"
	"sower/transforms/manifest"
)

// trainTokenizerOptions are the flags of sower train-tokenizer.
type trainTokenizerOptions struct {
	run        runFlags
	device     deviceFlags
	input      []string
	validation []string
	held       trainer.Held
	format     string
	columns    shards.Options
	output     string
	recipe     string
	given      string
	teacher    string
	firstStage string
	vocabulary string
	workers    int
	seed       uint64
	dryRun     bool
}

func newTrainTokenizer() *cobra.Command {
	o := trainTokenizerOptions{workers: 1, held: trainer.Held{Rows: 512, Every: 1}}
	cmd := &cobra.Command{
		Use:   "train-tokenizer --input PATTERN --config RECIPE --output FOLDER",
		Short: "Train a SEED tokenizer on image-text pairs",
		Long: `Train-tokenizer trains the two stages of a SEED tokenizer (arXiv 2307.08041 §3.2): causal queries by contrast of images and texts, then
the codebook and the de-tokenizer. It writes a model folder that --model takes.

Pictures are decoded once, into FOLDER/prepared. Training runs in rounds that are committed: killed or interrupted, the same command
goes on at the last commit and ends with the same bytes.

--config is a JSON file of sizes and settings; what it does not say is published (docs/training.md lists all of it). A published
vision transformer is given by --init and stays frozen; small models train their own. The second stage learns to give image embeddings back:
those of --teacher (published: of unCLIP's image encoder), or the vectors of the first stage.

--validation names pairs that are not trained on: at the end of rounds losses and retrieval are measured on the first of them.

--first-stage takes the first stage of another run, to try several second ones.`,
		Example: `  sower train-tokenizer --input 'shards/*.tar' --config docs/recipes/mini/mini.json --output my-tokenizer
  sower train-tokenizer --input 'pairs/train-*.tar' --validation pairs/held-00000.tar --config mini.json --output my-tokenizer
  sower train-tokenizer --input 'shards/*.tar' --config domain.json --init seed2/ --teacher clip/ --output my-tokenizer
  sower train-tokenizer --input 'shards/*.tar' --config longer.json --first-stage my-tokenizer --output my-other-tokenizer
  sower evaluate retrieval --input held.tar --model my-tokenizer`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "input", "output", "config"); err != nil {
				return err
			}
			return o.execute(cmd)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringArrayVarP(&o.input, "input", "i", nil, "files, folders or quoted patterns, here or as gs:// and s3:// URLs; repeat for several")
	f.StringVarP(&o.recipe, "config", "c", "", "recipe: a JSON file")
	f.StringVarP(&o.output, "output", "o", "", "folder for the model")
	f.StringVar(&o.given, "init", "", "weights that training begins with: as --model, or a folder with eva_vit_g.pth alone; default: random ones by --seed")
	f.StringVar(&o.teacher, "teacher", "", "folder of Parquet files with source, row and embedding of every picture, which the second stage learns to give back; default: what the first stage made")
	f.StringVar(&o.firstStage, "first-stage", "", "output folder of a run whose first stage is taken instead of training it again; pictures, seed and recipe must be the same but for \"second\"")
	f.StringArrayVar(&o.validation, "validation", nil, "pairs to measure rounds on, as --input; default: none")
	f.IntVar(&o.held.Rows, "validation-rows", o.held.Rows, "pairs of them to look at")
	f.IntVar(&o.held.Every, "validate-every", o.held.Every, "rounds between validations")
	f.StringVar(&o.vocabulary, "vocabulary", "", "vocab.txt of BERT's form for captions; default: words of the captions")
	f.StringVar(&o.format, "format", "", "input format, guessed if not given: "+strings.Join(shards.Formats(), ", "))
	f.StringVar(&o.columns.ImageColumn, "image-column", "", "column, field or extension of the image")
	f.StringVar(&o.columns.TextColumn, "text-column", "", "column, field or extension of the caption")
	f.StringVar(&o.columns.KeyColumn, "key-column", "", "column or field of the key")
	f.StringVar(&o.columns.ImageRoot, "image-root", "", "folder or .tar that image paths in tables are relative to")
	f.IntVar(&o.workers, "workers", o.workers, "workers that share a round's batches (local SGD)")
	f.Uint64Var(&o.seed, "seed", 0, "of first values, order and crops; default: the recipe's")
	o.device.register(f)
	o.run.register(f)
	hide(f, "batch")
	f.BoolVar(&o.dryRun, "dry-run", false, "show what would be trained, write nothing")
	return cmd
}

func (o *trainTokenizerOptions) execute(cmd *cobra.Command) error {
	ctx := cmd.Context()
	files := append(append(arguments("input", o.input...), arguments("validation", o.validation...)...), argument{"output", o.output}, argument{"init", o.given}, argument{"teacher", o.teacher}, argument{"first-stage", o.firstStage}, argument{"image-root", o.columns.ImageRoot})
	if err := o.run.begin(cmd, o.device.device, files...); err != nil {
		return err
	}
	if err := inside(slices.Concat(o.input, o.validation), o.output); err != nil {
		return usageError{err}
	}
	text, err := os.ReadFile(o.recipe)
	if err != nil {
		return usageError{errorf("train-tokenizer: --config: %w", err)}
	}
	recipe, err := trainer.Parse(text)
	if err != nil {
		return usageError{err}
	}
	if cmd.Flags().Changed("seed") {
		recipe.Seed = o.seed
	}
	if o.run.config.Parallelism == 0 && o.run.place != runners.InProcess {
		o.run.config.Parallelism = o.workers
	}
	c := trainer.Config{RunID: newRunID(), Output: absolute(o.output), Prepared: blob.Join(absolute(o.output), "prepared"), Device: o.device.device, Threads: o.device.threads,
		Workers: o.workers, Recipe: recipe, Stage: 1}
	if len(o.validation) > 0 {
		c.Held = o.held
		c.Held.Prepared = blob.Join(absolute(o.output), "validation")
	}
	if o.given != "" {
		c.Given = absoluteModel(o.given)
	}
	if o.teacher != "" {
		c.Teacher = absolute(o.teacher)
	}
	if err := c.Validate(); err != nil {
		return usageError{err}
	}
	if c.Given == "" && !recipe.First.ViT {
		return usageError{errorf("train-tokenizer: no pretrained vision tower: the first stage leaves the vision transformer as it is, so give one by --init, or train it (first.vit in --config)")}
	}
	if _, _, err := o.run.deviceHere(&o.device, gpu.FP32); err != nil {
		return err
	}
	taught := ""
	if c.Teacher != "" {
		if taught, err = teacherDigest(ctx, &c); err != nil {
			return err
		}
	}
	if o.firstStage != "" { // before all pictures are decoded
		from, err := openFolder(ctx, absolute(o.firstStage), "first stage")
		if err != nil {
			return err
		}
		from.Close()
	}
	if err := o.apart(ctx); err != nil {
		return err
	}
	if o.dryRun {
		return o.describe(cmd.OutOrStdout(), &c)
	}
	out, err := blob.OpenBucket(ctx, c.Output)
	if err != nil {
		return err
	}
	defer out.Close()
	release, err := launch.Hold(ctx, out)
	if err != nil {
		return err
	}
	defer release()
	digest := ""
	if c.Parts, digest, err = o.prepare(cmd, c.Recipe.Source, o.input, c.Prepared); err != nil {
		return err
	}
	held := ""
	if len(o.validation) > 0 {
		if c.Held.Parts, held, err = o.prepare(cmd, c.Recipe.Source, o.validation, c.Held.Prepared); err != nil {
			return err
		}
		if len(c.Held.Parts) == 0 {
			return errorf("train-tokenizer: --validation has no pair with a picture (see %s)", blob.Join(c.Held.Prepared, "rejects"))
		}
	}
	c.Identity = schemas.Identity{Tokenizer: "seed2", ImageSize: c.Recipe.Model.ImageSize, CodesPerImage: c.Recipe.Model.Queries, Codes: c.Recipe.Model.Codes, Resize: "bicubic",
		Precision: "float32", NumericsVersion: schemas.NumericsVersion, Plan: digest}
	if c.Teacher != "" { // before hours of the first stage
		if err := c.CheckTeacher(ctx); err != nil {
			return err
		}
	}
	if err := o.words(ctx, out, &c, taught, held); err != nil {
		return err
	}
	if err := c.CheckHeld(ctx); err != nil {
		return err
	}
	return o.train(cmd, out, &c)
}

// apart makes sure that what rounds are measured on is not what they are trained on.
func (o *trainTokenizerOptions) apart(ctx context.Context) error {
	if len(o.validation) == 0 {
		return nil
	}
	trained := map[string]bool{}
	for _, list := range [][]string{o.input, o.validation} {
		in, err := shards.Resolve(ctx, list, o.format)
		if err != nil {
			return err
		}
		defer in.Root.Close()
		for _, s := range in.Sources {
			name := blob.Join(in.Root.URL(), s.Name)
			if trained[name] {
				return usageError{errorf("train-tokenizer: %s is in --input and in --validation: what is trained on measures nothing, so give a pattern without it, or other pairs", name)}
			}
		}
		for _, s := range in.Sources {
			trained[blob.Join(in.Root.URL(), s.Name)] = true
		}
	}
	return nil
}

// prepare decodes pairs once, as a corpus of its own inside of the output folder. It returns the parts that have rows and their digest.
func (o *trainTokenizerOptions) prepare(cmd *cobra.Command, size int, input []string, folder string) (parts []schemas.File, digest string, err error) {
	ctx := cmd.Context()
	in, err := shards.Resolve(ctx, input, o.format)
	if err != nil {
		return nil, "", err
	}
	defer in.Root.Close()
	for _, n := range in.Notes {
		fmt.Fprintln(cmd.ErrOrStderr(), "note:", n)
	}
	limits := struct{ pixels, bytes int64 }{178956970, 256 << 20}
	cfg := trainer.Preparing{RunID: newRunID(), Input: in.Root.URL(), ImageRoot: absolute(o.columns.ImageRoot), ImageColumn: o.columns.ImageColumn, TextColumn: o.columns.TextColumn,
		KeyColumn: o.columns.KeyColumn, Output: folder, Size: size, MaxPixels: limits.pixels, MaxImageBytes: limits.bytes}
	o.columns.Root, o.columns.ImageRoot, o.columns.MaxImageBytes = in.Root, cfg.ImageRoot, limits.bytes
	options := map[string]string{"image_column": cfg.ImageColumn, "text_column": cfg.TextColumn, "key_column": cfg.KeyColumn}
	unitBytes := plan.UnitBytes(in.Bytes(), false)
	pl, err := plan.Build(in.Ranges(ctx, &o.columns, unitBytes), unitBytes, options)
	if err != nil {
		return nil, "", err
	}
	cfg.Plan, cfg.Units = pl.Name(), pl.Units
	cfg.Identity = schemas.Identity{Tokenizer: "pictures", ImageSize: cfg.Size, Resize: "bicubic", NumericsVersion: schemas.NumericsVersion, Options: options, Plan: pl.Digest}
	out, err := blob.OpenBucket(ctx, cfg.Output)
	if err != nil {
		return nil, "", err
	}
	defer out.Close()
	m := schemas.Manifest{Version: schemas.ManifestVersion, Tool: tool(), Pipeline: "prepare", Identity: cfg.Identity, Units: pl.Units, Input: input, Command: os.Args, Runner: o.run.runner}
	quiet := o.run
	quiet.json = false
	err = quiet.launch(cmd, &job{what: "prepare", noun: "pictures", id: cfg.RunID, out: out, plan: pl, manifest: m,
		build: func(s beam.Scope, branches int, mo manifest.Options) error {
			return pipeline.Prepare(s, pipeline.PrepareOptions{Config: cfg, Branches: branches, Manifest: mo})
		},
		forget: func() {}})
	if err != nil {
		return nil, "", err
	}
	done, err := launch.ReadManifest(ctx, out)
	if err != nil {
		return nil, "", err
	}
	sum := sha256.New()
	for _, f := range done.Files {
		if strings.HasPrefix(f.Path, "data/") && f.Rows > 0 {
			parts = append(parts, f)
			fmt.Fprintln(sum, f.Path, f.SHA256)
		}
	}
	return parts, hex.EncodeToString(sum.Sum(nil)), nil
}

// teacherDigest looks at --teacher before anything is trained.
func teacherDigest(ctx context.Context, c *trainer.Config) (string, error) {
	if !isURL(c.Teacher) {
		if _, err := os.Stat(c.Teacher); err != nil {
			return "", usageError{errorf("train-tokenizer: --teacher: %w", err)}
		}
	}
	t, err := trainer.OpenTeacher(ctx, c.Teacher, c.Recipe.Model.ImageEmbed)
	if err != nil {
		return "", err
	}
	defer t.Close()
	return t.Digest(ctx)
}

// words puts vocab.txt into the output folder, once, and completes the identity.
func (o *trainTokenizerOptions) words(ctx context.Context, out *blob.Bucket, c *trainer.Config, taught, held string) error {
	raw, err := out.ReadAll(ctx, trainer.VocabularyFile, 64<<20)
	switch {
	case o.vocabulary != "":
		if raw, err = os.ReadFile(o.vocabulary); err != nil {
			return usageError{errorf("train-tokenizer: --vocabulary: %w", err)}
		}
	case errors.Is(err, fs.ErrNotExist) || o.run.overwrite:
		in, err := blob.OpenBucket(ctx, c.Prepared)
		if err != nil {
			return err
		}
		defer in.Close()
		list, err := trainer.Learn(ctx, in, c.Parts, c.Recipe.Vocabulary.MinCount)
		if err != nil {
			return err
		}
		raw = []byte(strings.Join(list, "\n") + "\n")
	case err != nil:
		return err
	}
	texts, err := trainer.ParseTexts(raw, c.Recipe.Model.Text.Positions, c.Recipe.Vocabulary.DropUnknown)
	if err != nil {
		return err
	}
	text := *c.Recipe.Model.Text
	text.Vocabulary = texts.Size()
	c.Recipe.Model.Text = &text
	sum := sha256.Sum256(raw)
	if c.Identity.Options, err = c.Options(); err != nil {
		return err
	}
	c.Identity.Options["vocabulary"] = hex.EncodeToString(sum[:])
	if taught != "" {
		c.Identity.Options["teacher"] = taught
	}
	if held != "" { // it trains nothing, but commits and metrics have what it measured
		c.Identity.Options["validation"] = fmt.Sprintf("%s, %d rows, every %d", held, c.Held.Rows, c.Held.Every)
	}
	if c.Given != "" {
		m, err := weights.OpenSome(c.Given)
		if err != nil {
			return err
		}
		defer m.Close()
		if c.Identity.Weights, err = m.KnownDigest(c.Recipe.Model); err != nil {
			return err
		}
	}
	done, err := startTraining(ctx, out, c, o.run.overwrite)
	if err != nil || done {
		return err
	}
	return out.WriteAll(ctx, trainer.VocabularyFile, raw)
}

// startTraining makes the output folder this run's, or refuses another's. It reports whether the run is finished.
func startTraining(ctx context.Context, out *blob.Bucket, c *trainer.Config, overwrite bool) (bool, error) {
	raw, err := out.ReadAll(ctx, rounds.RunFile, 64<<20)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && overwrite:
		if err := trainer.Wipe(ctx, out); err != nil {
			return false, err
		}
		return false, rounds.WriteRun(ctx, out, c.Identity)
	case err != nil:
		return false, err
	}
	var old schemas.Identity
	if err := json.Unmarshal(raw, &old); err != nil {
		return false, errorf("train-tokenizer: %s in %s: %w", rounds.RunFile, out.URL(), err)
	}
	if diff := old.Diff(c.Identity); len(diff) > 0 {
		return false, &launch.RefusedError{Output: out.URL(), What: "holds a run with other settings, or on other pictures:", Fields: diff}
	}
	m, err := launch.ReadManifest(ctx, out)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return launch.Whole(ctx, out, m) == nil, nil
}

// train runs the rounds of both stages, as far as they are not committed.
func (o *trainTokenizerOptions) train(cmd *cobra.Command, out *blob.Bucket, c *trainer.Config) error {
	ctx := cmd.Context()
	if m, err := launch.ReadManifest(ctx, out); err == nil && launch.Whole(ctx, out, m) == nil && len(m.Identity.Diff(c.Identity)) == 0 {
		fmt.Fprintf(cmd.OutOrStdout(), "%s is finished already (%s): nothing to do.\n", out.URL(), m.Finished)
		return nil
	}
	m := schemas.Manifest{Version: schemas.ManifestVersion, Tool: tool(), Pipeline: "train-tokenizer", Identity: c.Identity, Model: o.given, Input: o.input, Command: os.Args,
		Runner: o.run.runner, Started: time.Now().UTC().Format(time.RFC3339Nano)}
	working, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })()
	progress.Start(working, c.RunID)
	defer progress.Forget(c.RunID)
	defer trainer.Release(*c)
	if o.firstStage != "" {
		from, err := openFolder(ctx, absolute(o.firstStage), "first stage")
		if err != nil {
			return err
		}
		defer from.Close()
		if err := trainer.Adopt(ctx, out, from, *c); err != nil {
			return err
		}
		if !o.run.quiet {
			fmt.Fprintf(cmd.ErrOrStderr(), "note: the first stage is that of %s\n", o.firstStage)
		}
	}
	for c.Stage = 1; c.Stage <= 2; c.Stage++ {
		if err := o.runStage(cmd, out, c, m, cancel); err != nil {
			return err
		}
	}
	finished, err := launch.ReadManifest(ctx, out)
	if err != nil {
		return errorf("train-tokenizer: the run ended without results: %w", err)
	}
	c.Stage = 2
	last, err := trainer.ReadCommit(ctx, out, c, c.Plan().Rounds()-1)
	if err != nil {
		return err
	}
	if o.run.json {
		return writeJSON(cmd.OutOrStdout(), map[string]any{"output": out.URL(), "pipeline": finished.Pipeline, "seconds": finished.Seconds, "identity": finished.Identity, "files": finished.Files,
			"validation": last.Validation})
	}
	if v := last.Validation; v != nil {
		fmt.Fprintf(cmd.OutOrStdout(), "held out, %s pairs: mean recall by embedding %.1f %%, by codes %.1f %%; perplexity %.0f\n", progress.Thousands(int64(v.Rows)), v.Embedding.Mean, v.Codes.Mean, v.Perplexity)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "model: %s, in %s\nnext: sower evaluate retrieval --input HELD_OUT --model %s\n", out.URL(), progress.Span(finished.Seconds), o.output)
	return err
}

func (o *trainTokenizerOptions) runStage(cmd *cobra.Command, out *blob.Bucket, c *trainer.Config, m schemas.Manifest, cancel context.CancelCauseFunc) error {
	ctx := cmd.Context()
	p := c.Plan()
	first, err := trainer.Done(ctx, out, c)
	if err != nil {
		return err
	}
	m.Resumed = first
	if first == p.Rounds() && c.Stage == 1 {
		return nil
	}
	committed := func() (int, error) { return trainer.Done(ctx, out, c) }
	o.run.config.Progress = commits(committed)
	if !o.run.quiet {
		defer o.show(cmd.ErrOrStderr(), out, c, first)()
	}
	return o.run.runRounds(ctx, fmt.Sprintf("train-tokenizer: stage %d", c.Stage), first, p.Rounds(), func(s beam.Scope, from, to int) error {
		return pipeline.Build(s, pipeline.Options{Config: *c, From: from, To: to, Manifest: m})
	}, committed, cancel)
}

// describe is the dry run.
func (o *trainTokenizerOptions) describe(w io.Writer, c *trainer.Config) error {
	r := &c.Recipe
	if o.run.json {
		return writeJSON(w, map[string]any{"dry_run": true, "recipe": r})
	}
	fmt.Fprintf(w, "model    images of %d pixels, %d codes of %d; %s\n", r.Model.ImageSize, r.Model.Queries, r.Model.Codes, filepath.Base(o.recipe))
	if o.firstStage != "" {
		fmt.Fprintf(w, "stage 1  taken from %s if it is the same\n", o.firstStage)
	}
	fmt.Fprintf(w, "stage 1  %s steps of %d pairs in %d rounds, vision transformer %s\n", progress.Thousands(int64(r.First.Steps)), r.First.Batch, c.Plan().Rounds(),
		map[bool]string{true: "trained, too", false: "frozen"}[r.First.ViT])
	if len(o.validation) > 0 {
		fmt.Fprintf(w, "held out up to %s pairs of %s, measured every %d rounds\n", progress.Thousands(int64(o.held.Rows)), strings.Join(o.validation, " "), o.held.Every)
	}
	second := *c
	second.Stage = 2
	fmt.Fprintf(w, "stage 2  %s steps of %d in %d rounds, codebook from %s, restarted every %d steps, image embeddings of %s\nnothing was written\n", progress.Thousands(int64(r.Second.Steps)), r.Second.Batch, second.Plan().Rounds(),
		r.Second.Codebook, r.Second.Restart, cmp.Or(o.teacher, "the first"))
	return nil
}

// show reports a stage until the returned function is called.
func (o *trainTokenizerOptions) show(w io.Writer, out *blob.Bucket, c *trainer.Config, first int) func() {
	p, l, stage := c.Plan(), trainer.Lives.Watch(c.RunID), *c
	elsewhere := committedSteps(p, first, func() (int, error) { return trainer.Done(context.Background(), out, &stage) })
	end := progress.Lines(w, func() string {
		now := l.Now()
		figures := ""
		switch last := now.Last; {
		case o.run.place != runners.InProcess:
			now.Steps = elsewhere()
		case stage.Stage == 1:
			figures = fmt.Sprintf("  loss %.4f (contrast %.3f, picture %.4f)", last.Loss, last.Contrast, last.Picture)
		default:
			figures = fmt.Sprintf("  loss %.4f (1-cos %.4f, picture %.4f), perplexity %.0f", last.Loss, last.Rec, last.Picture, last.Perplexity)
		}
		if v := now.Validation; v != nil {
			figures += fmt.Sprintf("  held out: recall %.1f %%", v.Embedding.Mean)
			if v.Codes != nil {
				figures += fmt.Sprintf(", by codes %.1f %%", v.Codes.Mean)
			}
		}
		return roundsLine(fmt.Sprintf("stage %d", stage.Stage), p, first, now.Steps, now.Seconds, figures)
	})
	return func() { end(); trainer.Lives.Unwatch(c.RunID) }
}
