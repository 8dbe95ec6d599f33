package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"sower/gpu"
	"sower/gpu/models/seed"
	"sower/gpu/models/seed/training"
	"sower/gpu/optim"
	"sower/internal/trainer"
)

// TrainerResult is what Trainer measured.
type TrainerResult struct {
	Machine
	Batch  int           `json:"batch"`
	Memory int64         `json:"anonymous_bytes"`
	Steps  []TrainerStep `json:"steps"`
}

// TrainerStep is one kind of step.
type TrainerStep struct {
	Step    string         `json:"step"`
	Seconds []float64      `json:"seconds_per_step"`
	Median  float64        `json:"median_seconds_per_step"`
	FLOPs   float64        `json:"flops_per_step"` // of matrix products
	Share   float64        `json:"share_of_peak,omitempty"`
	Table   []Op           `json:"ops"`
	Rivals  []TrainerRival `json:"rivals,omitempty"`
}

// TrainerRival is another trainer that took the same steps in turn with this one.
type TrainerRival struct {
	Ready
	Command string    `json:"command"`
	Seconds []float64 `json:"seconds_per_step"`
	Median  float64   `json:"median_seconds_per_step"`
	Ours    float64   `json:"our_median_seconds_per_step"` // in the same rounds
	Ratio   float64   `json:"ratio"`                       // Median / Ours: above 1, this one is faster
	Apart   float64   `json:"losses_apart"`                // the largest relative difference of losses, first steps included
	Memory  int64     `json:"peak_bytes"`
}

// TrainerOptions say what Trainer runs.
type TrainerOptions struct {
	Options
	// Config is the file of a recipe with a painter; Vocabulary the number of words, which a recipe leaves to the data.
	Config     string
	Recipe     trainer.Recipe
	Vocabulary int
	Rounds     int
	Against    []string
	Progress   func(format string, args ...any)
}

// trainerRate is the learning rate of all steps, trainerSeed that of the stand-in weights.
const (
	trainerRate = 1e-4
	trainerSeed = 1
)

// trainerWarm is how many steps are taken before the clock runs: memory is allocated, and a rival may compile.
const trainerWarm = 3

// tooFarApart is the relative difference of losses beyond which two trainers do not take the same steps.
const tooFarApart = 0.01

// Trainer times steps of training a tokenizer on made-up pairs: those of the first stage without its painter and with it, and those of the
// second. Each rival takes the same steps from the same weights, and its losses are compared.
func Trainer(ctx context.Context, o TrainerOptions) (*TrainerResult, error) {
	say := o.Progress
	if say == nil {
		say = func(string, ...any) {}
	}
	c := &o.Recipe.Model
	if c.Painter == nil || o.Recipe.First.Picture <= 0 || o.Recipe.Second.Picture <= 0 || o.Recipe.First.Batch != o.Recipe.Second.Batch {
		return nil, errors.New("bench: a recipe to be timed needs model.painter, first.picture, second.picture and one batch for both stages")
	}
	c.Text.Vocabulary = o.Vocabulary
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	r := &TrainerResult{Batch: o.Recipe.First.Batch}
	for _, kind := range []string{"contrast", "pictures", "codes"} {
		s := TrainerStep{Step: kind}
		var profile gpu.Profile
		t, err := newStepper(o, kind, &profile)
		if err != nil {
			return nil, err
		}
		if r.Machine.Processor == "" {
			r.Machine = o.machine(t.dev)
		}
		r.measure(o.Options)
		all := 0.0
		for i := range trainerWarm + o.Rounds {
			if i == trainerWarm {
				profile.Reset()
			}
			seconds, _, err := t.step()
			if err = errors.Join(err, ctx.Err()); err != nil {
				return nil, errors.Join(err, t.close())
			}
			if i >= trainerWarm {
				s.Seconds, all = append(s.Seconds, seconds), all+seconds
			}
		}
		r.measure(o.Options)
		r.Memory = max(r.Memory, anonymous())
		s.Median = median(s.Seconds)
		say("%s: %.3f s a step", kind, s.Median)
		e := EncodeResult{Machine: r.Machine, Median: s.Median}
		e.table(profile.Table(), o.Rounds, all)
		s.Table, s.FLOPs, s.Share = e.Table, e.FLOPs, e.Share
		if err := t.close(); err != nil {
			return nil, err
		}
		for _, command := range o.Against {
			rival, err := againstTrainer(ctx, o, kind, command, say)
			if err != nil {
				return nil, err
			}
			s.Rivals = append(s.Rivals, *rival)
		}
		r.Steps = append(r.Steps, s)
	}
	return r, nil
}

// stepper trains a model on made-up pairs.
type stepper struct {
	dev    *gpu.Device
	stage  *training.Stage
	opt    *optim.AdamW
	recipe *trainer.Recipe
	kind   string
	inputs []training.Batch // of the steps to come
}

