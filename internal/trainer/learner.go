package trainer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"sower/gpu"
	"sower/gpu/checkpoint"
	"sower/gpu/models/seed"
	"sower/gpu/models/seed/training"
	"sower/gpu/optim"
	"sower/gpu/resident"
	"sower/internal/blob"
	"sower/internal/progress"
	"sower/internal/rounds"
	"sower/internal/weights"
)

// Step is what one step measured; it is a row of metrics.parquet.
type Step struct {
	Stage  int32 `json:"stage" parquet:"stage"`
	Round  int32 `json:"round" parquet:"round"`
	Worker int32 `json:"worker" parquet:"worker"`
	Step   int64 `json:"step" parquet:"step"`

	Loss     float64 `json:"loss" parquet:"loss"`
	Contrast float64 `json:"contrast" parquet:"contrast"`
	VQ       float64 `json:"vq" parquet:"vq"`
	Rec      float64 `json:"rec" parquet:"rec"`
	Image    float64 `json:"image" parquet:"image"`
	Picture  float64 `json:"picture" parquet:"picture"`
	// Norm is that of all gradients before clipping, Temp the temperature of the contrast.
	Norm float64 `json:"gradient_norm" parquet:"gradient_norm"`
	Rate float64 `json:"learning_rate" parquet:"learning_rate"`
	Temp float64 `json:"temp" parquet:"temp"`
	// Used are the codes of the codebook that the batch chose, Perplexity the exponential of their entropy in nats, Restarted the codes that were
	// moved after this step.
	Used       int32   `json:"codes_used" parquet:"codes_used"`
	Perplexity float64 `json:"perplexity" parquet:"perplexity"`
	Restarted  int32   `json:"codes_restarted" parquet:"codes_restarted"`
}

// Report is what a worker did in a round, Commit what ends one.
type (
	Report = rounds.Report[Step]
	Commit = rounds.Commit[Step, Validation]
)

// Lives are the runs of this process that somebody shows; their unit is pairs.
var Lives rounds.Lives[Step, Validation]

// learner trains one stage of a run in this process. Rounds and workers take turns.
type learner struct {
	sync.Mutex
	c       Config
	out     *blob.Bucket
	in      *blob.Bucket
	dev     *gpu.Device
	stage   *training.Stage
	opt     *optim.AdamW
	data    *data
	initial *rounds.State
	held    []sample // what rounds are measured on, once it was read
	chosen  []int64  // how often each code was chosen since codes were last restarted
}

func key(c *Config) string {
	return fmt.Sprintf("tokenizer stage %d to %s on %s, %d threads: %s", c.Stage, c.Output, c.Device, c.Threads, c.Identity.JSON())
}

// Release frees what a run holds in this process.
func Release(c Config) error {
	var errs []error
	for c.Stage = 1; c.Stage <= 2; c.Stage++ {
		errs = append(errs, resident.Release(key(&c)))
	}
	return errors.Join(errs...)
}

func open(ctx context.Context, c Config) (*learner, error) {
	return resident.Shared(key(&c), func() (*learner, error) {
		l := &learner{c: c}
		if err := l.fill(ctx); err != nil {
			return nil, errors.Join(err, l.Close())
		}
		return l, nil
	})
}

func (l *learner) fill(ctx context.Context) (err error) {
	c := &l.c
	if err := c.Validate(); err != nil {
		return err
	}
	if l.out, err = blob.OpenBucket(ctx, c.Output); err != nil {
		return err
	}
	if l.in, err = blob.OpenBucket(ctx, c.Prepared); err != nil {
		return err
	}
	texts, err := OpenTexts(ctx, l.out, c.Recipe.Model.Text.Positions, c.Recipe.Vocabulary.DropUnknown)
	if err != nil {
		return err
	}
	if texts.Size() != c.Recipe.Model.Text.Vocabulary {
		return fmt.Errorf("trainer: %s has %d words, the model %d", VocabularyFile, texts.Size(), c.Recipe.Model.Text.Vocabulary)
	}
	s := c.stage()
	if l.data, err = newData(l.in, c.Parts, texts, &c.Recipe, s.Batch); err != nil {
		return err
	}
	if c.Stage == 2 && c.Teacher != "" {
		if l.data.teacher, err = OpenTeacher(ctx, c.Teacher, c.Recipe.Model.ImageEmbed); err != nil {
			return err
		}
	}
	var done []int
	if c.Stage == 2 {
		done = []int{1}
	}
	src, err := after(ctx, l.out, c, done...)
	if err != nil {
		return err
	}
	defer src.Close()
	if l.dev, err = gpu.Open(c.Device, gpu.Options{Threads: c.Threads}); err != nil {
		return err
	}
	if l.stage, err = training.Open(l.dev, src, c.Recipe.Model, c.Stage, s.Weights, s.ViT, c.Recipe.First.Temp); err != nil {
		return err
	}
	l.opt, err = optim.New(l.dev, l.stage.Parameters(), optim.Config{Beta1: s.Beta1, Beta2: s.Beta2, Eps: 1e-8, Decay: s.Decay, Decayed: optim.Tokenizer, Clip: s.Clip})
	if err != nil {
		return err
	}
	l.chosen = make([]int64, c.Recipe.Model.Codes)
	if c.Stage == 2 && s.Codebook == "data" {
		if err := l.seedCodebook(ctx); err != nil {
			return err
		}
	}
	l.initial, err = l.Save()
	return err
}

