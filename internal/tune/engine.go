package tune

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"sower/gpu"
	"sower/gpu/lora"
	"sower/gpu/models/lm"
	"sower/gpu/optim"
	"sower/gpu/resident"
	"sower/internal/base"
	"sower/internal/blob"
	"sower/internal/progress"
	"sower/internal/rounds"
	"sower/schemas"
)

// trainer is the model of a run in this process, with its adapters and optimizer. Rounds and workers take turns: each loads the
// state that it begins with.
type trainer struct {
	sync.Mutex
	out, corpus *blob.Bucket
	dev         *gpu.Device
	model       lm.Model
	adapters    *lora.Adapters
	opt         *optim.AdamW
	initial     *rounds.State // of a run, by its seed
	packed      bool
}

func key(c *Config) string {
	return fmt.Sprintf("tune %s to %s on %s, %d threads: %s", c.Base, c.Output, c.Device, c.Threads, c.Identity.JSON())
}

// Release frees the model of a run in this process.
func Release(c Config) error { return resident.Release(key(&c)) }

// open returns the trainer of a run, loading the model if this process has none.
func open(ctx context.Context, c Config) (*trainer, error) {
	return resident.Shared(key(&c), func() (*trainer, error) { return load(ctx, c) })
}

// adapterConfig is what LoRA is told.
func (c *Config) adapterConfig() lora.Config {
	a := lora.Config{R: c.Rank, Alpha: c.Alpha, RSLoRA: c.RankStable, Dropout: c.Dropout, Targets: c.Targets, Saved: c.Saved, Base: c.Base}
	if c.ImageTokens {
		ids := make([]int32, 0, c.Vocabulary.K+2)
		for i := range c.Vocabulary.K {
			ids = append(ids, c.Vocabulary.Offset+i)
		}
		ids = append(ids, c.Vocabulary.Begin, c.Vocabulary.End)
		slices.Sort(ids)
		a.Tokens = map[string][]int32{"embed_tokens": ids, "lm_head": ids}
	}
	return a
}

