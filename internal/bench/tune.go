package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"time"

	"sower/gpu"
	"sower/gpu/lora"
	"sower/gpu/models/lm"
	"sower/gpu/optim"
	"sower/internal/base"
)

// TuneResult is what Tune measured.
type TuneResult struct {
	Machine
	Base     string    `json:"base"`
	Tokens   int       `json:"tokens"` // of a sequence
	Rank     int       `json:"rank"`
	Trained  int       `json:"trained_parameters"`
	Load     float64   `json:"load_seconds"`
	Memory   int64     `json:"anonymous_bytes"`
	Seconds  []float64 `json:"seconds_per_step"`
	Rate     float64   `json:"train_tokens_per_second"` // of the median step
	FLOPs    float64   `json:"flops_per_step"`          // of matrix products
	Share    float64   `json:"share_of_peak,omitempty"`
	Table    []Op      `json:"ops"`
	Generate float64   `json:"generate_tokens_per_second"` // one row, after a prompt of 32
	Rivals   []LMRival `json:"rivals,omitempty"`
}

// TuneOptions say what Tune runs.
type TuneOptions struct {
	Options
	Base         string
	Tokens, Rank int
	Rounds       int
	NewTokens    int // to generate
	Recompute    bool
	Against      []string
	Progress     func(format string, args ...any)
}

