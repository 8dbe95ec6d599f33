package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sort"
	"text/tabwriter"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/spf13/cobra"

	"sower/internal/blob"
	"sower/internal/launch"
	"sower/internal/plan"
	"sower/internal/progress"
	"sower/runners"
	"sower/schemas"
	"sower/transforms/manifest"
)

// job is a pipeline that is ready to run into an output folder.
type job struct {
	what     string // "encode"
	noun     string // of its rows, for progress; "images" if empty
	id       string
	out      *blob.Bucket
	plan     *plan.Plan
	manifest schemas.Manifest
	before   func() error // writes what the run needs beside its parts, once it is clear that it may
	build    func(beam.Scope, int, manifest.Options) error
	forget   func() // drops what the run kept in this process
	// A retry works on some units, total, in a folder that is put in its place, corpus, afterwards.
	total  *progress.Total
	after  func(context.Context) error
	corpus string
	// documents says that the plan's rows are documents, so that how many images come is not known.
	documents bool
}

// patience is how long an interrupted run waits for workers to put down what they hold.
const patience = 20 * time.Second

func newRunID() string {
	var b [8]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

func isURL(path string) bool {
	scheme, _ := blob.SplitScheme(path)
	return scheme != ""
}

// launch checks the output folder, runs the pipeline, and believes the manifest alone.
func (f *runFlags) launch(cmd *cobra.Command, j *job) error {
	ctx := cmd.Context()
	runner := f.chosen
	release, err := launch.Hold(ctx, j.out)
	if err != nil {
		return err
	}
	defer release()
	done, err := launch.Prepare(ctx, j.out, j.plan, j.manifest.Identity, f.overwrite)
	if err != nil {
		return err
	}
	if done != nil {
		if !f.json && !f.summaryless {
			fmt.Fprintf(cmd.OutOrStdout(), "%s is finished already (%s): nothing to do.\n", j.out.URL(), done.Finished)
		}
		noteEmpty(cmd, done)
		return f.summary(cmd.OutOrStdout(), j, done)
	}
	if j.before != nil {
		if err := j.before(); err != nil {
			return err
		}
	}
	if err := f.fits(ctx, j.plan.Units); err != nil {
		return err
	}
	began, before := time.Now(), blob.Trouble()
	j.manifest.Started = began.UTC().Format(time.RFC3339Nano)
	// Workers get a context of their own: cancelling the runner's alone would leave them at work.
	working, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	stopWatching := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	defer stopWatching()
	r := progress.Start(working, j.id)
	defer progress.Forget(j.id)
	defer j.forget()
	p, s := beam.NewPipelineWithRoot()
	err = j.build(s, runner.Branches(f.config), manifest.Options{RunID: j.id, Output: j.out.URL(), Manifest: j.manifest, MaxFailureRate: f.maxFail,
		Stages: f.place == runners.InProcess})
	if err != nil {
		return err
	}
	if f.place != runners.InProcess {
		watching, stopCounting := context.WithCancel(ctx)
		defer stopCounting()
		go watchParts(watching, j.out, j.plan, r)
	}
	f.config.Progress = r.Changes
	stop := func() {}
	if !f.quiet {
		total := progress.Total{Bytes: j.plan.Bytes, Units: j.plan.Units, Noun: j.noun}
		if j.plan.Exact && !j.documents {
			total.Rows = j.plan.Known
		}
		if j.total != nil {
			total = *j.total
		}
		if f.place != runners.InProcess {
			total.Rows, total.Noun = int64(total.Units), "units"
		}
		stop = progress.Show(cmd.ErrOrStderr(), j.what, r, total)
	}
	runErr := runner.Run(ctx, p, f.config)
	stop()
	if errors.Is(runErr, runners.ErrNotStarted) {
		fmt.Fprintf(cmd.OutOrStdout(), "The job is written down, not started. When it has run, %s is the corpus; the same command without --template-location finishes what it left.\n", j.out.URL())
		return nil
	}
	if runErr != nil {
		cancel(runErr)
		if !r.Drain(patience) {
			fmt.Fprintln(cmd.ErrOrStderr(), "note: a worker is still busy; what it holds is dropped and done again next time")
		}
		return runErr
	}
	m, err := launch.Verify(ctx, j.out, j.manifest.Identity)
	if err != nil {
		return err
	}
	if j.after != nil {
		if err := j.after(ctx); err != nil {
			return err
		}
	}
	noteEmpty(cmd, m)
	if err := f.summary(cmd.OutOrStdout(), j, m); err != nil || f.json {
		return err
	}
	if t := blob.Trouble().Sub(before); t.Retries > 0 {
		fmt.Fprintf(cmd.OutOrStdout(), "storage: %s of %s requests sent again, %s lost by that\n", progress.Thousands(t.Retries), progress.Thousands(t.Requests), t.Lost.Round(10*time.Millisecond))
	}
	return engineUse(cmd.OutOrStdout(), r.Engine(), m.Stages)
}

// describe writes what would be submitted, where a runner submits anything.
func (f *runFlags) describe(cmd *cobra.Command, j *job) error {
	d, ok := f.chosen.(runners.Describer)
	if !ok {
		return nil
	}
	p, s := beam.NewPipelineWithRoot()
	err := j.build(s, f.chosen.Branches(f.config), manifest.Options{RunID: j.id, Output: j.out.URL(), Manifest: j.manifest, MaxFailureRate: f.maxFail})
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "\n%s would be given this job:\n", f.runner)
	return d.Describe(cmd.Context(), cmd.OutOrStdout(), p, f.config)
}

