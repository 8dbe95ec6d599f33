package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/spf13/cobra"

	"sower/internal/blob"
	"sower/internal/encode"
	"sower/internal/launch"
	"sower/internal/plan"
	"sower/internal/progress"
	"sower/internal/retry"
	pipeline "sower/pipelines/retry"
	"sower/schemas"
	"sower/transforms/manifest"
)

// retryOptions are the flags of sower retry. What they do not say stands in the manifest.
type retryOptions struct {
	encodeOptions
	codes     string
	reasons   []string
	all       bool
	allowLoss bool
}

func newRetry() *cobra.Command {
	o := retryOptions{}
	cmd := &cobra.Command{
		Use:   "retry --codes CORPUS",
		Short: "Do rejected rows of a finished corpus again, after the input was repaired",
		Long: `Retry reads again what may succeed now: rows that were rejected and are marked retryable (or those of --reason), and files of the
input that changed since. Other rows are taken over, and images whose bytes are the same keep their codes without the model. The
corpus is then what a clean run on today's input would have written, byte for byte.

Where only rows are retried (images behind --image-root), units without one are not touched. Where a file of the input has another size,
the identity in every part changes with the plan, so that all parts are written anew, without reading the input of good units.

Input, model, filters and columns stand in the manifest; --input, --model and --image-root say where the same things lie now. New parts
are made in CORPUS/_retry and put in place when all are there. Killed at any time, the same command does the rest; until then the
corpus is as it was. Files that came or went are refused, and so is a retry by which images with codes would be lost.`,
		Example: `  sower retry --codes corpus
  sower retry --codes corpus --dry-run
  sower retry --codes corpus --reason undecodable,truncated
  sower retry --codes corpus --input '/mnt/new/shards/*.tar' --model weights/`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "codes"); err != nil {
				return err
			}
			return o.execute(cmd)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&o.codes, "codes", "c", "", "folder of the corpus, which encode wrote")
	f.StringSliceVar(&o.reasons, "reason", nil, "retry rows with these reasons, separated by commas; default: those marked retryable")
	f.BoolVar(&o.all, "all", false, "read everything again; images that did not change keep their codes")
	f.BoolVar(&o.allowLoss, "allow-loss", false, "go on where images that have codes are now rejected or gone")
	f.StringArrayVarP(&o.input, "input", "i", nil, "where the input lies now; default: as the manifest says")
	f.StringVarP(&o.model, "model", "m", "", "where the same weights lie now; default: as the manifest says")
	f.StringVar(&o.columns.ImageRoot, "image-root", "", "where the images lie now; its last element must be the same; default: as the manifest says")
	f.StringVar(&o.format, "format", "", "input format, for corpora whose manifest does not say")
	f.Var(&o.unitBytes, "unit-bytes", "as the corpus was made with, for corpora whose manifest does not say")
	o.device.register(f)
	o.run.register(f)
	hide(f, "overwrite", "max-failure-rate")
	f.BoolVar(&o.dryRun, "dry-run", false, "say what would be done, write nothing")
	return cmd
}

func (o *retryOptions) execute(cmd *cobra.Command) error {
	ctx := cmd.Context()
	choice := retry.Choice{All: o.all}
	for _, r := range o.reasons {
		choice.Reasons = append(choice.Reasons, schemas.Reason(r))
	}
	if err := choice.Validate(); err != nil {
		return usageError{err}
	}
	b, err := openFolder(ctx, absolute(o.codes), "corpus")
	if err != nil {
		return err
	}
	defer b.Close()
	if !o.dryRun {
		release, err := launch.Hold(ctx, b)
		if err != nil {
			return err
		}
		defer release()
	}
	staging, err := blob.OpenBucket(ctx, blob.Join(b.URL(), launch.RetryFolder))
	if err != nil {
		return err
	}
	defer staging.Close()
	if err := o.finishLast(cmd, b, staging); err != nil {
		return err
	}
	m, err := o.corpus(ctx, b)
	if err != nil {
		return err
	}
	// As the corpus names them, where the flags do not: how they were resolved stands in the settings.
	m.Model = cmp.Or(o.model, m.Model)
	if len(o.input) > 0 {
		m.Input = o.input
	}
	if err := o.settle(m, staging); err != nil {
		return err
	}
	files := append(arguments("input", o.input...), argument{"codes", o.codes}, argument{"model", o.model}, argument{"image-root", o.columns.ImageRoot})
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
	if diff := m.Identity.Diff(p.config.Identity, "plan"); len(diff) > 0 {
		return errorf("retry: %s was made with other settings than these:\n    %s\nGive the same weights and --image-root, or encode into another folder.", b.URL(), strings.Join(diff, "\n    "))
	}
	old, err := plan.Read(ctx, b)
	if err != nil {
		return err
	}
	if old == nil {
		return errorf("retry: %s has no plan in %s: it cannot be retried", b.URL(), plan.Folder)
	}
	task, err := retry.Choose(ctx, b, m, p.config.Layout(), old, p.plan, choice)
	if err != nil {
		return err
	}
	if len(task.Rows) == 0 {
		if !o.dryRun {
			if err := retry.Discard(ctx, staging); err != nil {
				return err
			}
		}
		if o.run.json {
			return writeJSON(cmd.OutOrStdout(), map[string]any{"output": b.URL(), "units": 0, "counts": m.Counts})
		}
		o.nothing(cmd, b, m)
		return nil
	}
	if o.dryRun {
		return o.describeTask(cmd, b, p, task)
	}
	if !o.run.json {
		o.say(cmd, p, task)
	}
	return o.launchTask(cmd, b, staging, m, p, task)
}