// Tune times LoRA training of a language model on one sequence a step, and generation.
func Tune(ctx context.Context, o TuneOptions) (*TuneResult, error) {
	say := o.Progress
	if say == nil {
		say = func(string, ...any) {}
	}
	b, err := base.Open(o.Base)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	var profile gpu.Profile
	options := gpu.Options{Threads: o.Threads, Precision: o.Precision}
	if !gpu.OnGPU(o.Device) { // a clock in every operation would slow a GPU down
		options.Profile = &profile
	}
	dev, err := gpu.Open(o.Device, options)
	if err != nil {
		return nil, err
	}
	defer dev.Close()
	start := time.Now()
	m, err := b.Load(dev, lm.Options{})
	if err != nil {
		return nil, err
	}
	defer m.Close()
	r := &TuneResult{Machine: o.machine(dev), Base: o.Base, Tokens: o.Tokens, Rank: o.Rank, Load: time.Since(start).Seconds()}
	r.measure(o.Options)
	say("generating")
	t := &tuner{m: m, dev: dev, o: o}
	if r.Generate, err = t.generate(); err != nil {
		return nil, err
	}
	if err := t.attach(); err != nil {
		return nil, err
	}
	defer t.close()
	for _, p := range t.adapters.Parameters() {
		r.Trained += p.Tensor.Len()
	}
	if _, err := t.step(); err != nil {
		return nil, err
	}
	profile.Reset()
	for i := range o.Rounds {
		s, err := t.step()
		if err != nil {
			return nil, err
		}
		r.Seconds = append(r.Seconds, s)
		say("step %d of %d: %.3f s, %.1f tokens/s", i+1, o.Rounds, s, float64(o.Tokens)/s)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	r.measure(o.Options)
	r.Memory = anonymous()
	r.Rate = float64(o.Tokens) / median(r.Seconds)
	e := EncodeResult{Machine: r.Machine, Batch: 1, Seconds: r.Seconds, Median: median(r.Seconds)}
	all := 0.0
	for _, s := range r.Seconds {
		all += s
	}
	e.table(profile.Table(), o.Rounds, all)
	r.Table, r.FLOPs, r.Share = e.Table, e.FLOPs, e.Share
	for _, command := range o.Against {
		rival, err := t.against(ctx, command, say)
		if err != nil {
			return nil, err
		}
		r.Rivals = append(r.Rivals, *rival)
	}
	runtime.KeepAlive(m)
	return r, nil
}

// tuner trains a model on made-up tokens.
type tuner struct {
	m        lm.Model
	dev      *gpu.Device
	o        TuneOptions
	adapters *lora.Adapters
	opt      *optim.AdamW
	steps    int
}

func (t *tuner) attach() error {
	var names []string
	for _, l := range t.m.Linears() {
		if name := l.Path[strings.LastIndex(l.Path, ".")+1:]; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	var err error
	if t.adapters, err = lora.Attach(t.m, lora.Config{R: t.o.Rank, Alpha: float64(2 * t.o.Rank), Targets: names}, 0); err != nil {
		return err
	}
	t.opt, err = optim.New(t.dev, t.adapters.Parameters(), optim.Config{Beta1: 0.9, Beta2: 0.98, Eps: 1e-6, Decay: 0.05, Decayed: optim.Matrices, Clip: 1})
	return err
}

func (t *tuner) close() {
	if t.opt != nil {
		t.opt.Close()
	}
	t.adapters.Close()
}

// ids are made-up tokens of a vocabulary, the same for every run.
func (t *tuner) ids(n int, seed uint64) []int32 {
	random := rand.New(rand.NewPCG(seed, 3))
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = random.Int32N(int32(t.m.Sizes().Vocabulary))
	}
	return ids
}

// step is forward, backward and update, and returns its seconds.
func (t *tuner) step() (float64, error) {
	ids := t.ids(t.o.Tokens, uint64(t.steps))
	t.steps++
	mode := gpu.Training
	if t.o.Recompute {
		mode = gpu.Recompute
	}
	start := time.Now()
	_, _, err := lm.Accumulate(t.m, mode, []lm.Example{{Batch: &lm.Batch{B: 1, T: len(ids), IDs: ids}, Labels: ids}}, nil)
	if err == nil {
		_, err = t.opt.Step(1e-4)
	}
	return time.Since(start).Seconds(), err
}

// generate continues a prompt of 32 tokens and returns the new tokens a second, the prompt included in the time.
func (t *tuner) generate() (float64, error) {
	best := 0.0
	for range 3 {
		start := time.Now()
		out, err := lm.Generate(t.m, [][]int32{t.ids(32, 99)}, lm.GenerateOptions{New: t.o.NewTokens})
		if err != nil {
			return 0, err
		}
		if len(out[0]) != t.o.NewTokens {
			return 0, fmt.Errorf("bench: generated %d tokens, want %d", len(out[0]), t.o.NewTokens)
		}
		best = max(best, float64(t.o.NewTokens)/time.Since(start).Seconds())
	}
	return best, nil
}

// LMRival is another trainer that took turns with this one.
type LMRival struct {
	Ready
	Command  string    `json:"command"`
	Seconds  []float64 `json:"seconds_per_step"`
	Rate     float64   `json:"train_tokens_per_second"`
	Ours     float64   `json:"our_train_tokens_per_second"` // in the same rounds
	Ratio    float64   `json:"ratio"`                       // Ours / Rate
	Memory   int64     `json:"peak_bytes"`
	Generate float64   `json:"generate_tokens_per_second"`
}

// against takes turns with a process that speaks the peers' protocol with tokens in place of images: it reads a number of
// tokens a line, trains one step on a sequence of so many, and answers with the seconds.
func (t *tuner) against(ctx context.Context, command string, say func(string, ...any)) (*LMRival, error) {
	say("starting %s", command)
	p, err := StartPeer(ctx, command)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	r := &LMRival{Ready: p.Ready, Command: command}
	var ours []float64
	for i := range t.o.Rounds {
		time.Sleep(200 * time.Millisecond)
		s, err := t.step()
		if err != nil {
			return nil, err
		}
		ours = append(ours, s)
		time.Sleep(200 * time.Millisecond)
		a, err := p.Encode(t.o.Tokens)
		if err != nil {
			return nil, err
		}
		r.Seconds = append(r.Seconds, a.Seconds)
		r.Memory, r.Generate = max(r.Memory, a.Memory), max(r.Generate, a.Generate)
		say("round %d of %d against %s: %.3f s, theirs %.3f", i+1, t.o.Rounds, p.Ready.Name, s, a.Seconds)
	}
	r.Rate, r.Ours = float64(t.o.Tokens)/median(r.Seconds), float64(t.o.Tokens)/median(ours)
	r.Ratio = r.Ours / r.Rate
	return r, nil
}
