package main

import (
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sower/gpu"
	"sower/internal/encode"
	"sower/internal/estimate"
	"sower/internal/progress"
	"sower/internal/shards"
	"sower/internal/weights"
	"sower/schemas"
)

// What --dry-run looks at.
const (
	sampleRows  = 64
	sampleTime  = 15 * time.Second
	sampleUnits = 8
)

func newEstimate() *cobra.Command {
	limits := encode.DefaultLimits()
	o := encodeOptions{maxBytes: sizeFlag(limits.MaxImageBytes), maxPixels: limits.MaxPixels, output: "mem://estimate", missing: encode.DropElement}
	var c estimate.Options
	var requests string
	var rows int
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "estimate --input PATTERN --model WEIGHTS",
		Short: "Say what encoding an input will cost: hours, bytes, requests, money",
		Long: `Estimate encodes a sample of rows, spread over the input, and writes nothing. From it follow hours and GPU-hours on --workers, bytes of
output, requests to an object store and, at prices that you give, money. Ranges are 95 % intervals from how much the units of the sample
differ.

With --rate, measured on the machine that will do the work (sower bench, or a first run), the model's time is not this machine's; --model
can then be left out, and only reading is sampled.`,
		Example: `  sower estimate --input 'shards/*.tar' --model weights/
  sower estimate --input 'gs://bucket/laion/*.tar' --rate 410 --workers 64 --price-hour 2.48
  sower estimate --input 'shards/*.tar' --rate 410 --workers 8 --gpus 1 --price-hour 2.48 --price-gb-month 0.02 --price-requests 0.4:5 --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "input"); err != nil {
				return err
			}
			if c.Rate == 0 {
				if err := need(cmd, "model"); err != nil {
					return err
				}
			}
			if o.model == "" {
				o.model = weights.Null
			}
			if err := parsePrices(requests, &c.Prices); err != nil {
				return usageError{err}
			}
			c.Cores = runtime.GOMAXPROCS(0)
			if !cmd.Flags().Changed("gpus") && (c.Rate > 0 || gpu.OnGPU(o.device.device)) {
				c.GPUs = 1
			}
			if err := c.Validate(); err != nil {
				return usageError{err}
			}
			if rows < 1 {
				return usageError{errorf("estimate: --sample %d: want at least 1 row", rows)}
			}
			if err := o.run.begin(cmd, o.device.device); err != nil {
				return err
			}
			p, err := o.prepare(cmd.Context())
			if err != nil {
				return err
			}
			defer p.out.Close()
			for _, n := range p.notes {
				fmt.Fprintln(cmd.ErrOrStderr(), "note:", n)
			}
			r, err := o.sample(cmd, p, rows, limit, c)
			if err != nil {
				return err
			}
			if o.run.json {
				return writeJSON(cmd.OutOrStdout(), r.json(false))
			}
			r.print(cmd.OutOrStdout())
			r.printCost(cmd.OutOrStdout())
			return nil
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringArrayVarP(&o.input, "input", "i", nil, "files, folders or quoted patterns, here or as gs:// and s3:// URLs; repeat for several")
	fs.StringVarP(&o.model, "model", "m", "", weights.Usage)
	fs.IntVar(&c.Workers, "workers", 1, "machines at work")
	fs.Float64Var(&c.Rate, "rate", 0, "images a second of one worker, measured elsewhere; default: what the sample takes on this machine")
	fs.IntVar(&c.GPUs, "gpus", 0, "GPUs of a worker; default: 1 with --rate or a GPU as --device")
	fs.Float64Var(&c.Prices.Hour, "price-hour", 0, "price of a worker for an hour, GPUs included")
	fs.Float64Var(&c.Prices.GBMonth, "price-gb-month", 0, "price of 10⁹ bytes stored for a month")
	fs.StringVar(&requests, "price-requests", "", "price of a million requests that read, and after a colon of those that write or list")
	fs.IntVar(&rows, "sample", 256, "rows to encode")
	fs.DurationVar(&limit, "sample-time", time.Minute, "time to encode them in, after the model is loaded")
	fs.StringVar(&o.resize, "resize", "bicubic", "as encode's")
	fs.StringVar(&o.format, "format", "", "input format, guessed if not given: "+strings.Join(shards.Formats(), ", "))
	fs.StringVar(&o.columns.ImageColumn, "image-column", "", "as encode's")
	fs.StringVar(&o.columns.TextColumn, "text-column", "", "as encode's")
	fs.StringVar(&o.columns.KeyColumn, "key-column", "", "as encode's")
	fs.StringVar(&o.columns.ImageRoot, "image-root", "", "as encode's")
	registerFilters(fs, &o.filters)
	fs.Var(&o.unitBytes, "unit-bytes", "as encode's")
	o.device.register(fs)
	o.device.registerPrecision(fs)
	fs.BoolVar(&o.run.json, "json", false, "print JSON")
	o.run.runner, o.run.maxFail = "local", 1
	return cmd
}

// parsePrices reads "0.4" or "0.4:5".
func parsePrices(s string, p *estimate.Prices) error {
	if s == "" {
		return nil
	}
	reads, writes, two := strings.Cut(s, ":")
	var err error
	if p.Reads, err = strconv.ParseFloat(reads, 64); err == nil && two {
		p.Writes, err = strconv.ParseFloat(writes, 64)
	}
	if err != nil {
		return errorf("--price-requests %q: want the price of a million reads, or READS:WRITES", s)
	}
	return nil
}

// sampled is a plan, a sample of it and what follows.
type sampled struct {
	o       *encodeOptions
	p       *prepared
	c       estimate.Options
	sample  *encode.Estimate
	e       *estimate.Estimate
	files   int
	formats map[string]int
}

func (o *encodeOptions) sample(cmd *cobra.Command, p *prepared, rows int, limit time.Duration, c estimate.Options) (*sampled, error) {
	s := &sampled{o: o, p: p, c: c, formats: map[string]int{}}
	var err error
	if s.sample, err = encode.Sample(cmd.Context(), p.config, estimate.Sampled(p.plan, sampleUnits), rows, limit); err != nil {
		return nil, err
	}
	last := ""
	for _, r := range p.plan.Rows { // the ranges of a file follow each other
		if r.Source != last {
			s.files++
			s.formats[r.Format]++
		}
		last = r.Source
	}
	s.e, err = estimate.Of(p.plan, p.config.Documents, s.files, s.sample, c)
	return s, err
}

// estimate is what encode --dry-run prints.
func (o *encodeOptions) estimate(cmd *cobra.Command, p *prepared) error {
	s, err := o.sample(cmd, p, sampleRows, sampleTime, estimate.Options{Workers: 1, Cores: runtime.GOMAXPROCS(0)})
	if err != nil {
		return err
	}
	if o.run.json {
		return writeJSON(cmd.OutOrStdout(), s.json(true))
	}
	s.print(cmd.OutOrStdout())
	fmt.Fprintln(cmd.OutOrStdout(), "dry run: nothing was written")
	return nil
}

func (s *sampled) json(dryRun bool) map[string]any {
	e := s.e
	m := map[string]any{"input": s.p.config.Input, "files": s.files, "formats": s.formats, "units": s.p.plan.Units, "input_bytes": s.p.plan.Bytes,
		"rows": int64(e.Rows.Value + 0.5), "rows_exact": e.RowsExact, "identity": s.p.config.Identity, "sample": s.sample,
		"estimated_seconds": e.Rows.Value * e.RowSeconds.Value, "estimated_output_bytes": int64(e.OutputBytes.Value)}
	if dryRun {
		m["dry_run"], m["output"] = true, s.p.config.Output
		return m
	}
	m["workers"], m["rate"], m["prices"], m["estimate"] = s.c.Workers, s.c.Rate, s.c.Prices, e
	return m
}

// print shows plan, sample and what it says of this machine.
func (s *sampled) print(w io.Writer) {
	e, sample := s.e, s.sample
	about := "about "
	if e.RowsExact {
		about = ""
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var kinds []string
	for _, f := range slices.Sorted(maps.Keys(s.formats)) {
		kinds = append(kinds, fmt.Sprintf("%s %d", f, s.formats[f]))
	}
	fmt.Fprintf(t, "input\t%s: files: %s; %s\n", s.p.config.Input, strings.Join(kinds, ", "), progress.Size(s.p.plan.Bytes))
	fmt.Fprintf(t, "rows\t%s%s in %d units\n", about, progress.Thousands(int64(e.Rows.Value+0.5)), s.p.plan.Units)
	fmt.Fprintf(t, "model\t%s (%s)\n", s.o.model, identityLine(s.p.config.Identity))
	if !strings.HasPrefix(s.p.config.Output, "mem:") {
		fmt.Fprintf(t, "output\t%s\n", s.p.config.Output)
	}
	fmt.Fprintf(t, "sample\t%d rows: %d encoded", sample.Rows, sample.Encoded)
	if sample.Documents > 0 {
		fmt.Fprintf(t, " (of %d documents)", sample.Documents)
	}
	for _, r := range schemas.Reasons {
		if n := sample.Rejected[r]; n > 0 {
			fmt.Fprintf(t, ", %d %s", n, r)
		}
	}
	fmt.Fprintf(t, "\n\tread %.1f ms, decode and resize %.1f ms, encode %.1f ms a row; the model loads in %.1f s\n", 1e3*sample.Read, 1e3*sample.Prepare, 1e3*sample.Encode, sample.Load)
	switch perRow := e.RowSeconds.Value; {
	case sample.Rows == 0:
		fmt.Fprint(t, "estimate\tnone: the sample has no rows\n")
	case s.c.Rate == 0:
		fmt.Fprintf(t, "estimate\t%s on this machine (%d cores), %s images/s, %s of Parquet\n", progress.Span(e.Rows.Value*perRow+sample.Load), s.c.Cores,
			progress.Rate(1/max(perRow, 1e-9)), progress.Size(int64(e.OutputBytes.Value)))
	}
	t.Flush()
}

// printCost shows what the run costs on its workers.
func (s *sampled) printCost(w io.Writer) {
	e, c := s.e, s.c
	if s.sample.Rows == 0 {
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	span := func(r estimate.Range) string {
		return between(r, func(v float64) string { return progress.Span(3600 * v) })
	}
	hours := func(r estimate.Range) string {
		return between(r, func(v float64) string { return fmt.Sprintf("%.4g", v) })
	}
	money := func(r estimate.Range) string { return between(r, amount) }
	from := "as this machine"
	if c.Rate > 0 {
		from = "at the given rate"
	}
	fmt.Fprintf(t, "workers\t%d, %s images/s each, %s\n", c.Workers, progress.Rate(1/max(e.RowSeconds.Value, 1e-9)), from)
	fmt.Fprintf(t, "time\t%s\n", span(e.Hours))
	fmt.Fprintf(t, "worker-hours\t%s\n", hours(e.WorkerHours))
	if c.GPUs > 0 {
		fmt.Fprintf(t, "GPU-hours\t%s\n", hours(e.GPUHours))
	}
	fmt.Fprintf(t, "output\t%s\n", between(e.OutputBytes, func(v float64) string { return progress.Size(int64(v)) }))
	fmt.Fprintf(t, "requests\t%s reads, %s writes, %s lists, if input and output are on an object store\n", progress.Thousands(e.Requests.Reads),
		progress.Thousands(e.Requests.Writes), progress.Thousands(e.Requests.List))
	if c.Prices.Hour > 0 {
		fmt.Fprintf(t, "price of workers\t%s\n", money(e.Money.Compute))
	}
	if c.Prices.Reads+c.Prices.Writes > 0 {
		fmt.Fprintf(t, "price of requests\t%s\n", amount(e.Money.Requests))
	}
	if c.Prices.Hour > 0 && c.Prices.Reads+c.Prices.Writes > 0 {
		fmt.Fprintf(t, "price of the run\t%s\n", money(e.Money.Total))
	}
	if c.Prices.GBMonth > 0 {
		fmt.Fprintf(t, "price of storage\t%s a month\n", money(e.Money.Month))
	}
	t.Flush()
	if len(s.sample.Units) == 1 {
		fmt.Fprintln(w, "the sample is of one unit: how much units differ is not known")
	}
}

// amount writes money: small sums with the digits that tell something.
func amount(v float64) string {
	if v == 0 || v >= 1 {
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.2g", v)
}

// between writes a value with its interval, where there is one.
func between(r estimate.Range, text func(float64) string) string {
	if low, high := text(r.Low), text(r.High); low != high {
		return fmt.Sprintf("%s (%s to %s)", text(r.Value), low, high)
	}
	return text(r.Value)
}
