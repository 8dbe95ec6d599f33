// Package runners maps one Config to the engines that Beam pipelines run on. It is the only place that touches Beam's
// flags. A runner is a folder with one type behind Runner, which registers itself.
package runners

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
)

// Config is what every runner understands; a runner ignores what does not apply to it and refuses what it cannot do.
type Config struct {
	// Parallelism is how many units are in work at a time; 0 lets the runner choose.
	Parallelism int
	// JobName names the job where a runner shows one; it should be unique.
	JobName string
	// JobFamily begins the names of all jobs that work for the same output; "" where nothing is known of others. A runner may end jobs of
	// the family that launchers which were killed left behind.
	JobFamily string
	// WorkerBinary is what worker processes run; "" is this program.
	WorkerBinary string
	// SharedFiles says that local paths mean the same on every worker: one machine, or a file system that all have mounted.
	SharedFiles bool
	// Notes is told what is worth knowing while a job runs (where to watch it); nil discards it.
	Notes io.Writer
	// Progress, where it is set, is a number that changes as work is committed. A run without a change for Stall is given up where the
	// engine is known to hang; 0 waits for ever.
	Progress func() int64
	Stall    time.Duration

	Flink    Flink
	Dataflow Dataflow
}

// Flink is what its runner needs to know.
type Flink struct {
	// Endpoint is host:port of Beam's job server, REST the URL of Flink's own service.
	Endpoint, REST string
	// Environment says where DoFns work: "loopback" (in the launcher), "process" (started by Flink) or "external" (a pool beside
	// each task manager); "" chooses loopback. EnvironmentConfig is the command of a process, or host:port of the pool.
	Environment, EnvironmentConfig string
}

// Dataflow is what its runner needs to know.
type Dataflow struct {
	Project, Region               string
	StagingLocation, TempLocation string // gs:// folders
	TemplateLocation              string // gs:// object that gets the job instead of the service
	ContainerImage                string
	MachineType                   string
	Accelerator                   string // type and number a worker, "nvidia-l4:1"; "" for none
	ServiceAccount                string
	Network, Subnetwork           string
	PrivateIPs                    bool // workers have no public addresses
	NumWorkers, MaxWorkers        int  // at the beginning and at most; 0 lets the service choose
	WorkerThreads                 int  // units that a worker has in work at a time; 0 is one a virtual CPU
	DiskGB                        int
	Labels                        map[string]string
	Experiments, ServiceOptions   []string
	// Endpoint is the service's URL, with a slash at its end; "" is the real one.
	Endpoint string
}

// Place is where the DoFns of a run work.
type Place int

// The places, from the nearest.
const (
	// InProcess is the launcher itself: counters and contexts are shared.
	InProcess Place = iota
	// SameFiles are other processes that see the launcher's files.
	SameFiles
	// Elsewhere are machines on which a local path means nothing.
	Elsewhere
)

// Runner is an engine.
type Runner interface {
	// Names are what --runner takes, the canonical one first.
	Names() []string
	// Check names every option that is wrong or missing, with the cure, before anything is built.
	Check(Config) error
	// Place is where the DoFns of a run work.
	Place(Config) Place
	// Branches is how many parallel branches a graph should have on this runner.
	Branches(Config) int
	// Run runs a pipeline to its end. A nil error does not prove success: the manifest does.
	Run(context.Context, *beam.Pipeline, Config) error
}

// ErrNotStarted is the result of Run where a job was written down instead of started (a template).
var ErrNotStarted = errors.New("the job was not started")

// Bundler is an extra of runners that hold what a stage emits in memory: a bundle that emits more hangs for ever.
type Bundler interface {
	// MaxBundle is how many bytes a bundle may emit, and how many bundles a stage's elements are dealt to.
	MaxBundle(context.Context, Config) (bytes int64, bundles int)
}

// Describer is an extra of runners that can say what they would submit.
type Describer interface {
	// Describe writes what Run would submit, and submits nothing.
	Describe(context.Context, io.Writer, *beam.Pipeline, Config) error
}

var registered = map[string]Runner{}

// Register adds a runner under all its names; a name taken twice panics.
func Register(r Runner) {
	for _, name := range r.Names() {
		key := strings.ToLower(name)
		if registered[key] != nil {
			panic(fmt.Sprintf("runners: two runners are named %q", name))
		}
		registered[key] = r
	}
}

// Lookup finds a runner by any of its names.
func Lookup(name string) (Runner, error) {
	if r := registered[strings.ToLower(name)]; r != nil {
		return r, nil
	}
	return nil, fmt.Errorf("runners: no runner %q (have: %s)", name, strings.Join(Names(), ", "))
}

// Names lists the canonical names.
func Names() []string {
	var out []string
	for _, r := range registered {
		out = append(out, r.Names()[0])
	}
	sort.Strings(out)
	return slices.Compact(out)
}

// Cause finds what a DoFn said in the text that Beam wraps around it: plan, bundle and instruction are of no use to
// whoever ran the command, and stand in the logs.
func Cause(err error) error {
	const mark = "] failed:\n"
	text := err.Error()
	i := strings.LastIndex(text, mark)
	if i < 0 {
		return err
	}
	return errors.New(strings.TrimSpace(text[i+len(mark):]))
}
