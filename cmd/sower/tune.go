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
	"maps"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/spf13/cobra"

	"sower/gpu"
	"sower/internal/base"
	"sower/internal/blob"
	"sower/internal/launch"
	"sower/internal/progress"
	"sower/internal/rounds"
	"sower/internal/text"
	"sower/internal/tune"
	pipeline "sower/pipelines/tune"
	"sower/runners"
	"sower/schemas"
)

type tuneOptions struct {
	run    runFlags
	device deviceFlags
	config tune.Config
	dryRun bool
	memory tune.Memory
}

func defaultTune() tuneOptions { return tuneOptions{config: tune.Default()} }

func newTune() *cobra.Command {
	o := defaultTune()
	c := &o.config
	cmd := &cobra.Command{
		Use:   "tune --corpus SEQUENCES --base MODEL --output FOLDER",
		Short: "LoRA-tune a language model on training sequences",
		Long: `Tune reads the sequences that interleave wrote, trains low-rank adapters of a LLaMA or OPT model and the rows of the image
tokens on them, and writes an adapter that PEFT loads, with metrics and a card.

Training runs in rounds that are committed: killed or interrupted, the same command goes on at the last commit and ends with
the same bytes. With --workers W each round's steps are shared by W workers, whose adapters are averaged (local SGD).`,
		Example: `  sower tune --corpus train --base SmolLM2.gguf --output adapter/ --rank 16 --steps 2000 --steps-per-round 200
  sower tune --corpus train --base llama/ --output adapter/ --workers 4 --steps 4000 --steps-per-round 400
  sower tune --corpus train --base standin:tiny:0 --output adapter/ --saved embed_tokens,lm_head --steps 200`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "corpus", "base", "output"); err != nil {
				return err
			}
			return o.execute(cmd)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&c.Corpus, "corpus", "", "folder that sower interleave wrote")
	f.StringVarP(&c.Base, "base", "b", "", base.Usage)
	f.StringVarP(&c.Output, "output", "o", "", "folder for the adapter")
	f.IntVar(&c.Rank, "rank", c.Rank, "rank of the adapters")
	f.Float64Var(&c.Alpha, "alpha", c.Alpha, "scale of the adapters: alpha/rank")
	f.BoolVar(&c.RankStable, "rank-stable", c.RankStable, "scale alpha/√rank instead")
	f.Float64Var(&c.Dropout, "dropout", c.Dropout, "share of the adapters' inputs to leave out")
	f.StringSliceVar(&c.Targets, "targets", nil, "linear layers that get an adapter, by name; default: all inside the decoder")
	f.StringSliceVar(&c.Saved, "saved", nil, "modules to train whole, such as embed_tokens,lm_head (then not only the image rows)")
	f.IntVar(&c.Steps, "steps", c.Steps, "batches to train on")
	f.IntVar(&c.StepsPerRound, "steps-per-round", c.StepsPerRound, "batches between commits; what a kill can cost")
	f.IntVar(&c.Workers, "workers", c.Workers, "workers that share a round's batches; each makes fewer updates, so raise --rate about as much")
	f.IntVar(&c.BatchRows, "batch-rows", c.BatchRows, "rows of the corpus in a batch")
	f.IntVar(&c.MicroTokens, "micro-tokens", c.MicroTokens, "tokens computed at a time at most (memory)")
	f.BoolVar(&c.Recompute, "recompute", c.Recompute, "keep only the layers' results and compute the rest again (less memory, a third slower)")
	f.Float64Var(&c.Rate, "rate", c.Rate, "highest learning rate")
	f.IntVar(&c.Warmup, "warmup", c.Warmup, "steps over which the rate rises")
	f.StringVar(&c.Schedule, "schedule", c.Schedule, "how the rate falls then: cosine, linear or constant")
	f.Float64Var(&c.Floor, "floor", c.Floor, "last rate as a share of the highest")
	f.Float64Var(&c.Beta1, "beta1", c.Beta1, "AdamW's first moment")
	f.Float64Var(&c.Beta2, "beta2", c.Beta2, "AdamW's second moment")
	f.Float64Var(&c.Eps, "eps", c.Eps, "AdamW's eps")
	f.Float64Var(&c.Decay, "decay", c.Decay, "weight decay")
	f.BoolVar(&c.DecayAll, "decay-all", c.DecayAll, "decay norms and biases, too")
	f.Float64Var(&c.Clip, "clip", c.Clip, "norm that all gradients together are clipped to; 0 does not")
	f.Float64Var(&c.OuterRate, "outer-rate", c.OuterRate, "of the step towards the workers' average; 1 goes all the way")
	f.Float64Var(&c.OuterMomentum, "outer-momentum", c.OuterMomentum, "Nesterov momentum of that step; for rounds of 500 steps a worker try 0.9 with --outer-rate 0.7")
	f.IntVar(&c.ValidateEvery, "validate-every", c.ValidateEvery, "rounds between validations")
	f.IntVar(&c.ValidationRows, "validation-rows", c.ValidationRows, "rows of the validation split to look at; 0 does not validate")
	f.Uint64Var(&c.Seed, "seed", c.Seed, "of first values and dropout")
	o.device.register(f)
	o.device.registerPrecision(f)
	o.run.register(f)
	hide(f, "batch", "max-failure-rate", "parallelism")
	f.BoolVar(&o.dryRun, "dry-run", false, "show what would be trained, write nothing")
	return cmd
}

