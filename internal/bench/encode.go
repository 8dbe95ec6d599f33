// Package bench measures what "sower bench" prints: the model, its kernels, decoding, and other engines in turn with it.
// Times are wall clock; rates are compared with the machine's own peak, measured in the same run, so that figures of
// different machines and hours can be compared.
package bench

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"sower/gpu"
	"sower/gpu/cpu"
	"sower/gpu/models/seed"
	"sower/internal/weights"
)

// Machine is what ran.
type Machine struct {
	Processor string  `json:"processor"`
	Device    string  `json:"device"`
	Threads   int     `json:"threads"`
	Precision string  `json:"precision"`
	Go        string  `json:"go"`
	Peak      float64 `json:"peak_flops,omitempty"` // measured; 0 if the device is no CPU or has no kernels of its own
}

// Options choose what computes.
type Options struct {
	Device    string
	Threads   int
	Precision gpu.Precision
}

// machine describes o's device; Peak is measured by the caller, in between.
func (o Options) machine(dev *gpu.Device) Machine {
	threads := o.Threads
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	return Machine{Processor: processor(), Device: dev.String(), Threads: threads, Precision: o.Precision.String(), Go: runtime.Version()}
}

// measure keeps the best peak seen.
func (m *Machine) measure(o Options) {
	if o.Device == "cpu" {
		m.Peak = max(m.Peak, cpu.Peak(m.Threads, o.Precision))
	}
}

// processor is the name that Linux knows, or the architecture.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				return strings.TrimSpace(value)
			}
		}
	}
	return runtime.GOARCH
}

// anonymous is the process's anonymous memory in bytes, 0 where Linux does not tell.
func anonymous() int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		var kB int64
		if n, _ := fmt.Sscanf(line, "RssAnon: %d kB", &kB); n == 1 {
			return kB << 10
		}
	}
	return 0
}

// EncodeResult is what Encode measured.
type EncodeResult struct {
	Machine
	Model   string    `json:"model"`
	Load    float64   `json:"load_seconds"`
	Memory  int64     `json:"anonymous_bytes"`
	Batch   int       `json:"batch"`
	Seconds []float64 `json:"seconds_per_image"` // of each call
	Median  float64   `json:"median_seconds_per_image"`
	FLOPs   float64   `json:"flops_per_image"` // of matrix products
	Share   float64   `json:"share_of_peak,omitempty"`
	Table   []Op      `json:"ops"`
	Rivals  []Rival   `json:"rivals,omitempty"`
}

// Op is a line of the table of operations.
type Op struct {
	Op      string  `json:"op"`
	Calls   float64 `json:"calls_per_image"`
	Seconds float64 `json:"seconds_per_image"`
	Share   float64 `json:"share"`
	Rate    float64 `json:"flops_per_second,omitempty"`
}

// Rival is another engine that encoded the same images in turn with this one.
type Rival struct {
	Ready
	Command string    `json:"command"`
	Seconds []float64 `json:"seconds_per_image"`
	Median  float64   `json:"median_seconds_per_image"`
	Ours    float64   `json:"our_median_seconds_per_image"` // in the same rounds
	Ratio   float64   `json:"ratio"`                        // Median / Ours: above 1, this one is faster
	Codes   int       `json:"codes"`
	Equal   int       `json:"equal_codes"`
}

// EncodeOptions say what Encode runs.
type EncodeOptions struct {
	Options
	Model  string
	Images int // a call
	Rounds int
	// Against are commands of other engines, each run in turn with this one; see Peer.
	Against []string
	// Progress, if any, hears of each step.
	Progress func(format string, args ...any)
}

