// Package trainer does the work of sower train-tokenizer without knowing about Beam. It has three parts: preparing (pairs become small
// pictures and captions, units of a plan), the first stage and the second, which train in rounds (package rounds).
//
// The model that comes out is a folder that --model takes, with the text tower as a second file for evaluation.
package trainer

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"

	"sower/gpu/models/seed"
	"sower/gpu/models/seed/training"
	"sower/internal/rounds"
	"sower/schemas"
)

// Recipe is --config: sizes and how they are trained. What a file does not say is published.
type Recipe struct {
	Model seed.Config `json:"model"`
	// Source is the side of prepared pictures, in pixels, of which training takes crops.
	Source     int        `json:"source"`
	Vocabulary Vocabulary `json:"vocabulary"`
	Augment    Augment    `json:"augment"`
	First      Stage      `json:"first"`
	Second     Stage      `json:"second"`
	// ShuffleBytes bounds the prepared pictures that are in memory and shuffled at a time.
	ShuffleBytes int64  `json:"shuffle_bytes"`
	Seed         uint64 `json:"seed"`
}

// Vocabulary says where the words of the text tower come from when no file is given: captions of the training rows.
type Vocabulary struct {
	// MinCount is in how many captions a word must occur.
	MinCount int `json:"min_count"`
	// DropUnknown leaves words out that the vocabulary lacks, in place of [UNK].
	DropUnknown bool `json:"drop_unknown"`
}

// Augment says what training sees of a picture and of its caption.
type Augment struct {
	MinArea  float64 `json:"min_area"`  // of a crop, as a share
	Ratio    float64 `json:"ratio"`     // of its sides at most, width to height or height to width
	Flip     bool    `json:"flip"`      // half of the pictures are mirrored
	WordDrop float64 `json:"word_drop"` // share of words that are left out; one stays
}

// Stage is how one stage is trained.
type Stage struct {
	Steps         int     `json:"steps"`
	StepsPerRound int     `json:"steps_per_round"`
	Batch         int     `json:"batch"`
	Rate          float64 `json:"rate"`
	Warmup        int     `json:"warmup"`
	// Schedule is "steps" (a cosine by steps to a fiftieth) or "epochs" (published: warm-up inside epoch 0, then a cosine once an epoch).
	Schedule   string  `json:"schedule"`
	EndRate    float64 `json:"end_rate,omitempty"`   // of "epochs"
	BeginRate  float64 `json:"begin_rate,omitempty"` // of "epochs"
	Epochs     int     `json:"epochs,omitempty"`
	EpochSteps int     `json:"epoch_steps,omitempty"`

	Beta1 float64 `json:"beta1"`
	Beta2 float64 `json:"beta2"`
	Decay float64 `json:"decay"`
	Clip  float64 `json:"clip"` // 0 does not

	training.Weights

	// Of the first stage, but for Pictures. ViT trains the vision transformer, too; Alone are the first steps, of pictures alone; Pictures
	// is how many of a batch the painter draws, where 0 are none, but all in the second stage.
	ViT      bool    `json:"vit,omitempty"`
	Alone    int     `json:"alone,omitempty"`
	Pictures int     `json:"pictures,omitempty"`
	Temp     float64 `json:"temp,omitempty"`
	TempMin  float64 `json:"temp_min,omitempty"`
	TempMax  float64 `json:"temp_max,omitempty"`

	// Of the second. Codebook is "uniform" (published) or "data": rows begin as vectors of the first batches. Restart is how often codes
	// that were not chosen since are moved to a vector of the batch, 0 never, until Until of the steps.
	Codebook string  `json:"codebook,omitempty"`
	Restart  int     `json:"restart,omitempty"`
	Until    float64 `json:"until,omitempty"`
}

// Published is the published recipe: sizes, losses, rates (arXiv 2310.01218 and its released configuration). The vision transformer is
// given and frozen.
func Published() Recipe {
	model := seed.Published()
	model.Text = &seed.Text{Vocabulary: 30523, Positions: 512, Embed: 256}
	stage := Stage{StepsPerRound: 500, Batch: 512, Beta1: 0.9, Beta2: 0.999, Decay: 0.05, Schedule: "epochs", Warmup: 2000, EpochSteps: 5000, Weights: training.Published()}
	r := Recipe{Model: model, Source: 256, Vocabulary: Vocabulary{MinCount: 3}, Augment: Augment{MinArea: 0.5, Ratio: 4.0 / 3, Flip: true}, ShuffleBytes: 4 << 30, First: stage, Second: stage}
	r.First.Steps, r.First.Epochs = 50_000, 10
	r.First.Rate, r.First.EndRate, r.First.BeginRate = 3e-5, 3e-6, 3e-7
	r.First.Temp, r.First.TempMin, r.First.TempMax = 0.07, 0.001, 0.5
	r.Second.Steps, r.Second.Epochs = 2_500_000, 500
	r.Second.Rate, r.Second.EndRate, r.Second.BeginRate = 1e-4, 1e-5, 1e-6
	r.Second.Codebook = "uniform"
	return r
}