// targets are the linear layers of each architecture.
var targets = map[string][]string{
	"llama": {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"},
	"opt":   {"q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"},
}

// prepare opens what the flags name and completes the configuration.
func (o *tuneOptions) prepare(ctx context.Context) (*schemas.Manifest, error) {
	c := &o.config
	c.RunID, c.Device, c.Threads = newRunID(), o.device.device, o.device.threads
	if err := c.Validate(); err != nil {
		return nil, usageError{err}
	}
	if sameFolder(c.Corpus, c.Output) {
		return nil, usageError{errorf("tune: --output %s is the corpus itself; give another folder", c.Output)}
	}
	corpusArg, baseArg := c.Corpus, c.Base
	c.Corpus, c.Output = absolute(c.Corpus), absolute(c.Output)
	if !strings.HasPrefix(c.Base, "standin:") {
		c.Base = absoluteModel(c.Base)
	}
	precision, err := gpu.ParsePrecision(o.device.precision)
	if err != nil {
		return nil, usageError{errorf("tune: --precision: %w", err)}
	}
	if precision == gpu.BF16 && !gpu.OnGPU(c.Device) {
		return nil, usageError{errorf("tune: --precision bfloat16 needs a GPU (--device cuda); on a CPU tune in float32")}
	}
	if precision == gpu.FP16 || precision == gpu.FP8 {
		return nil, usageError{errorf("tune: --precision %s: gradients underflow in it; use bfloat16, whose range is that of float32", precision)}
	}
	if _, _, err := o.run.deviceHere(&o.device, precision); err != nil {
		return nil, err
	}
	in, m, err := openMade(ctx, "--corpus", corpusArg, "interleave")
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if m.Vocabulary == nil {
		return nil, errorf("--corpus %s: its %s has no vocabulary: it is damaged; run its sower interleave again with --overwrite", corpusArg, schemas.ManifestName)
	}
	c.Vocabulary = *m.Vocabulary
	sum := sha256.New()
	for _, f := range m.Files {
		switch {
		case strings.HasPrefix(f.Path, "data/train"):
			c.Train = append(c.Train, f)
		case strings.HasPrefix(f.Path, "data/validation"):
			c.Validation = append(c.Validation, f)
		}
		fmt.Fprintln(sum, f.Path, f.SHA256)
	}
	if rows(c.Train) == 0 {
		return nil, errorf("--corpus %s has no rows to train on", corpusArg)
	}
	if rows(c.Validation) == 0 {
		c.Validation = nil
	}
	b, err := base.Open(c.Base)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	if len(c.Targets) == 0 {
		c.Targets = targets[b.ModelType]
	}
	for _, s := range c.Saved { // whole tables hold the image rows, too
		if s == "embed_tokens" || s == "lm_head" {
			c.ImageTokens = false
		}
	}
	if err := sameTokenizer(in, b, &c.Vocabulary, baseArg); err != nil {
		return nil, err
	}
	if err := fits(b, m, baseArg); err != nil {
		return nil, err
	}
	longest, _ := strconv.Atoi(m.Identity.Options["context"])
	if o.memory, err = c.Estimate(b, longest); err != nil {
		return nil, err
	}
	if free, ok := tune.Available(); ok && o.run.place == runners.InProcess && o.memory.Total() > free {
		return nil, errorf("tune: training takes about %s (weights %s, what is trained %s, activations %s), and %s are available: give --recompute, less --micro-tokens (now %d), or a smaller --base",
			progress.Size(o.memory.Total()), progress.Size(o.memory.Weights), progress.Size(o.memory.Training), progress.Size(o.memory.Activations), progress.Size(free), c.MicroTokens)
	}
	digest, err := b.Digest()
	if err != nil {
		return nil, err
	}
	c.Identity = m.Identity
	c.Identity.Precision = precision.On(c.Device)
	c.Identity.Weights, c.Identity.Plan = digest, hex.EncodeToString(sum.Sum(nil))
	c.Identity.Options = c.Options()
	for name, value := range m.Identity.Options { // how prompts were laid out, for sower generate
		if strings.HasPrefix(name, "template_") || name == "bos" || name == "image_first" {
			c.Identity.Options[name] = value
		}
	}
	maps.Copy(c.Identity.Options, map[string]string{"packed": strconv.FormatBool(m.Identity.Options["pack"] == "true"), "codes_weights": m.Identity.Weights, "codes_precision": m.Identity.Precision, "text_digest": c.Vocabulary.Digest})
	return &schemas.Manifest{Version: schemas.ManifestVersion, Tool: tool(), Pipeline: "tune", Identity: c.Identity, Units: c.Rounds(), Vocabulary: m.Vocabulary,
		Model: baseArg, Input: []string{corpusArg}, Command: os.Args, Runner: o.run.runner}, nil
}

// fits refuses a corpus whose sequences are longer than the base has positions for.
func fits(b *base.Base, m *schemas.Manifest, arg string) error {
	var config struct {
		Positions int `json:"max_position_embeddings"`
	}
	if err := json.Unmarshal(b.Config, &config); err != nil {
		return errorf("tune: --base %s: %w", arg, err)
	}
	context, err := strconv.Atoi(m.Identity.Options["context"])
	if err == nil && config.Positions > 0 && context > config.Positions {
		return errorf("tune: --base %s has %d positions, the corpus has sequences of up to %d: interleave again with --context %d", arg, config.Positions, context, config.Positions)
	}
	return nil
}

func rows(files []schemas.File) (n int64) {
	for _, f := range files {
		n += f.Rows
	}
	return n
}

// probes are texts on which two tokenizers that are not the same part.
var probes = []string{"a photo of a red bird", "The quick brown fox, jumps over 12 lazy dogs.", "naïve café – Ünïcödé", "  two spaces\nand lines", "猫が好き", "x=3.14;y[0]", "I'll don't"}

// sameTokenizer refuses a base whose own tokenizer gives other ids for text than the corpus was made with.
func sameTokenizer(corpus *blob.Bucket, b *base.Base, v *schemas.Vocabulary, arg string) error {
	if b.StandIn {
		if v.Tokenizer != "bytes" {
			return errorf("tune: --base %s reads bytes, but the corpus was made with tokenizer %q: interleave with --tokenizer bytes, or give the model of that tokenizer", arg, v.Tokenizer)
		}
		return nil
	}
	own, err := text.Open(b.Path, text.Options{Rules: "hf"})
	if err != nil {
		return errorf("tune: --base %s: its tokenizer, which must be that of the corpus, cannot be read: %w", arg, err)
	}
	theirs, err := text.Open(blob.Join(corpus.URL(), "tokenizer"), text.Options{Rules: "hf"})
	if err != nil {
		return errorf("tune: the tokenizer in the corpus cannot be read: %w", err)
	}
	for _, p := range probes {
		x, y := own.Encode(nil, p), theirs.Encode(nil, p)
		if fmt.Sprint(x) != fmt.Sprint(y) {
			return errorf("tune: --base %s gives %q the ids %v, the corpus has %v: interleave again with --tokenizer %s", arg, p, x, y, arg)
		}
	}
	return nil
}

func (o *tuneOptions) execute(cmd *cobra.Command) error {
	ctx := cmd.Context()
	if err := o.run.begin(cmd, o.device.device, argument{"corpus", o.config.Corpus}, argument{"output", o.config.Output}, argument{"base", o.config.Base}); err != nil {
		return err
	}
	if o.run.config.Parallelism == 0 {
		o.run.config.Parallelism = o.config.Workers // for runners that have none of their own; the rounds' graph has no branches
	}
	m, err := o.prepare(ctx)
	if err != nil {
		return err
	}
	o.config.Base = cmp.Or(o.run.onWorkers, o.config.Base)
	c := o.config
	if o.dryRun {
		return o.describe(cmd.OutOrStdout(), m)
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
	done, err := startTune(ctx, out, &c, o.run.overwrite)
	if err != nil {
		return err
	}
	if done != nil {
		if !o.run.json {
			fmt.Fprintf(cmd.OutOrStdout(), "%s is finished already (%s): nothing to do.\n", out.URL(), done.Finished)
		}
		return tuneSummary(ctx, cmd.OutOrStdout(), out, &c, done, o.run.json)
	}
	m.Started = time.Now().UTC().Format(time.RFC3339Nano)
	working, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })()
	progress.Start(working, c.RunID)
	defer progress.Forget(c.RunID)
	defer tune.Release(c)
	first, err := tune.Done(ctx, out, &c)
	if err != nil {
		return err
	}
	m.Resumed = first
	committed := func() (int, error) { return tune.Done(ctx, out, &c) }
	o.run.config.Progress = commits(committed)
	if !o.run.quiet {
		defer o.showTune(cmd.ErrOrStderr(), out, &c, first)()
	}
	if err := o.run.runRounds(ctx, "tune", first, c.Rounds(), func(s beam.Scope, from, to int) error {
		return pipeline.Build(s, pipeline.Options{Config: c, From: from, To: to, Manifest: *m})
	}, committed, cancel); err != nil {
		return err
	}
	finished, err := launch.ReadManifest(ctx, out)
	if err != nil {
		return errorf("tune: the run ended without results: %w", err)
	}
	return tuneSummary(ctx, cmd.OutOrStdout(), out, &c, finished, o.run.json)
}