func load(ctx context.Context, c Config) (*trainer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	t := new(trainer)
	if err := t.fill(ctx, c); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

func (t *trainer) fill(ctx context.Context, c Config) (err error) {
	if t.out, err = blob.OpenBucket(ctx, c.Output); err != nil {
		return err
	}
	if t.corpus, err = blob.OpenBucket(ctx, c.Corpus); err != nil {
		return err
	}
	t.packed = c.Identity.Options["packed"] == "true"
	b, err := base.Open(c.Base)
	if err != nil {
		return err
	}
	defer b.Close()
	digest, err := b.Digest()
	if err != nil {
		return err
	}
	if digest != c.Identity.Weights {
		return fmt.Errorf("tune: --base %s on this worker has weights %.12s, the run was planned with %.12s: put the same files there", c.Base, digest, c.Identity.Weights)
	}
	precision, err := gpu.ParsePrecision(c.Identity.Precision)
	if err != nil {
		return fmt.Errorf("tune: %w", err)
	}
	if t.dev, err = gpu.Open(c.Device, gpu.Options{Threads: c.Threads, Precision: precision}); err != nil {
		return err
	}
	config := c.adapterConfig()
	options := config.Options(int(c.Vocabulary.Length), c.Seed)
	if t.model, err = b.Load(t.dev, options); err != nil {
		return err
	}
	if t.model.Sizes().Tied {
		delete(config.Tokens, "lm_head") // those of the embedding serve it, too
	}
	if t.adapters, err = lora.Attach(t.model, config, c.Seed); err != nil {
		return err
	}
	decayed := optim.Matrices
	if c.DecayAll {
		decayed = optim.All
	}
	t.opt, err = optim.New(t.dev, t.adapters.Parameters(), optim.Config{Beta1: c.Beta1, Beta2: c.Beta2, Eps: c.Eps, Decay: c.Decay, Decayed: decayed, Clip: c.Clip})
	if err != nil {
		return err
	}
	t.initial, err = t.save()
	return err
}

// Close frees everything.
func (t *trainer) Close() error {
	var errs []error
	if t.opt != nil {
		errs = append(errs, t.opt.Close())
	}
	if t.adapters != nil {
		errs = append(errs, t.adapters.Close())
	}
	if t.model != nil {
		errs = append(errs, t.model.Close())
	}
	if t.dev != nil {
		errs = append(errs, t.dev.Close())
	}
	if t.out != nil {
		errs = append(errs, t.out.Close())
	}
	if t.corpus != nil {
		errs = append(errs, t.corpus.Close())
	}
	return errors.Join(errs...)
}

// load puts a state on the device; without moments those of the optimizer become 0.
func (t *trainer) load(s *rounds.State) error { return rounds.Put(t.dev, t.opt, s) }

// save copies the state from the device.
func (t *trainer) save() (*rounds.State, error) { return rounds.Take(t.dev, t.opt) }

// runaway is how many nats above that of the run's first step a loss ends the run.
const runaway = 10

// train runs a worker's steps of a round on the state that is loaded.
func (t *trainer) train(ctx context.Context, c *Config, round, worker int) (list []Step, seconds float64, err error) {
	schedule := optim.Schedule{Shape: optim.Shape(c.Schedule), Base: c.Rate, Warmup: c.Warmup, Total: c.Steps, Floor: c.Floor}
	run := progress.Lookup(c.RunID)
	mode := gpu.Training
	if c.Recompute {
		mode = gpu.Recompute
	}
	from, to := c.Plan().Range(round)
	began := time.Now()
	first := math.NaN()
	for step := from + worker; step < to; step += c.Workers {
		if err := errors.Join(ctx.Err(), context.Cause(run.Ctx)); err != nil {
			return nil, 0, fmt.Errorf("tune: step %d: %w", step, err)
		}
		rows, err := c.batch(ctx, t.corpus, t.packed, step)
		if err != nil {
			return nil, 0, err
		}
		sums, err := t.losses(mode, rows, c, func(part int) { t.adapters.SetStep(step, part) })
		if err != nil {
			return nil, 0, fmt.Errorf("tune: step %d: %w", step, err)
		}
		m := Step{Round: int32(round), Worker: int32(worker), Step: int64(step), Rate: schedule.Rate(step), Tokens: sums.tokens, Targets: sums.all.n}
		m.Loss, m.TextLoss, m.ImageLoss = sums.all.mean(), sums.text.mean(), sums.image.mean()
		if math.IsNaN(first) {
			first = m.Loss
		}
		if math.IsNaN(m.Loss) || math.IsInf(m.Loss, 0) || m.Loss > first+runaway {
			return nil, 0, fmt.Errorf("tune: the loss of step %d is %v (%.3f at the first of this round): lower --rate, raise --warmup, or lower --clip", step, m.Loss, first)
		}
		if m.Norm, err = t.opt.Step(m.Rate); err != nil {
			return nil, 0, fmt.Errorf("tune: step %d, loss %.4f: %w; lower --rate or raise --warmup", step, m.Loss, err)
		}
		list = append(list, m)
		Lives.Of(c.RunID).Stepped(m, m.Tokens)
	}
	return list, time.Since(began).Seconds(), nil
}

// kindSum adds up the losses of targets of one kind.
type kindSum struct {
	sum float64
	n   int64
}

func (k *kindSum) add(v float64) { k.sum, k.n = k.sum+v, k.n+1 }

func (k *kindSum) mean() float64 {
	if k.n == 0 {
		return 0
	}
	return k.sum / float64(k.n)
}

// sums are the losses of some rows by kind, and their tokens.
type sums struct {
	all, text, image kindSum
	tokens           int64
}

// losses computes the loss of every target of the rows, and, unless mode is Inference, adds the gradients of their mean.
func (t *trainer) losses(mode gpu.Mode, rows []row, c *Config, before func(part int)) (*sums, error) {
	var s sums
	parts := joined(rows, c.MicroTokens)
	batches, targets, counts := make([]*lm.Batch, len(parts)), make([][]int32, len(parts)), make([]int, len(parts))
	total := 0
	for i, r := range parts {
		lengths := make([]int, len(r.SequenceLengths))
		for j, n := range r.SequenceLengths {
			lengths[j] = int(n)
		}
		var err error
		if batches[i], err = lm.Packed(r.InputIDs, [][]int{lengths}, len(r.InputIDs)); err != nil {
			return nil, err
		}
		if targets[i], counts[i], err = batches[i].Targets(r.Labels); err != nil {
			return nil, err
		}
		total += counts[i]
		s.tokens += int64(len(r.InputIDs))
	}
	if total == 0 && mode == gpu.Inference {
		return &s, nil
	}
	if total == 0 {
		return nil, errors.New("no label in the rows of this step: the template masks everything")
	}
	scale := float32(1 / float64(total))
	for i := range parts {
		if counts[i] == 0 {
			continue
		}
		before(i)
		p := t.dev.NewPass(mode)
		loss := lm.Loss(p, t.model, t.model.Hidden(p, batches[i], nil), targets[i], scale)
		values := make([]float32, counts[i])
		p.ReadF32(loss, values)
		if mode != gpu.Inference {
			p.Backward(loss, nil)
		}
		if err := p.Close(); err != nil {
			return nil, err
		}
		s.count(targets[i], values, float64(total), &c.Vocabulary)
	}
	return &s, nil
}

// count sorts losses, which were scaled by 1/total, by kind.
func (s *sums) count(targets []int32, values []float32, total float64, v *schemas.Vocabulary) {
	at := 0
	for _, id := range targets {
		if id == gpu.Ignored {
			continue
		}
		l := float64(values[at]) * total
		at++
		s.all.add(l)
		if id >= v.Offset && id < v.Offset+v.K {
			s.image.add(l)
		} else {
			s.text.add(l)
		}
	}
}

// validate computes the loss of the first validation rows.
func (t *trainer) validate(ctx context.Context, c *Config) (*Validation, error) {
	total := int64(0)
	for _, f := range c.Validation {
		total += f.Rows
	}
	var all sums
	var rows []row
	flush := func() error {
		if len(rows) == 0 {
			return nil
		}
		s, err := t.losses(gpu.Inference, rows, c, func(int) {})
		if err != nil {
			return err
		}
		for _, k := range [][2]*kindSum{{&all.all, &s.all}, {&all.text, &s.text}, {&all.image, &s.image}} {
			k[0].sum, k[0].n = k[0].sum+k[1].sum, k[0].n+k[1].n
		}
		rows = rows[:0]
		return nil
	}
	err := read(ctx, t.corpus, c.Validation, t.packed, 0, min(total, int64(c.ValidationRows)), func(r row) error {
		if err := r.check(); err != nil {
			return err
		}
		if rows = append(rows, r); len(rows) == c.BatchRows {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return nil, fmt.Errorf("tune: validation: %w", err)
	}
	return &Validation{Loss: all.all.mean(), TextLoss: all.text.mean(), ImageLoss: all.image.mean(), Targets: all.all.n}, nil
}