// Parse reads a recipe; keys that it does not know are errors.
func Parse(text []byte) (Recipe, error) {
	r := Published()
	if err := strict(text, &r); err != nil {
		return r, fmt.Errorf("trainer: --config: %w", err)
	}
	return r, r.Validate()
}

// Validate names everything that cannot work.
func (r *Recipe) Validate() error {
	errs := []error{r.Model.Validate()}
	want := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("trainer: recipe: "+format, args...))
		}
	}
	want(r.Model.Text != nil, "model.text is missing: the first stage needs a text tower")
	want(r.Source >= r.Model.ImageSize, "source %d: want at least image_size %d", r.Source, r.Model.ImageSize)
	want(r.Vocabulary.MinCount > 0, "vocabulary.min_count %d: want 1 or more", r.Vocabulary.MinCount)
	a := r.Augment
	want(a.MinArea > 0 && a.MinArea <= 1 && a.Ratio >= 1 && a.WordDrop >= 0 && a.WordDrop < 1, "augment %+v: want 0 < min_area <= 1, ratio >= 1, 0 <= word_drop < 1", a)
	want(r.ShuffleBytes > 0, "shuffle_bytes %d: want more than 0", r.ShuffleBytes)
	for i, s := range []*Stage{&r.First, &r.Second} {
		name := []string{"first", "second"}[i]
		want(s.Steps > 0 && s.StepsPerRound > 0 && s.Batch > 1, "%s: steps %d, steps_per_round %d, batch %d: want more than 0, and 2 pairs or more", name, s.Steps, s.StepsPerRound, s.Batch)
		want(s.Rate > 0 && s.Rate < 1 && s.Warmup >= 0, "%s: rate %v, warmup %d: want a rate above 0 and steps", name, s.Rate, s.Warmup)
		want(s.Schedule == "steps" || s.Schedule == "epochs" && s.Epochs > 0 && s.EpochSteps > 0, "%s: schedule %q: want steps, or epochs with epochs and epoch_steps", name, s.Schedule)
		want(s.Beta1 >= 0 && s.Beta1 < 1 && s.Beta2 >= 0 && s.Beta2 < 1 && s.Decay >= 0 && s.Clip >= 0, "%s: beta1 %v, beta2 %v, decay %v, clip %v", name, s.Beta1, s.Beta2, s.Decay, s.Clip)
		w := s.Weights
		want(w.Smoothing >= 0 && w.Smoothing < 1 && w.Commit >= 0 && w.VQ >= 0 && w.Rec >= 0 && w.Image >= 0 && w.Picture >= 0, "%s: weights %+v: want 0 or more, smoothing less than 1", name, w)
		want(s.Pictures >= 0 && s.Pictures <= s.Batch, "%s: pictures %d of a batch of %d", name, s.Pictures, s.Batch)
		want(w.Picture == 0 || r.Model.Painter != nil, "%s: picture %v needs model.painter", name, w.Picture)
	}
	f, s := &r.First, &r.Second
	want(f.Temp > 0 && f.TempMin > 0 && f.TempMin <= f.Temp && f.Temp <= f.TempMax, "first: temp %v within %v and %v: want 0 < temp_min <= temp <= temp_max", f.Temp, f.TempMin, f.TempMax)
	want(f.Alone >= 0 && f.Alone <= f.Steps && (f.Alone == 0 || f.Picture > 0), "first: alone %d: want steps of pictures, with a weight for them (picture)", f.Alone)
	want(s.Codebook == "uniform" || s.Codebook == "data", "second: codebook %q: want uniform or data", s.Codebook)
	want(s.Restart >= 0 && (s.Restart == 0 || s.StepsPerRound%s.Restart == 0), "second: restart %d: want a divisor of steps_per_round %d, so that counts need not outlive a round", s.Restart, s.StepsPerRound)
	want(s.Until >= 0 && s.Until <= 1, "second: until %v: want a share of the steps", s.Until)
	return errors.Join(errs...)
}