// startTune makes the output folder this run's, refuses another's, and returns the manifest of a finished run.
func startTune(ctx context.Context, out *blob.Bucket, c *tune.Config, overwrite bool) (*schemas.Manifest, error) {
	var old schemas.Identity
	raw, err := out.ReadAll(ctx, rounds.RunFile, 1<<20)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		for info, err := range out.List(ctx, "") {
			if err != nil {
				if errors.Is(err, fs.ErrNotExist) {
					break
				}
				return nil, err
			}
			return nil, &launch.RefusedError{Output: out.URL(), Foreign: true, What: "is not empty (" + info.Name + ") and holds no run of sower tune"}
		}
	case err != nil:
		return nil, err
	default:
		if err := json.Unmarshal(raw, &old); err != nil {
			return nil, errorf("tune: %s in %s: %w", rounds.RunFile, out.URL(), err)
		}
		if overwrite {
			if err := tune.Wipe(ctx, out); err != nil {
				return nil, err
			}
			return nil, rounds.WriteRun(ctx, out, c.Identity)
		}
		begun := false
		for _, err := range out.List(ctx, "rounds/") {
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			begun = begun || err == nil
		}
		if !begun { // nothing is lost: a run that failed at once may be tried with other settings
			return nil, rounds.WriteRun(ctx, out, c.Identity)
		}
		if diff := old.Diff(c.Identity); len(diff) > 0 {
			return nil, &launch.RefusedError{Output: out.URL(), What: "holds a run with other settings, or of another base or corpus:", Fields: diff}
		}
		if _, err := out.Sweep(ctx, ""); err != nil {
			return nil, err
		}
		m, err := launch.ReadManifest(ctx, out)
		if err == nil && launch.Whole(ctx, out, m) == nil {
			return m, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		return nil, nil
	}
	return nil, rounds.WriteRun(ctx, out, c.Identity)
}

