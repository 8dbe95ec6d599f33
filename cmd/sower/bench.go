package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sower/gpu"
	"sower/internal/base"
	"sower/internal/bench"
	"sower/internal/progress"
	"sower/internal/trainer"
	"sower/internal/weights"
)

// benchOptions are the flags of sower bench.
type benchOptions struct {
	device  deviceFlags
	model   string
	images  int
	rounds  int
	pairs   int
	size    int
	seconds float64
	against []string
	json    bool
	quiet   bool
	tune    bench.TuneOptions
	trainer bench.TrainerOptions
}

func newBench() *cobra.Command {
	var o benchOptions
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure this machine: its peak, the model, the kernels, decoding, the pipeline",
		Long: `Bench measures how fast this machine encodes, as a share of what its processor can do at best. Without a subcommand it runs
gemm, decode and encode. Figures are wall clock: close other programs first.

  encode    seconds an image, the time of each operation, memory; --against runs another engine in turn
  gemm      matrix products at the model's shapes
  decode    decoding and resizing of pictures
  pipeline  the whole of sower encode against the model alone
  tune      LoRA training of a language model, and generation
  train-tokenizer  steps of both stages of a tokenizer`,
		Example: `  sower bench
  sower bench encode --model standin:seed2:0 --precision bfloat16
  sower bench encode --against 'python3 docs/benchmarks/peers/torch_seed.py --mode eager --threads 2'
  sower bench tune --base SmolLM2.gguf --tokens 512
  sower bench train-tokenizer --config docs/recipes/mini/mini.json
  sower bench pipeline --model null --pairs 50000 --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.print(cmd, o.gemm, o.decode, o.encode)
		},
	}
	flags := cmd.PersistentFlags()
	flags.SortFlags = false
	flags.StringVarP(&o.model, "model", "m", "standin:seed2:0", weights.Usage)
	o.device.register(flags)
	o.device.registerPrecision(flags)
	hide(flags, "batch")
	flags.BoolVar(&o.json, "json", false, "print the figures as JSON")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "say nothing meanwhile")
	flags.IntVar(&o.images, "images", 1, "images in one call (encode)")
	flags.IntVar(&o.rounds, "rounds", 5, "calls that are timed (encode)")
	flags.Float64Var(&o.seconds, "seconds", 1, "time for each product (gemm) and kind of picture (decode)")
	for _, sub := range []struct {
		use, short string
		run        func(*cobra.Command) (figures, error)
	}{
		{"encode", "Time the model and each of its operations", o.encode},
		{"gemm", "Time matrix products at the model's shapes", o.gemm},
		{"decode", "Time decoding and resizing of pictures", o.decode},
		{"pipeline", "Time sower encode against the model alone", o.pipeline},
		{"tune", "Time LoRA training of a language model, and generation", o.tuneModel},
		{"train-tokenizer", "Time steps of training a tokenizer", o.trainTokenizer},
	} {
		c := &cobra.Command{Use: sub.use, Short: sub.short, Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			return o.print(cmd, sub.run)
		}}
		switch sub.use {
		case "encode":
			c.Flags().StringArrayVar(&o.against, "against", nil, "command of another engine to run in turn (docs/benchmarks/peers); repeat for several")
		case "tune":
			c.Flags().StringVarP(&o.tune.Base, "base", "b", "standin:tiny:0", base.Usage)
			c.Flags().IntVar(&o.tune.Tokens, "tokens", 512, "tokens of a sequence")
			c.Flags().IntVar(&o.tune.Rank, "rank", 16, "rank of the adapters")
			c.Flags().IntVar(&o.tune.NewTokens, "new-tokens", 32, "tokens to generate")
			c.Flags().BoolVar(&o.tune.Recompute, "recompute", false, "gradient checkpointing")
			c.Flags().StringArrayVar(&o.tune.Against, "against", nil, "command of another trainer to run in turn (docs/benchmarks/peers)")
		case "train-tokenizer":
			c.Flags().StringVarP(&o.trainer.Config, "config", "c", "", "recipe: a JSON file, as for sower train-tokenizer")
			c.Flags().IntVar(&o.trainer.Vocabulary, "vocabulary", 1078, "words of the text tower")
			c.Flags().StringArrayVar(&o.trainer.Against, "against", nil, "command of another trainer to run in turn (docs/benchmarks/peers); repeat for several")
		case "decode":
			c.Flags().IntVar(&o.size, "size", 224, "side that pictures are resized to")
		case "pipeline":
			c.Flags().IntVar(&o.pairs, "pairs", 20, "pairs to encode")
		}
		cmd.AddCommand(c)
	}
	return cmd
}

// figures are a result that can be read.
type figures interface{ text(w io.Writer) }

// print runs measurements and prints each as soon as it is there.
func (o *benchOptions) print(cmd *cobra.Command, runs ...func(*cobra.Command) (figures, error)) error {
	if o.images < 1 || o.rounds < 1 || o.size < 0 || o.pairs < 0 || !(o.seconds > 0) || o.device.threads < 0 {
		return usageError{errorf("bench: --images, --rounds, --size, --pairs and --seconds must be more than 0, --threads not negative")}
	}
	if o.size == 0 {
		o.size = 224
	}
	for i, run := range runs {
		r, err := run(cmd)
		if err != nil {
			return err
		}
		if o.json {
			if err := writeJSON(cmd.OutOrStdout(), r); err != nil {
				return err
			}
			continue
		}
		if i > 0 {
			fmt.Fprintln(cmd.OutOrStdout())
		}
		r.text(cmd.OutOrStdout())
	}
	return nil
}

func (o *benchOptions) options() (bench.Options, error) {
	p, err := gpu.ParsePrecision(o.device.precision)
	if err != nil {
		return bench.Options{}, usageError{errorf("bench: --precision: %w", err)}
	}
	return bench.Options{Device: o.device.device, Threads: o.device.threads, Precision: p}, nil
}

type encodeReport struct{ *bench.EncodeResult }

func (o *benchOptions) encode(cmd *cobra.Command) (figures, error) {
	options, err := o.options()
	if err != nil {
		return nil, err
	}
	say := func(format string, args ...any) { fmt.Fprintf(cmd.ErrOrStderr(), "bench: "+format+"\n", args...) }
	if o.quiet {
		say = nil
	}
	r, err := bench.Encode(cmd.Context(), bench.EncodeOptions{Options: options, Model: absoluteModel(o.model), Images: o.images, Rounds: o.rounds,
		Against: o.against, Progress: say})
	return encodeReport{r}, err
}

func (r encodeReport) text(w io.Writer) {
	printMachine(w, r.Machine)
	fmt.Fprintf(w, "model      %s, loaded in %.1f s, %s of anonymous memory\n", r.Model, r.Load, progress.Size(r.Memory))
	fmt.Fprintf(w, "encode     %.3f s an image (median of %d calls of %d), %.3f images/s, %.1f GFLOP/s", r.Median, len(r.Seconds), r.Batch, 1/r.Median, r.FLOPs/r.Median/1e9)
	if r.Share > 0 {
		fmt.Fprintf(w, " = %.1f %% of the peak", 100*r.Share)
	}
	fmt.Fprintln(w)
	printOps(w, "ms an image", r.Table)
	for _, v := range r.Rivals {
		fmt.Fprintf(w, "against    %s %s, %s, %d threads: %.3f s an image, this one %.3f in the same rounds: %.2f times as fast; %d of %d codes equal\n",
			v.Name, v.Version, v.Precision, v.Threads, v.Median, v.Ours, v.Ratio, v.Equal, v.Codes)
	}
}

// printOps is the table of operations.
func printOps(w io.Writer, unit string, ops []bench.Op) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "operation\tcalls\t"+unit+"\tshare\tGFLOP/s\t")
	for _, op := range ops {
		rate := ""
		if op.Rate > 0 {
			rate = fmt.Sprintf("%.1f", op.Rate/1e9)
		}
		fmt.Fprintf(t, "%s\t%.0f\t%.2f\t%.1f %%\t%s\t\n", op.Op, op.Calls, 1e3*op.Seconds, 100*op.Share, rate)
	}
	t.Flush()
}

func printMachine(w io.Writer, m bench.Machine) {
	fmt.Fprintf(w, "machine    %s, %s, %s\n", m.Processor, m.Device, m.Go)
	if m.Peak > 0 {
		fmt.Fprintf(w, "peak       %.1f GFLOP/s of %s multiply-adds on %d threads, measured\n", m.Peak/1e9, m.Precision, m.Threads)
	}
}

type gemmReport struct{ *bench.GEMMResult }

func (o *benchOptions) gemm(cmd *cobra.Command) (figures, error) {
	options, err := o.options()
	if err != nil {
		return nil, err
	}
	r, err := bench.GEMM(cmd.Context(), options, time.Duration(o.seconds*float64(time.Second)))
	return gemmReport{r}, err
}

func (r gemmReport) text(w io.Writer) {
	printMachine(w, r.Machine)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "product\tM\tN\tK\tGFLOP/s\tshare\t")
	for _, p := range r.Rows {
		share := ""
		if p.Share > 0 {
			share = fmt.Sprintf("%.1f %%", 100*p.Share)
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%.1f\t%s\t\n", p.What, p.M, p.N, p.K, p.Rate/1e9, share)
	}
	t.Flush()
}

type decodeReport struct{ *bench.DecodeResult }

func (o *benchOptions) decode(cmd *cobra.Command) (figures, error) {
	r, err := bench.Decode(cmd.Context(), o.device.threads, o.size, time.Duration(o.seconds*float64(time.Second)))
	return decodeReport{r}, err
}

func (r decodeReport) text(w io.Writer) {
	fmt.Fprintf(w, "decode and resize to %dx%d, bicubic, %d threads\n", r.Size, r.Size, r.Threads)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "picture\tbytes\tbest ms\tpictures/s\t")
	for _, p := range r.Rows {
		fmt.Fprintf(t, "%s\t%d\t%.2f\t%.0f\t\n", p.What, p.Bytes, 1e3*p.Best, p.Rate)
	}
	t.Flush()
}

// pipelineReport is a run of sower encode as users run it, with a model that is loaded already.
type pipelineReport struct {
	Model   string  `json:"model"`
	Pairs   int     `json:"pairs"`
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"pairs_per_second"`
	// Share is the part of that time in which the model computed: the pipeline's rate by the model's own.
	Share float64 `json:"share_of_the_model,omitempty"`
}