func newStepper(o TrainerOptions, kind string, profile *gpu.Profile) (*stepper, error) {
	options := gpu.Options{Threads: o.Threads, Precision: o.Precision}
	if !gpu.OnGPU(o.Device) { // a clock in every operation would slow a GPU down
		options.Profile = profile
	}
	t := &stepper{recipe: &o.Recipe, kind: kind}
	var err error
	if t.dev, err = gpu.Open(o.Device, options); err != nil {
		return nil, err
	}
	number, of := 1, &o.Recipe.First
	if kind == "codes" {
		number, of = 2, &o.Recipe.Second
	}
	w := of.Weights
	if kind == "contrast" {
		w.Picture = 0
	}
	c := o.Recipe.Model
	if t.stage, err = training.Open(t.dev, seed.StandIn(c, trainerSeed), c, number, w, of.ViT, o.Recipe.First.Temp); err != nil {
		return nil, errors.Join(err, t.close())
	}
	t.opt, err = optim.New(t.dev, t.stage.Parameters(), optim.Config{Beta1: of.Beta1, Beta2: of.Beta2, Eps: 1e-8, Decay: of.Decay, Decayed: optim.Tokenizer, Clip: of.Clip})
	if err != nil {
		return nil, errors.Join(err, t.close())
	}
	for i := range trainerWarm + o.Rounds {
		b, err := t.input(i * of.Batch)
		if err != nil {
			return nil, errors.Join(err, t.close())
		}
		t.inputs = append(t.inputs, b)
	}
	return t, nil
}

// input is a batch of pairs from one number on; the second stage's come with what the frozen Q-Former makes of them.
func (t *stepper) input(first int) (b training.Batch, err error) {
	c, n := &t.recipe.Model, t.recipe.First.Batch
	b.RGB = Pictures(first, n, c.ImageSize)
	switch t.kind {
	case "codes":
		b.Pictures = n
		b.Causal, err = t.stage.Embed(b.RGB)
		return b, err
	case "pictures":
		b.Pictures = t.recipe.First.Pictures
	}
	b.Texts = madeUpTexts(b.RGB, n, c.Text.Positions, c.Text.Vocabulary)
	return b, nil
}

func (t *stepper) close() error {
	var errs []error
	if t.opt != nil {
		errs = append(errs, t.opt.Close())
	}
	if t.stage != nil {
		errs = append(errs, t.stage.Close())
	}
	return errors.Join(append(errs, t.dev.Close())...)
}

// step is forward, backward and update on the next pairs, and returns its seconds and its loss.
func (t *stepper) step() (seconds, loss float64, err error) {
	b := t.inputs[0]
	t.inputs = t.inputs[1:]
	start := time.Now()
	var l training.Losses
	if t.kind == "codes" {
		l, _, err = t.stage.Second(&b)
	} else {
		l, err = t.stage.First(&b)
	}
	if err == nil {
		_, err = t.opt.Step(trainerRate)
	}
	return time.Since(start).Seconds(), l.Total, err
}

// madeUpTexts are tokens that follow from the bytes of n pictures, as docs/benchmarks/peers/train_tokenizer_torch.py has them.
func madeUpTexts(rgb []byte, n, positions, vocabulary int) [][]int32 {
	texts := make([][]int32, n)
	for i := range texts {
		b := rgb[i*len(rgb)/n:]
		texts[i] = make([]int32, 2+int(b[0])%(positions-1))
		for j := range texts[i] {
			texts[i][j] = int32((256*int(b[2*j+1]) + int(b[2*j+2])) % vocabulary)
		}
	}
	return texts
}

// againstTrainer takes turns with a process that takes the same steps: it is told the recipe and the kind of step by flags, reads a number of
// pairs a line, and answers with seconds and loss.
func againstTrainer(ctx context.Context, o TrainerOptions, kind, command string, say func(string, ...any)) (*TrainerRival, error) {
	command = fmt.Sprintf("%s --recipe %s --step %s --vocabulary %d --rate %g --seed %d", command, o.Config, kind, o.Vocabulary, trainerRate, trainerSeed)
	say("starting %s", command)
	p, err := StartPeer(ctx, command)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	t, err := newStepper(o, kind, nil)
	if err != nil {
		return nil, err
	}
	defer t.close()
	r := &TrainerRival{Ready: p.Ready, Command: command}
	var ours []float64
	for i := range trainerWarm + o.Rounds {
		var seconds, loss float64
		var a *Answer
		turns := []func() error{func() (err error) { seconds, loss, err = t.step(); return },
			func() (err error) { a, err = p.Encode(o.Recipe.First.Batch); return }}
		if i%2 == 1 {
			slices.Reverse(turns)
		}
		for _, turn := range turns {
			time.Sleep(200 * time.Millisecond) // threads of either that still spin have gone to sleep
			if err := turn(); err != nil {
				return nil, err
			}
		}
		apart := math.Abs(a.Loss-loss) / math.Abs(loss)
		if !(apart <= tooFarApart) {
			return nil, fmt.Errorf("bench: %s: loss %v of step %d, here %v: these are not the same steps", command, a.Loss, i, loss)
		}
		r.Apart, r.Memory = max(r.Apart, apart), max(r.Memory, a.Memory)
		if i < trainerWarm {
			continue
		}
		ours, r.Seconds = append(ours, seconds), append(r.Seconds, a.Seconds)
		say("%s, round %d of %d against %s: %.3f s, theirs %.3f", kind, i-trainerWarm+1, o.Rounds, p.Ready.Name, seconds, a.Seconds)
	}
	r.Median, r.Ours = median(r.Seconds), median(ours)
	r.Ratio = r.Median / r.Ours
	return r, nil
}