// describe is the dry run.
func (o *tuneOptions) describe(w io.Writer, m *schemas.Manifest) error {
	c := &o.config
	if o.run.json {
		return writeJSON(w, map[string]any{"dry_run": true, "identity": m.Identity, "rounds": c.Rounds(), "rows": rows(c.Train), "validation_rows": rows(c.Validation)})
	}
	need := int64(c.Steps) * int64(c.BatchRows)
	fmt.Fprintf(w, "corpus  %s rows to train on, %s to validate with; %s rows are read: %.2f times the corpus\n", progress.Thousands(rows(c.Train)), progress.Thousands(rows(c.Validation)),
		progress.Thousands(need), float64(need)/float64(rows(c.Train)))
	fmt.Fprintf(w, "train   rank %d on %s", c.Rank, strings.Join(c.Targets, ", "))
	if c.ImageTokens {
		fmt.Fprintf(w, "; rows of %s image tokens", progress.Thousands(int64(c.Vocabulary.K)+2))
	}
	if len(c.Saved) > 0 {
		fmt.Fprintf(w, "; whole: %s", strings.Join(c.Saved, ", "))
	}
	fmt.Fprintf(w, "\nrun     %d steps of %d rows in %d rounds, %d workers\nmemory  about %s; nothing was written\n", c.Steps, c.BatchRows, c.Rounds(), c.Workers, progress.Size(o.memory.Total()))
	return nil
}