// engineUse says how well the GPU was used and, where it waited, for what.
func engineUse(w io.Writer, e *progress.Engine, stages map[string]float64) error {
	if e == nil || e.Batches == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "GPU: busy %.0f%% of %s, %s batches %.0f%% full", 100*float64(e.Busy)/max(1, float64(e.Busy+e.Idle)), progress.Span((e.Busy + e.Idle).Seconds()),
		progress.Thousands(e.Batches), 100*float64(e.Images)/max(1, float64(e.Room)))
	if err == nil && e.Idle > e.Busy/20 {
		cause := "pictures to be decoded (more cores, or smaller pictures, would help)"
		if stages["read"] > stages["prepare"] {
			cause = "input to be read (faster or nearer storage, or a larger --parallelism, would help)"
		}
		_, err = fmt.Fprintf(w, "; it waited %s for %s", progress.Span(e.Idle.Seconds()), cause)
	}
	if err == nil {
		_, err = fmt.Fprintln(w)
	}
	return err
}

// noteEmpty says that a run found nothing to do, which is rarely what was meant: a table of a header alone, or one whose
// lines end in a way that is not known.
func noteEmpty(cmd *cobra.Command, m *schemas.Manifest) {
	if d := m.Counts.Documents; m.Counts.In == 0 && (d == nil || d.In == 0) {
		fmt.Fprintln(cmd.ErrOrStderr(), "note: the input has no rows: look whether it is what you meant")
	}
}

// summary is the final table, or the same as JSON.
func (f *runFlags) summary(w io.Writer, j *job, m *schemas.Manifest) error {
	if f.summaryless {
		return nil
	}
	var bytes int64
	files := 0
	for _, file := range m.Files {
		bytes += file.Bytes
		files++
	}
	rate := 0.0
	if m.Seconds > 0 {
		rate = float64(m.Counts.In) / m.Seconds
	}
	if f.json {
		return writeJSON(w, map[string]any{"output": cmp.Or(j.corpus, j.out.URL()), "pipeline": m.Pipeline, "counts": m.Counts, "units": m.Units, "resumed_units": m.Resumed, "reused": m.Reused,
			"files": files, "bytes": bytes, "seconds": m.Seconds, "rows_per_second": rate, "stages": m.Stages, "identity": m.Identity})
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name string, n int64) { fmt.Fprintf(t, "  %s\t%s\t\n", name, progress.Thousands(n)) }
	row("rows in", m.Counts.In)
	row(map[string]string{"encode": "encoded", "detokenize": "embedded", "interleave": "used", "generate": "generated", "prepare": "prepared", "evaluate": "evaluated"}[m.Pipeline], m.Counts.Encoded)
	if n := m.Counts.Split; n > 0 {
		row("of them cut into several sequences", n)
	}
	if n := m.Counts.Truncated; n > 0 {
		row("of them truncated to the context", n)
	}
	for _, r := range slices.Sorted(maps.Keys(m.Counts.Rejected)) {
		if n := m.Counts.Rejected[r]; n > 0 {
			row(map[bool]string{false: "rejected: ", true: "dropped: "}[m.Pipeline == "interleave"]+r, n)
		}
	}
	if d := m.Counts.Documents; d != nil {
		row("documents in", d.In)
		row("written", d.Written)
		if d.Incomplete > 0 {
			row("of them without some images", d.Incomplete)
		}
		for _, r := range schemas.Reasons {
			if n := d.Rejected[string(r)]; n > 0 {
				row("rejected: "+string(r), n)
			}
		}
	}
	t.Flush()
	fmt.Fprintf(w, "%d files, %s, in %s: %s rows/s", files, progress.Size(bytes), progress.Span(m.Seconds), progress.Rate(rate))
	if m.Resumed > 0 {
		fmt.Fprintf(w, " (%d of %d units were there already)", m.Resumed, m.Units)
	}
	fmt.Fprintln(w)
	if len(m.Stages) > 0 {
		names := make([]string, 0, len(m.Stages))
		total := 0.0
		for n, s := range m.Stages {
			names = append(names, n)
			total += s
		}
		sort.Slice(names, func(a, b int) bool { return m.Stages[names[a]] > m.Stages[names[b]] })
		fmt.Fprint(w, "time went to")
		for i, n := range names {
			sep := ","
			if i == 0 {
				sep = ""
			}
			fmt.Fprintf(w, "%s %s %.0f%%", sep, n, 100*m.Stages[n]/max(total, 1e-9))
		}
		fmt.Fprintln(w, " (of all workers' time)")
	}
	fmt.Fprintf(w, "corpus: %s\n", cmp.Or(j.corpus, j.out.URL()))
	return nil
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

// openFolder opens an output folder that must exist.
func openFolder(ctx context.Context, path, what string) (*blob.Bucket, error) {
	if !isURL(path) {
		st, err := os.Stat(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil, errorf("%s %s: no such folder", what, path)
		}
		if err == nil && !st.IsDir() {
			return nil, errorf("%s %s is a file: give the folder that holds data/ and %s", what, path, schemas.ManifestName)
		}
	}
	return blob.OpenBucket(ctx, path)
}

// commitPoll is how often rounds that are committed are counted, which lists a folder.
const commitPoll = time.Minute

// commits is progress by what done counts; where it cannot, nothing has changed. It is for one goroutine.
func commits(done func() (int, error)) func() int64 {
	var last int64
	var asked time.Time
	return func() int64 {
		if time.Since(asked) >= commitPoll {
			if n, err := done(); err == nil {
				last = int64(n)
			}
			asked = time.Now()
		}
		return last
	}
}