// finishLast puts a retry in place that was computed and then killed.
func (o *retryOptions) finishLast(cmd *cobra.Command, b, staging *blob.Bucket) error {
	staged, err := retry.Staged(cmd.Context(), staging)
	if err != nil || staged == nil {
		return err
	}
	if o.dryRun {
		return errorf("retry: %s holds a retry that waits to be put in place: run without --dry-run first", b.URL())
	}
	if _, err := retry.Install(cmd.Context(), b, staging, o.allowLoss); err != nil {
		return err
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "note: an earlier retry was computed but not in place; now it is")
	return nil
}

// corpus reads the manifest of a corpus that can be retried.
func (o *retryOptions) corpus(ctx context.Context, b *blob.Bucket) (*schemas.Manifest, error) {
	m, err := launch.ReadManifest(ctx, b)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errorf("retry: %s has no %s: it is not finished; run the command that makes it again, which does what is left", b.URL(), schemas.ManifestName)
	}
	if err != nil {
		return nil, err
	}
	if m.Pipeline != "encode" {
		return nil, errorf("retry: %s is of %s: only corpora of encode have rows to retry; the others are made anew from them", b.URL(), m.Pipeline)
	}
	return m, launch.Whole(ctx, b, m)
}

// settle fills in what the flags leave out from the manifest.
func (o *retryOptions) settle(m *schemas.Manifest, staging *blob.Bucket) error {
	s := m.Settings
	if s == nil {
		s = &schemas.Settings{}
	}
	if len(o.input) == 0 {
		o.input = s.Input
	}
	o.model = cmp.Or(o.model, s.Model)
	o.format = cmp.Or(o.format, s.Format)
	o.columns.ImageRoot = cmp.Or(o.columns.ImageRoot, s.ImageRoot)
	o.unitBytes = cmp.Or(o.unitBytes, sizeFlag(s.UnitBytes))
	var missing []string
	for flag, absent := range map[string]bool{"--input": len(o.input) == 0, "--model": o.model == "", "--unit-bytes": o.unitBytes == 0,
		"--image-root": o.columns.ImageRoot == "" && m.Identity.Options["image_root"] != ""} {
		if absent {
			missing = append(missing, flag)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return usageError{errorf("retry: the manifest is of a version that does not say how the input was read: give %s as they were then", strings.Join(missing, ", "))}
	}
	cfg := encode.Config{Limits: encode.DefaultLimits()}
	if err := cfg.ParseOptions(m.Identity.Options); err != nil {
		return err
	}
	o.columns.ImageColumn, o.columns.TextColumn, o.columns.KeyColumn = cfg.ImageColumn, cfg.TextColumn, cfg.KeyColumn
	o.filters, o.maxPixels, o.maxBytes, o.missing = cfg.Filters, cfg.Limits.MaxPixels, sizeFlag(cfg.Limits.MaxImageBytes), cfg.MissingImage
	o.resize, o.device.precision = m.Identity.Resize, m.Identity.Precision
	o.output = staging.URL()
	o.run.maxFail = 1 // what failed before may fail again; that nothing gets worse is looked at row by row
	return nil
}

// launchTask runs the pipeline into the staging folder and puts the result in place.
func (o *retryOptions) launchTask(cmd *cobra.Command, b, staging *blob.Bucket, was *schemas.Manifest, p *prepared, task *retry.Task) error {
	work := task.WorkName(p.plan)
	if err := retry.Clear(cmd.Context(), staging, work); err != nil {
		return err
	}
	p.config.Model = cmp.Or(o.run.onWorkers, p.config.Model)
	cfg := retry.Config{Encode: p.config, Corpus: b.URL(), Work: work, Units: len(task.Rows), AllowLoss: o.allowLoss}
	m := schemas.Manifest{Version: schemas.ManifestVersion, Tool: tool(), Pipeline: "encode", Device: p.computes, Identity: p.config.Identity, Units: p.plan.Units,
		Model: was.Model, Input: was.Input, Settings: &p.settings, Command: os.Args, Runner: o.run.runner}
	return o.run.launch(cmd, &job{
		what: "retry", documents: p.config.Documents, id: p.config.RunID, out: staging, plan: p.plan, manifest: m, corpus: b.URL(),
		total:  &progress.Total{Units: len(task.Rows)},
		before: func() error { return task.WriteWork(cmd.Context(), staging, work) },
		build: func(s beam.Scope, branches int, mo manifest.Options) error {
			if task.Same {
				mo.Base, mo.Work = b.URL(), len(task.Rows)
			}
			return pipeline.Build(s, pipeline.Options{Config: cfg, Branches: branches, Manifest: mo})
		},
		forget: func() { encode.Forget(p.config.RunID) },
		after: func(ctx context.Context) error {
			now, err := retry.Install(ctx, b, staging, o.allowLoss)
			if err == nil && !o.run.json {
				fmt.Fprintf(cmd.OutOrStdout(), "%s images have codes now that had none; %s of those read kept theirs without the model\n",
					progress.Thousands(now.Counts.Encoded-was.Counts.Encoded), progress.Thousands(now.Reused))
			}
			return err
		},
	})
}

// say tells what will be done.
func (o *retryOptions) say(cmd *cobra.Command, p *prepared, t *retry.Task) {
	w := cmd.OutOrStdout()
	total := int64(0)
	var by []string
	for _, r := range schemas.Reasons {
		if n := t.Chosen[r]; n > 0 {
			total += n
			by = append(by, fmt.Sprintf("%s %s", r, progress.Thousands(n)))
		}
	}
	fmt.Fprintf(w, "rejected rows to do again: %s", progress.Thousands(total))
	if len(by) > 0 {
		fmt.Fprintf(w, " (%s)", strings.Join(by, ", "))
	}
	fmt.Fprintln(w)
	if n := len(t.Changed); n > 0 {
		names, more := t.Changed, ""
		if n > 3 {
			names, more = names[:3], ", …"
		}
		fmt.Fprintf(w, "changed files: %d (%s%s)\n", n, strings.Join(names, ", "), more)
	}
	fmt.Fprintf(w, "units: %d of %d are written again; %d ranges, %s of input, are read\n", len(t.Rows), p.plan.Units, t.Read, progress.Size(t.ReadBytes))
	if !t.Same {
		fmt.Fprintln(w, "the plan changed with the sizes of files, so every part gets a new identity")
	}
}

func (o *retryOptions) describeTask(cmd *cobra.Command, b *blob.Bucket, p *prepared, t *retry.Task) error {
	if o.run.json {
		return writeJSON(cmd.OutOrStdout(), map[string]any{"dry_run": true, "output": b.URL(), "rows": t.Chosen, "changed_files": t.Changed, "units": len(t.Rows),
			"units_of": p.plan.Units, "ranges_read": t.Read, "bytes_read": t.ReadBytes, "same_plan": t.Same})
	}
	o.say(cmd, p, t)
	fmt.Fprintln(cmd.OutOrStdout(), "dry run: nothing was written")
	return nil
}

// nothing says why there is nothing to do, and what there would be.
func (o *retryOptions) nothing(cmd *cobra.Command, b *blob.Bucket, m *schemas.Manifest) {
	fmt.Fprintf(cmd.OutOrStdout(), "%s: nothing to retry: no file of the input changed", b.URL())
	if len(o.reasons) > 0 {
		fmt.Fprintf(cmd.OutOrStdout(), ", and no row was rejected as %s.\n", strings.Join(o.reasons, " or "))
		return
	}
	fmt.Fprint(cmd.OutOrStdout(), ", and no rejected row is marked retryable.\n")
	for _, r := range schemas.Reasons {
		if n := m.Counts.Rejected[string(r)]; n > 0 {
			fmt.Fprintf(cmd.OutOrStdout(), "  rejected: %s %s\n", r, progress.Thousands(n))
		}
	}
}