// showTune reports until the returned function is called.
func (o *tuneOptions) showTune(w io.Writer, out *blob.Bucket, c *tune.Config, first int) (stop func()) {
	p, l := c.Plan(), tune.Lives.Watch(c.RunID)
	elsewhere := committedSteps(p, first, func() (int, error) { return tune.Done(context.Background(), out, c) })
	end := progress.Lines(w, func() string {
		now := l.Now()
		figures := ""
		if o.run.place != runners.InProcess {
			now.Steps = elsewhere()
		} else {
			figures = fmt.Sprintf("  loss %.3f (text %.3f, image %.3f)  %s tokens/s", now.Last.Loss, now.Last.TextLoss, now.Last.ImageLoss, progress.Rate(float64(now.Done)/max(now.Seconds, 1e-3)))
		}
		if v := now.Validation; v != nil {
			figures += fmt.Sprintf("  validation %.3f", v.Loss)
		}
		return roundsLine("tune", p, first, now.Steps, now.Seconds, figures)
	})
	return func() { end(); tune.Lives.Unwatch(c.RunID) }
}

// tuneSummary is what a finished run prints.
func tuneSummary(ctx context.Context, w io.Writer, out *blob.Bucket, c *tune.Config, m *schemas.Manifest, asJSON bool) error {
	var commits []*tune.Commit
	tokens, seconds := int64(0), 0.0
	for r := range c.Rounds() {
		commit, err := tune.ReadCommit(ctx, out, c, r)
		if err != nil {
			return err
		}
		commits = append(commits, commit)
		for _, report := range commit.Workers {
			seconds += report.Seconds
			for _, s := range report.Steps {
				tokens += s.Tokens
			}
		}
	}
	last := commits[len(commits)-1]
	report := last.Workers[len(last.Workers)-1]
	end := report.Steps[len(report.Steps)-1]
	if asJSON {
		return writeJSON(w, map[string]any{"output": out.URL(), "pipeline": m.Pipeline, "steps": c.Steps, "rounds": len(commits), "resumed_rounds": m.Resumed, "tokens": tokens,
			"tokens_per_second": float64(tokens) / max(seconds, 1e-9), "last_step": end, "validation": last.Validation, "best_round": last.Best, "seconds": m.Seconds, "identity": m.Identity})
	}
	fmt.Fprintf(w, "%d steps in %d rounds, %s tokens at %s tokens/s; loss of the last step %.4f (text %.4f, image %.4f)\n", c.Steps, len(commits), progress.Thousands(tokens),
		progress.Rate(float64(tokens)/max(seconds, 1e-9)), end.Loss, end.TextLoss, end.ImageLoss)
	if m.Resumed > 0 {
		fmt.Fprintf(w, "%d rounds were there already\n", m.Resumed)
	}
	for _, commit := range commits {
		if v := commit.Validation; v != nil && (commit.Round == 0 || commit.Round == last.Best || commit == last) {
			fmt.Fprintf(w, "validation after round %d: %.4f (text %.4f, image %.4f)\n", commit.Round, v.Loss, v.TextLoss, v.ImageLoss)
		}
	}
	fmt.Fprintf(w, "adapter: %s\n", out.URL())
	return nil
}
