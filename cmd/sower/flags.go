package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"sower/internal/encode"
	"sower/internal/progress"
	"sower/runners"
)

// sizeFlag is a number of bytes: 16MiB, 1.5GB, 4096.
type sizeFlag int64

func (s *sizeFlag) String() string {
	if *s == 0 {
		return "0"
	}
	return strings.ReplaceAll(strings.ReplaceAll(progress.Size(int64(*s)), " ", ""), ".0", "")
}

func (s *sizeFlag) Type() string { return "size" }

func (s *sizeFlag) Set(text string) error {
	units := []struct {
		suffix string
		factor float64
	}{{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40}, {"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12}, {"b", 1}, {"", 1}}
	lower := strings.ToLower(strings.TrimSpace(text))
	for _, u := range units {
		if number, ok := strings.CutSuffix(lower, u.suffix); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
			if err != nil || !(v >= 0) || v*u.factor > 1<<60 {
				return fmt.Errorf("%q is no size: want a number with a unit, such as 16MiB", text)
			}
			*s = sizeFlag(v * u.factor)
			return nil
		}
	}
	return nil
}

// runFlags are those of every command that runs a pipeline.
type runFlags struct {
	runner    string
	config    runners.Config
	overwrite bool
	json      bool
	quiet     bool
	maxFail   float64

	// summaryless prints nothing of a finished run: what follows says more.
	summaryless bool
	// onWorkers is the folder of --model, or of --base, on the workers; "" is what the flag itself says.
	onWorkers string

	// chosen and place are what begin found.
	chosen runners.Runner
	place  runners.Place
}

func (f *runFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.runner, "runner", "local", "where to run: "+strings.Join(runners.Names(), ", ")+" (aliases of local: direct, DirectRunner, prism)")
	fs.IntVar(&f.config.Parallelism, "parallelism", 0, "units in work at a time; 0 lets the runner choose")
	fs.BoolVar(&f.overwrite, "overwrite", false, "delete what an earlier run left in --output (nothing else) and start again")
	fs.BoolVar(&f.json, "json", false, "print the summary as JSON")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "show no progress")
	fs.Float64Var(&f.maxFail, "max-failure-rate", 0.5, "stop when more than this share of the last 1,000 rows fails (filters are no failures); 1 never stops")
	f.registerRunner(fs)
}

// deviceFlags choose what computes.
type deviceFlags struct {
	device         string
	threads, batch int
	precision      string
}

func (f *deviceFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.device, "device", "cpu", "what computes: cpu, cuda (encode takes all GPUs, other commands the first), cuda:N, or auto, which says what it takes; a device that is not there is an error, never replaced (see sower devices)")
	fs.IntVar(&f.threads, "threads", 0, "threads of the device; 0 is all cores")
	fs.IntVar(&f.batch, "batch", 0, "images in one call of the model; 0 lets the model and the device choose (results do not depend on it)")
}

// registerPrecision adds the choice of arithmetic, for what may be computed in several.
func (f *deviceFlags) registerPrecision(fs *pflag.FlagSet) {
	fs.StringVar(&f.precision, "precision", "float32", "of arithmetic: float32, bfloat16 (a CPU that has it, or a GPU) float16 (a GPU; what the published model runs in) or fp8 (a GPU of capability 9.0: float16 with the image model's MLPs in 8 bits); fewer bits are faster, some codes differ, and the corpus is another")
}

// registerFilters adds the filters, which are all off by default.
func registerFilters(fs *pflag.FlagSet, f *encode.Filters) {
	fs.IntVar(&f.MinSide, "min-side", 0, "reject images whose smaller side is less, in pixels")
	fs.Float64Var(&f.MaxAspect, "max-aspect", 0, "reject images whose sides differ by a larger factor")
	fs.Float64Var(&f.MinSimilarity, "min-similarity", 0, "reject rows whose metadata states a smaller image-text similarity")
	fs.BoolVar(&f.RequireText, "require-text", false, "reject rows without a caption")
	fs.IntVar(&f.MaxText, "max-text", 0, "reject rows whose caption has more characters")
	fs.BoolVar(&f.Dedup, "dedup", false, "reject rows with the same image bytes and caption as an earlier one of the unit")
}

// need makes a flag that has no default an error that says what it is for.
func need(cmd *cobra.Command, names ...string) error {
	for _, name := range names {
		if f := cmd.Flags().Lookup(name); f != nil && !f.Changed {
			return usageError{errorf("%s: --%s is missing: %s", cmd.Name(), name, f.Usage)}
		}
	}
	return nil
}

// hide leaves a flag that a command shares but does not need out of its help.
func hide(fs *pflag.FlagSet, names ...string) {
	for _, n := range names {
		if f := fs.Lookup(n); f != nil {
			f.Hidden = true
		}
	}
}
