// Package tune does the work of sower tune without knowing about Beam: it reads sequences, trains adapters on a resident model for
// one worker's share of a round, averages what the workers made, and commits.
//
// A step is a batch of rows of the corpus, in the corpus's order, over and over; worker w of W takes the steps w, w+W, w+2W, … of a
// round. Package rounds has the rules of rounds and commits.
package tune

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"sower/schemas"
)

// Config is everything that a worker needs; it travels with the work.
type Config struct {
	RunID string

	Corpus string // folder of sower interleave
	Output string
	Base   string // folder, .gguf file or standin:tiny:N
	Device string
	// Threads of the device, 0 is all.
	Threads int

	Vocabulary schemas.Vocabulary
	Identity   schemas.Identity // of the run; Weights is the base's digest
	Train      []schemas.File   // of the corpus, in order
	Validation []schemas.File

	// LoRA.
	Rank        int
	Alpha       float64
	Dropout     float64
	RankStable  bool     // scale alpha/√rank instead of alpha/rank
	Targets     []string // modules by name
	Saved       []string // modules that are trained whole
	ImageTokens bool     // the rows of image tokens in embedding and head are trained

	// Training.
	Steps, StepsPerRound, Workers int
	BatchRows                     int // rows of a step
	MicroTokens                   int // tokens of a pass at most, unless one row has more
	Rate, Floor                   float64
	Warmup                        int
	Schedule                      string // cosine, linear or constant
	Beta1, Beta2, Eps, Decay      float64
	DecayAll                      bool // norms and biases, too
	Clip                          float64
	Seed                          uint64
	OuterRate, OuterMomentum      float64
	Recompute                     bool // gradient checkpointing
	ValidateEvery                 int  // rounds
	ValidationRows                int
}

// Default are the settings of a run where the user says nothing.
func Default() Config {
	return Config{Rank: 16, Alpha: 32, Dropout: 0, Steps: 1000, StepsPerRound: 200, Workers: 1, BatchRows: 8, MicroTokens: 2048, Rate: 1e-3, Floor: 0.1,
		Warmup: 50, Schedule: "cosine", Beta1: 0.9, Beta2: 0.98, Eps: 1e-6, Decay: 0.05, Clip: 1, OuterRate: 1, OuterMomentum: 0, ImageTokens: true,
		ValidateEvery: 1, ValidationRows: 128}
}

// Validate names everything that cannot work.
func (c *Config) Validate() error {
	var errs []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("tune: "+format, args...))
		}
	}
	want(c.Corpus != "", "--corpus is missing: the folder that sower interleave wrote")
	want(c.Output != "", "--output is missing")
	want(c.Base != "", "--base is missing: a Hugging Face folder, a .gguf file, or standin:tiny:0")
	want(c.Rank > 0 && c.Rank <= 4096, "--rank %d: want 1 to 4096", c.Rank)
	want(c.Alpha > 0, "--alpha %v: want more than 0", c.Alpha)
	want(c.Dropout >= 0 && c.Dropout < 1, "--dropout %v: want 0 or more and less than 1", c.Dropout)
	want(c.Steps > 0 && c.StepsPerRound > 0, "--steps %d and --steps-per-round %d: want more than 0", c.Steps, c.StepsPerRound)
	want(c.Workers > 0 && c.Workers <= 1024, "--workers %d: want 1 to 1024", c.Workers)
	if c.Workers > 0 && c.StepsPerRound > 0 {
		want(c.StepsPerRound%c.Workers == 0 && c.Steps%c.Workers == 0, "--steps %d and --steps-per-round %d must be multiples of --workers %d: workers share the steps of a round equally",
			c.Steps, c.StepsPerRound, c.Workers)
	}
	want(c.BatchRows > 0, "--batch %d: want rows of a step, more than 0", c.BatchRows)
	want(c.Rate > 0 && c.Rate < 10, "--rate %v: want a learning rate above 0", c.Rate)
	want(c.Floor >= 0 && c.Floor <= 1, "--floor %v: want the last rate as a share of the first, 0 to 1", c.Floor)
	want(c.Warmup >= 0 && (c.Warmup == 0 || c.Warmup < c.Steps), "--warmup %d: want less than the %d steps", c.Warmup, c.Steps)
	want(c.Schedule == "cosine" || c.Schedule == "linear" || c.Schedule == "constant", "--schedule %q: want cosine, linear or constant", c.Schedule)
	want(c.Beta1 >= 0 && c.Beta1 < 1 && c.Beta2 >= 0 && c.Beta2 < 1 && c.Eps > 0, "--beta1 %v, --beta2 %v, --eps %v: want 0 to less than 1, and more than 0", c.Beta1, c.Beta2, c.Eps)
	want(c.Decay >= 0 && c.Clip >= 0, "--decay %v, --clip %v: want 0 or more", c.Decay, c.Clip)
	want(c.OuterRate > 0 && c.OuterMomentum >= 0 && c.OuterMomentum < 1, "--outer-rate %v, --outer-momentum %v: want more than 0, and 0 to less than 1", c.OuterRate, c.OuterMomentum)
	want(c.ValidateEvery > 0 && c.ValidationRows >= 0, "--validate-every %d, --validation-rows %d: want more than 0, and 0 or more", c.ValidateEvery, c.ValidationRows)
	return errors.Join(errs...)
}

// Rounds is the number of commits of the run.
func (c *Config) Rounds() int { return c.Plan().Rounds() }

// Options are the settings that change the result, for the identity. How a run of one worker is cut into rounds does not.
func (c *Config) Options() map[string]string {
	f := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	o := map[string]string{
		"rank": strconv.Itoa(c.Rank), "alpha": f(c.Alpha), "dropout": f(c.Dropout), "rank_stable": strconv.FormatBool(c.RankStable),
		"targets": strings.Join(c.Targets, ","), "saved": strings.Join(c.Saved, ","), "image_tokens": strconv.FormatBool(c.ImageTokens),
		"steps": strconv.Itoa(c.Steps), "batch": strconv.Itoa(c.BatchRows), "micro_tokens": strconv.Itoa(c.MicroTokens), "rate": f(c.Rate), "floor": f(c.Floor),
		"warmup": strconv.Itoa(c.Warmup), "schedule": c.Schedule, "beta1": f(c.Beta1), "beta2": f(c.Beta2), "eps": f(c.Eps), "decay": f(c.Decay),
		"decay_all": strconv.FormatBool(c.DecayAll), "clip": f(c.Clip), "seed": strconv.FormatUint(c.Seed, 10), "workers": strconv.Itoa(c.Workers),
		"validation_rows": strconv.Itoa(c.ValidationRows),
	}
	if c.Workers > 1 {
		o["steps_per_round"], o["outer_rate"], o["outer_momentum"] = strconv.Itoa(c.StepsPerRound), f(c.OuterRate), f(c.OuterMomentum)
	}
	return o
}
