package tune

import (
	"context"

	"sower/internal/blob"
	"sower/internal/rounds"
)

// Step is what one step of training measured; it is a row of metrics.parquet.
type Step struct {
	Round  int32 `json:"round" parquet:"round"`
	Worker int32 `json:"worker" parquet:"worker"`
	Step   int64 `json:"step" parquet:"step"`
	// Losses are means over targets, in nats: all, those that are text, those that are image tokens; the last two are 0 without any.
	Loss      float64 `json:"loss" parquet:"loss"`
	TextLoss  float64 `json:"text_loss" parquet:"text_loss"`
	ImageLoss float64 `json:"image_loss" parquet:"image_loss"`
	// Norm is that of all gradients before clipping.
	Norm    float64 `json:"gradient_norm" parquet:"gradient_norm"`
	Rate    float64 `json:"learning_rate" parquet:"learning_rate"`
	Tokens  int64   `json:"tokens" parquet:"tokens"`
	Targets int64   `json:"targets" parquet:"targets"`
}

// Validation is the mean loss of the validation rows, by kind of target.
type Validation struct {
	Loss      float64 `json:"loss"`
	TextLoss  float64 `json:"text_loss"`
	ImageLoss float64 `json:"image_loss"`
	Targets   int64   `json:"targets"`
}

// Report is what a worker did in a round, Commit what ends one.
type (
	Report = rounds.Report[Step]
	Commit = rounds.Commit[Step, Validation]
)

// Lives are the runs of this process that somebody shows; their unit is tokens.
var Lives rounds.Lives[Step, Validation]

// Plan is how the run is cut.
func (c *Config) Plan() *rounds.Plan {
	p := &rounds.Plan{Identity: c.Identity.JSON(), Steps: c.Steps, StepsPerRound: c.StepsPerRound, Workers: c.Workers, OuterRate: c.OuterRate, OuterMomentum: c.OuterMomentum}
	if len(c.Validation) > 0 && c.ValidationRows > 0 {
		p.ValidateEvery = c.ValidateEvery
	}
	return p
}

// ReadCommit reads the commit of a round; an error that matches fs.ErrNotExist says that there is none.
func ReadCommit(ctx context.Context, b *blob.Bucket, c *Config, round int) (*Commit, error) {
	return rounds.ReadCommit[Step, Validation](ctx, b, c.Plan(), round)
}

// Done is the number of rounds that are committed.
func Done(ctx context.Context, b *blob.Bucket, c *Config) (int, error) {
	return rounds.Done(ctx, b, c.Plan())
}

// Round trains a worker's share of a round and writes what came of it, or finds that it did so already.
func Round(ctx context.Context, c Config, round, worker int) (*Report, error) {
	t, err := open(ctx, c)
	if err != nil {
		return nil, err
	}
	t.Lock()
	defer t.Unlock()
	return rounds.Round(ctx, t.out, c.Plan(), learner{t, &c}, round, worker)
}

// End makes a round of what its workers made, and commits it.
func End(ctx context.Context, c Config, round int, reports []Report) (*Commit, error) {
	t, err := open(ctx, c)
	if err != nil {
		return nil, err
	}
	t.Lock()
	defer t.Unlock()
	return rounds.End(ctx, t.out, c.Plan(), learner{t, &c}, round, reports)
}

// learner is the trainer as rounds sees it, for one run.
type learner struct {
	t *trainer
	c *Config
}

func (l learner) Initial() *rounds.State       { return l.t.initial }
func (l learner) Load(s *rounds.State) error   { return l.t.load(s) }
func (l learner) Save() (*rounds.State, error) { return l.t.save() }

func (l learner) Train(ctx context.Context, round, worker int) ([]Step, float64, error) {
	return l.t.train(ctx, l.c, round, worker)
}

func (l learner) Validate(ctx context.Context) (*Validation, float64, error) {
	v, err := l.t.validate(ctx, l.c)
	if err != nil {
		return nil, 0, err
	}
	Lives.Of(l.c.RunID).Validated(v)
	return v, v.Loss, nil
}