// after is the weights of a model once some stages are done: what the last of them ended with, then the ones before, named in that order; below
// it what was given, and new ones for the rest.
func after(ctx context.Context, out *blob.Bucket, c *Config, stages ...int) (checkpoint.Source, error) {
	var parts []checkpoint.Prefixed
	for _, stage := range stages {
		one := *c
		one.Stage = stage
		state, err := lastState(ctx, out, &one)
		if err != nil {
			return nil, err
		}
		parts = append(parts, checkpoint.Prefixed{Source: state})
	}
	if c.Given != "" {
		m, err := weights.OpenSome(c.Given)
		if err != nil {
			return nil, err
		}
		parts = append(parts, checkpoint.Prefixed{Source: m.Source})
	}
	return checkpoint.Union(append(parts, checkpoint.Prefixed{Source: training.Initial(c.Recipe.Model, c.Recipe.Seed)})...), nil
}

// lastState is the parameters that a finished stage ended with, in the shapes of the model's files.
func lastState(ctx context.Context, out *blob.Bucket, c *Config) (checkpoint.Source, error) {
	m, err := ReadCommit(ctx, out, c, c.Plan().Rounds()-1)
	if err != nil {
		return nil, fmt.Errorf("trainer: stage %d is not finished: %w", c.Stage, err)
	}
	values, err := rounds.ReadValues(ctx, out, m.State, m.SHA256)
	if err != nil {
		return nil, err
	}
	var list []checkpoint.Info
	var data [][]float32
	add := func(name string, shape []int) error {
		v, ok := values[name]
		if !ok {
			return nil
		}
		info := checkpoint.Info{Name: name, Shape: shape}
		if len(v) != info.Len() {
			return fmt.Errorf("trainer: %s has %d elements of %s, want %v", m.State, len(v), name, shape)
		}
		list, data = append(list, info), append(data, v)
		return nil
	}
	for _, q := range c.Recipe.Model.Params() {
		if err := add(q.Name, q.Shape); err != nil {
			return nil, err
		}
	}
	return checkpoint.Values(list, data)
}

// Close frees everything.
func (l *learner) Close() error {
	var errs []error
	if l.opt != nil {
		errs = append(errs, l.opt.Close())
	}
	if l.stage != nil {
		errs = append(errs, l.stage.Close())
	}
	if l.dev != nil {
		errs = append(errs, l.dev.Close())
	}
	if l.data != nil && l.data.teacher != nil {
		errs = append(errs, l.data.teacher.Close())
	}
	for _, b := range []*blob.Bucket{l.out, l.in} {
		if b != nil {
			errs = append(errs, b.Close())
		}
	}
	return errors.Join(errs...)
}

// Initial is the state that the stage begins with.
func (l *learner) Initial() *rounds.State { return l.initial }

// Load puts a state on the device.
func (l *learner) Load(s *rounds.State) error { return rounds.Put(l.dev, l.opt, s) }

// Save copies it from there.
func (l *learner) Save() (*rounds.State, error) { return rounds.Take(l.dev, l.opt) }

// seedCodebook makes rows of the codebook of vectors of the first batches, chosen at random.
func (l *learner) seedCodebook(ctx context.Context) error {
	m := l.c.Recipe.Model
	var rows []float32
	for step := 0; len(rows) < m.Codes*m.CodeWidth; step++ {
		z, err := l.vectors(ctx, step)
		if err != nil {
			return err
		}
		n := len(z) / m.CodeWidth
		for _, i := range rand.New(rand.NewPCG(l.c.Recipe.Seed, uint64(step)<<8|7)).Perm(n)[:min(n, m.Codes-len(rows)/m.CodeWidth)] {
			rows = append(rows, z[i*m.CodeWidth:(i+1)*m.CodeWidth]...)
		}
	}
	return l.stage.SetCodebook(rows)
}

func (l *learner) vectors(ctx context.Context, step int) ([]float32, error) {
	b, err := l.data.take(ctx, step, false)
	if err != nil {
		return nil, err
	}
	causal, err := l.stage.Embed(b.RGB)
	if err != nil {
		return nil, err
	}
	return l.stage.Vectors(causal)
}