// rate is the learning rate of a step.
func (s *Stage) rate(step int) float64 {
	if s.Schedule == "epochs" {
		return training.Epochs{Top: s.Rate, End: s.EndRate, Begin: s.BeginRate, Warmup: s.Warmup, Epochs: s.Epochs, EpochSteps: s.EpochSteps}.Rate(step)
	}
	return training.Steps{Top: s.Rate, Warmup: s.Warmup, Total: s.Steps}.Rate(step)
}

// Config is everything that a worker needs; it travels with the work.
type Config struct {
	RunID string

	Prepared string // folder that preparing wrote
	Output   string
	// Given is a model folder (--init) whose tensors training begins with; "" begins anew.
	Given string
	// Teacher is a folder of image embeddings (type Teacher) for the second stage; "" takes those of the first.
	Teacher string
	// Held are the pairs that rounds are measured on.
	Held    Held
	Device  string
	Threads int
	Workers int
	Recipe  Recipe
	// Stage is 1 or 2: each is a run of rounds of its own.
	Stage    int
	Identity schemas.Identity
	Parts    []schemas.File // of the prepared rows
}

// stage is the recipe of the stage.
func (c *Config) stage() *Stage {
	if c.Stage == 1 {
		return &c.Recipe.First
	}
	return &c.Recipe.Second
}

// Plan is how a stage is cut into rounds.
func (c *Config) Plan() *rounds.Plan {
	s := c.stage()
	id := c.Identity
	if c.Stage == 1 {
		id = c.firstIdentity()
	}
	p := &rounds.Plan{Folder: fmt.Sprintf("stage%d/", c.Stage), Identity: id.JSON(), Steps: s.Steps, StepsPerRound: s.StepsPerRound, Workers: c.Workers, OuterRate: 1}
	if len(c.Held.Parts) > 0 {
		p.ValidateEvery = c.Held.Every
	}
	return p
}

// firstIdentity is what the first stage depends on: all but how the second is trained, and what it learns to give back. Runs that differ in
// these alone can share it.
func (c *Config) firstIdentity() schemas.Identity {
	id := c.Identity
	id.Options = maps.Clone(id.Options)
	delete(id.Options, "teacher")
	recipe := c.Recipe
	recipe.Second = Stage{}
	text, err := json.Marshal(recipe)
	if err != nil {
		panic(err) // numbers, strings and booleans; JSON brought them
	}
	if id.Options != nil {
		id.Options["recipe"] = string(text)
	}
	return id
}

// Validate names everything that cannot work.
func (c *Config) Validate() error {
	errs := []error{c.Recipe.Validate(), c.Held.validate()}
	if c.Workers < 1 || c.Recipe.First.Steps%max(c.Workers, 1) != 0 || c.Recipe.Second.Steps%max(c.Workers, 1) != 0 ||
		c.Recipe.First.StepsPerRound%max(c.Workers, 1) != 0 || c.Recipe.Second.StepsPerRound%max(c.Workers, 1) != 0 {
		errs = append(errs, fmt.Errorf("trainer: --workers %d: want 1 or more, and steps that they share equally", c.Workers))
	}
	if c.Workers > 1 && c.Recipe.Second.Restart > 0 {
		errs = append(errs, fmt.Errorf("trainer: --workers %d with second.restart %d: each worker would move a code elsewhere, and averages are nowhere: set restart to 0, or train with one worker", c.Workers, c.Recipe.Second.Restart))
	}
	if m := c.Recipe.Model; c.Teacher == "" && c.Recipe.Second.Image > 0 && m.Text != nil && m.ImageEmbed != m.Text.Embed {
		errs = append(errs, fmt.Errorf("trainer: the second stage learns image embeddings of %d numbers (model.image_embed), the first makes some of %d (model.text.embed): give a --teacher, make them equal, or set second.image to 0",
			m.ImageEmbed, m.Text.Embed))
	}
	if c.Stage != 1 && c.Stage != 2 {
		errs = append(errs, fmt.Errorf("trainer: stage %d", c.Stage))
	}
	if c.Threads < 0 {
		errs = append(errs, fmt.Errorf("trainer: --threads %d: want 0 (all) or more", c.Threads))
	}
	return errors.Join(errs...)
}

// Options are the settings that change the result, for the identity.
func (c *Config) Options() (map[string]string, error) {
	recipe, err := json.Marshal(c.Recipe)
	if err != nil {
		return nil, err
	}
	return map[string]string{"recipe": string(recipe), "workers": strconv.Itoa(c.Workers)}, nil
}