// Encode loads a model and encodes made-up pictures.
func Encode(ctx context.Context, o EncodeOptions) (*EncodeResult, error) {
	say := o.Progress
	if say == nil {
		say = func(string, ...any) {}
	}
	m, err := weights.Open(o.Model)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	if m.IsNull() {
		return nil, fmt.Errorf("bench: --model null computes nothing; give weights or standin:seed2:0")
	}
	var profile gpu.Profile
	options := gpu.Options{Threads: o.Threads, Precision: o.Precision}
	apart := gpu.OnGPU(o.Device) // a clock in every operation would slow a GPU down
	if !apart {
		options.Profile = &profile
	}
	dev, err := gpu.Open(o.Device, options)
	if err != nil {
		return nil, err
	}
	defer dev.Close()
	start := time.Now()
	model, err := seed.Load(dev, m.Source, m.Config, seed.Encode)
	if err != nil {
		return nil, err
	}
	defer model.Close()
	r := &EncodeResult{Machine: o.machine(dev), Model: o.Model, Load: time.Since(start).Seconds(), Batch: o.Images}
	runtime.GC()
	e := &encoder{model: model, n: o.Images, size: m.Config.ImageSize, codes: make([]uint16, o.Images*m.Config.Queries), finite: make([]bool, o.Images)}
	if _, err := e.encode(warmUp); err != nil {
		return nil, err
	}
	profile.Reset()
	r.measure(o.Options)
	for i := range o.Rounds {
		s, err := e.encode(i * o.Images)
		if err != nil {
			return nil, err
		}
		r.Seconds = append(r.Seconds, s)
		say("round %d of %d: %.3f s an image", i+1, o.Rounds, s)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	r.measure(o.Options)
	r.Memory = anonymous()
	r.Median = median(r.Seconds)
	if apart {
		options.Profile = &profile
		seconds, err := o.profiled(m, options, &profile)
		if err != nil {
			return nil, err
		}
		r.table(profile.Table(), o.Images, seconds)
	} else {
		all := 0.0
		for _, s := range r.Seconds {
			all += s * float64(r.Batch)
		}
		r.table(profile.Table(), o.Rounds*o.Images, all)
	}
	for _, command := range o.Against {
		rival, err := e.against(ctx, command, o.Rounds, say)
		if err != nil {
			return nil, err
		}
		r.Rivals = append(r.Rivals, *rival)
	}
	return r, nil
}

// profiled encodes one call's images again on a device with a clock in every operation, and returns the seconds.
func (o *EncodeOptions) profiled(m *weights.Model, options gpu.Options, profile *gpu.Profile) (float64, error) {
	dev, err := gpu.Open(o.Device, options)
	if err != nil {
		return 0, err
	}
	defer dev.Close()
	model, err := seed.Load(dev, m.Source, m.Config, seed.Encode)
	if err != nil {
		return 0, err
	}
	defer model.Close()
	e := &encoder{model: model, n: o.Images, size: m.Config.ImageSize, codes: make([]uint16, o.Images*m.Config.Queries), finite: make([]bool, o.Images)}
	if _, err := e.encode(warmUp); err != nil {
		return 0, err
	}
	profile.Reset()
	s, err := e.encode(0)
	return s * float64(o.Images), err
}

// table fills in what the profile of so many images says, which took so many seconds.
func (r *EncodeResult) table(ops []gpu.OpTime, images int, all float64) {
	counted, flops := 0.0, 0.0
	for _, op := range ops {
		s := op.Time.Seconds()
		counted += s
		flops += op.FLOPs
		line := Op{Op: op.Op, Calls: float64(op.Calls) / float64(images), Seconds: s / float64(images)}
		if op.FLOPs > 0 {
			line.Rate = op.FLOPs / s
		}
		r.Table = append(r.Table, line)
	}
	r.Table = append(r.Table, Op{Op: "between operations", Seconds: (all - counted) / float64(images)})
	for i := range r.Table {
		r.Table[i].Share = r.Table[i].Seconds * float64(images) / all
	}
	r.FLOPs = flops / float64(images)
	if r.Peak > 0 {
		r.Share = r.FLOPs / r.Median / r.Peak
	}
}

// encoder times calls of a model.
type encoder struct {
	model   *seed.Model
	n, size int
	codes   []uint16
	finite  []bool
}

// encode encodes the images from number first on, and returns the seconds an image.
func (e *encoder) encode(first int) (float64, error) {
	rgb := Pictures(first, e.n, e.size)
	start := time.Now()
	if err := e.model.Encode(rgb, e.n, e.codes, e.finite); err != nil {
		return 0, err
	}
	s := time.Since(start).Seconds() / float64(e.n)
	if i := slices.Index(e.finite, false); i >= 0 {
		return 0, fmt.Errorf("bench: image %d: the model made numbers that are not finite", first+i)
	}
	return s, nil
}

// against runs rounds in turn with another engine, which goes first in every second.
func (e *encoder) against(ctx context.Context, command string, rounds int, say func(string, ...any)) (*Rival, error) {
	say("starting %s", command)
	p, err := StartPeer(ctx, command)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	r := &Rival{Ready: p.Ready, Command: command}
	var ours []float64
	var theirs [][]int
	run := func(i int) error {
		s, err := e.encode(i * e.n)
		ours = append(ours, s)
		return err
	}
	ask := func() error {
		a, err := p.Encode(e.n)
		if err == nil {
			r.Seconds = append(r.Seconds, a.Seconds/float64(e.n))
			theirs = a.Codes
		}
		return err
	}
	for i := range rounds {
		steps := []func() error{func() error { return run(i) }, ask}
		if i%2 == 1 {
			slices.Reverse(steps)
		}
		for _, step := range steps {
			time.Sleep(200 * time.Millisecond) // threads of either that still spin have gone to sleep
			if err := step(); err != nil {
				return nil, err
			}
		}
		for j, row := range theirs {
			for q, code := range row {
				r.Codes++
				if j*len(row)+q < len(e.codes) && code == int(e.codes[j*len(row)+q]) {
					r.Equal++
				}
			}
		}
		say("round %d of %d against %s: %.3f s an image, theirs %.3f", i+1, rounds, p.Ready.Name, ours[i], r.Seconds[i])
	}
	r.Median, r.Ours = median(r.Seconds), median(ours)
	r.Ratio = r.Median / r.Ours
	return r, nil
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