// Train runs a worker's steps of a round on the state that is loaded.
func (l *learner) Train(ctx context.Context, round, worker int) (list []Step, seconds float64, err error) {
	c, s := &l.c, l.c.stage()
	run := progress.Lookup(c.RunID)
	from, to := c.Plan().Range(round)
	began := time.Now()
	clear(l.chosen)
	for step := from + worker; step < to; step += c.Workers {
		if err := errors.Join(ctx.Err(), context.Cause(run.Ctx)); err != nil {
			return nil, 0, fmt.Errorf("trainer: stage %d, step %d: %w", c.Stage, step, err)
		}
		m := Step{Stage: int32(c.Stage), Round: int32(round), Worker: int32(worker), Step: int64(step), Rate: s.rate(step)}
		if err := l.step(ctx, step, &m); err != nil {
			return nil, 0, fmt.Errorf("trainer: stage %d, step %d: %w", c.Stage, step, err)
		}
		list = append(list, m)
		Lives.Of(c.RunID).Stepped(m, int64(s.Batch))
	}
	return list, time.Since(began).Seconds(), nil
}

func (l *learner) step(ctx context.Context, step int, m *Step) error {
	s := l.c.stage()
	first := l.c.Stage == 1
	batch, err := l.data.take(ctx, step, first && step >= s.Alone)
	if err != nil {
		return err
	}
	var losses training.Losses
	var codes []int32
	if first {
		if s.Picture > 0 {
			batch.Pictures = s.Pictures
		}
		if step < s.Alone { // pictures alone: the others would not count
			batch.RGB = batch.RGB[:s.Pictures*l.c.Recipe.Model.ImageBytes()]
		}
		losses, err = l.stage.First(&batch)
	} else {
		if batch.Causal, err = l.stage.Embed(batch.RGB); err != nil {
			return err
		}
		if s.Picture > 0 {
			batch.Pictures = cmp.Or(s.Pictures, s.Batch)
		}
		losses, codes, err = l.stage.Second(&batch)
	}
	if err != nil {
		return err
	}
	m.Loss, m.Contrast, m.VQ, m.Rec, m.Image, m.Picture = losses.Total, losses.Contrast, losses.VQ, losses.Rec, losses.Image, losses.Picture
	if math.IsNaN(m.Loss) || math.IsInf(m.Loss, 0) {
		return fmt.Errorf("the loss is %v: lower the rate, raise warmup, or lower clip", m.Loss)
	}
	if m.Norm, err = l.opt.Step(m.Rate); err != nil {
		return err
	}
	if first {
		m.Temp, err = l.stage.ClampTemp(s.TempMin, s.TempMax)
		return err
	}
	m.Used, m.Perplexity = usage(codes, l.c.Recipe.Model.Codes, l.chosen)
	m.Restarted, err = l.restart(step, batch.Causal)
	return err
}

// restart ends every so many steps by moving codes that none of them chose to vectors of this batch.
func (l *learner) restart(step int, causal []float32) (int32, error) {
	s, m := l.c.stage(), l.c.Recipe.Model
	if s.Restart == 0 || (step+1)%s.Restart != 0 || float64(step+1) >= s.Until*float64(s.Steps) {
		return 0, nil
	}
	var dead []int
	for k, n := range l.chosen {
		if n == 0 {
			dead = append(dead, k)
		}
	}
	clear(l.chosen)
	if len(dead) == 0 {
		return 0, nil
	}
	z, err := l.stage.Vectors(causal)
	if err != nil {
		return 0, err
	}
	rows, err := l.stage.Codebook()
	if err != nil {
		return 0, err
	}
	places := rand.New(rand.NewPCG(l.c.Recipe.Seed, uint64(step)<<8|9)).Perm(len(z) / m.CodeWidth)
	dead = dead[:min(len(dead), len(places))]
	for i, k := range dead {
		copy(rows[k*m.CodeWidth:(k+1)*m.CodeWidth], z[places[i]*m.CodeWidth:])
	}
	if err := l.stage.SetCodebook(rows); err != nil {
		return 0, err
	}
	return int32(len(dead)), l.opt.Forget(seed.CodebookName, dead)
}

// usage counts the codes of a batch, adds them to chosen, and returns how many differ and the exponential of their entropy.
func usage(codes []int32, k int, chosen []int64) (used int32, perplexity float64) {
	counts := make([]int64, k)
	for _, c := range codes {
		counts[c]++
	}
	entropy := 0.0
	for i, n := range counts {
		chosen[i] += n
		if n > 0 {
			used++
			p := float64(n) / float64(len(codes))
			entropy -= p * math.Log(p)
		}
	}
	return used, math.Exp(entropy)
}

// Round trains a worker's share of a round and writes what came of it, or finds that it did so already.
func Round(ctx context.Context, c Config, round, worker int) (*Report, error) {
	l, err := open(ctx, c)
	if err != nil {
		return nil, err
	}
	l.Lock()
	defer l.Unlock()
	return rounds.Round(ctx, l.out, c.Plan(), l, round, worker)
}

// End makes a round of what its workers made, and commits it.
func End(ctx context.Context, c Config, round int, reports []Report) (*Commit, error) {
	l, err := open(ctx, c)
	if err != nil {
		return nil, err
	}
	l.Lock()
	defer l.Unlock()
	return rounds.End(ctx, l.out, c.Plan(), l, round, slices.Clone(reports))
}