// pipeline runs sower encode on made-up pairs twice: first on one, which loads the model, then on all.
func (o *benchOptions) pipeline(cmd *cobra.Command) (figures, error) {
	if _, err := o.options(); err != nil {
		return nil, err
	}
	pairs := o.pairs
	if pairs == 0 {
		pairs = 20
	}
	dir, err := os.MkdirTemp("", "sower-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	shape := bench.Shape{Width: 512, Height: 384}
	if o.model == weights.Null {
		shape = bench.Shape{Bytes: 20 << 10}
	}
	encode := func(pairs, shards int) (*pipelineReport, error) {
		input, output := filepath.Join(dir, "input"), filepath.Join(dir, "corpus")
		if err := errors.Join(os.RemoveAll(input), os.RemoveAll(output), bench.WriteShards(input, pairs, shards, shape)); err != nil {
			return nil, err
		}
		var out, messages bytes.Buffer
		if code := run(cmd.Context(), []string{"encode", "--quiet", "--json", "--input", input, "--output", output, "--model", o.model, "--device", o.device.device,
			"--threads", strconv.Itoa(o.device.threads), "--precision", o.device.precision}, &out, &messages); code != exitOK {
			return nil, errorf("bench: sower encode failed: %s", strings.TrimSpace(messages.String()))
		}
		var s struct {
			Seconds float64            `json:"seconds"`
			Stages  map[string]float64 `json:"stages"`
		}
		if err := json.Unmarshal(out.Bytes(), &s); err != nil {
			return nil, errorf("bench: the summary of sower encode: %w", err)
		}
		return &pipelineReport{Model: o.model, Pairs: pairs, Seconds: s.Seconds, Rate: float64(pairs) / s.Seconds, Share: s.Stages["encode"] / s.Seconds}, nil
	}
	if _, err := encode(1, 1); err != nil {
		return nil, err
	}
	return encode(pairs, min(pairs, 50))
}

func (r *pipelineReport) text(w io.Writer) {
	fmt.Fprintf(w, "pipeline   %d pairs with %s in %.1f s: %.1f pairs/s", r.Pairs, r.Model, r.Seconds, r.Rate)
	if r.Share > 0 {
		fmt.Fprintf(w, ", %.1f %% of the model's own rate", 100*r.Share)
	}
	fmt.Fprintln(w)
}

type tuneReport struct{ *bench.TuneResult }

func (o *benchOptions) tuneModel(cmd *cobra.Command) (figures, error) {
	options, err := o.options()
	if err != nil {
		return nil, err
	}
	t := o.tune
	if t.Tokens < 2 || t.Rank < 1 || t.NewTokens < 1 {
		return nil, usageError{errorf("bench: --tokens %d, --rank %d, --new-tokens %d: want 2, 1 and 1 or more", t.Tokens, t.Rank, t.NewTokens)}
	}
	t.Options, t.Rounds = options, o.rounds
	if !o.quiet {
		t.Progress = func(format string, args ...any) { fmt.Fprintf(cmd.ErrOrStderr(), "bench: "+format+"\n", args...) }
	}
	r, err := bench.Tune(cmd.Context(), t)
	return tuneReport{r}, err
}

func (r tuneReport) text(w io.Writer) {
	printMachine(w, r.Machine)
	fmt.Fprintf(w, "model      %s, loaded in %.1f s, %s of anonymous memory while training\n", r.Base, r.Load, progress.Size(r.Memory))
	fmt.Fprintf(w, "train      %.1f tokens/s (LoRA rank %d, %s trained, sequences of %d, median of %d steps), %.1f GFLOP/s", r.Rate, r.Rank, progress.Thousands(int64(r.Trained)), r.Tokens,
		len(r.Seconds), r.FLOPs*r.Rate/float64(r.Tokens)/1e9)
	if r.Share > 0 {
		fmt.Fprintf(w, " = %.1f %% of the peak", 100*r.Share)
	}
	fmt.Fprintf(w, "\ngenerate   %.1f tokens/s, one row after a prompt of 32\n", r.Generate)
	printOps(w, "ms a step", r.Table)
	for _, v := range r.Rivals {
		fmt.Fprintf(w, "against    %s %s, %s, %d threads: %.1f tokens/s, this one %.1f in the same rounds: %.2f times as fast; its peak memory %s, generation %.1f tokens/s\n",
			v.Name, v.Version, v.Precision, v.Threads, v.Rate, v.Ours, v.Ratio, progress.Size(v.Memory), v.Generate)
	}
}

type trainerReport struct{ *bench.TrainerResult }

func (o *benchOptions) trainTokenizer(cmd *cobra.Command) (figures, error) {
	options, err := o.options()
	if err != nil {
		return nil, err
	}
	if err := need(cmd, "config"); err != nil {
		return nil, err
	}
	t := o.trainer
	text, err := os.ReadFile(t.Config)
	if err != nil {
		return nil, usageError{errorf("bench: --config: %w", err)}
	}
	if t.Recipe, err = trainer.Parse(text); err != nil {
		return nil, usageError{err}
	}
	if t.Vocabulary < 1 {
		return nil, usageError{errorf("bench: --vocabulary %d: want 1 or more", t.Vocabulary)}
	}
	t.Options, t.Rounds = options, o.rounds
	if !o.quiet {
		t.Progress = func(format string, args ...any) { fmt.Fprintf(cmd.ErrOrStderr(), "bench: "+format+"\n", args...) }
	}
	r, err := bench.Trainer(cmd.Context(), t)
	return trainerReport{r}, err
}

func (r trainerReport) text(w io.Writer) {
	printMachine(w, r.Machine)
	fmt.Fprintf(w, "memory     %s of anonymous memory while training\n", progress.Size(r.Memory))
	for _, s := range r.Steps {
		fmt.Fprintf(w, "\n%-10s %.3f s a step of %d pairs (median of %d), %.1f GFLOP/s", s.Step, s.Median, r.Batch, len(s.Seconds), s.FLOPs/s.Median/1e9)
		if s.Share > 0 {
			fmt.Fprintf(w, " = %.1f %% of the peak", 100*s.Share)
		}
		fmt.Fprintln(w)
		printOps(w, "ms a step", s.Table)
		for _, v := range s.Rivals {
			fmt.Fprintf(w, "against    %s %s, %s, %d threads: %.3f s a step, this one %.3f in the same rounds: %.2f times as fast; losses at most %.1g apart; its peak memory %s\n",
				v.Name, v.Version, v.Precision, v.Threads, v.Median, v.Ours, v.Ratio, v.Apart, progress.Size(v.Memory))
		}
	}
}
