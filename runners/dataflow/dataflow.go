// Package dataflow submits pipelines to Google Cloud Dataflow and waits for them. It maps the configuration to the service's job
// without Beam's flags, so that what is described, staged as a template and submitted is one thing.
package dataflow

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/graphx"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/dataflow/dataflowlib"
	df "google.golang.org/api/dataflow/v1b3"
	"google.golang.org/protobuf/proto"

	"sower/runners"
)

func init() { runners.Register(runner{}) }

type runner struct{}

// Names are the canonical one and Beam's.
func (runner) Names() []string { return []string{"dataflow", "DataflowRunner"} }

// Place is always elsewhere: workers are virtual machines of the service.
func (runner) Place(runners.Config) runners.Place { return runners.Elsewhere }

// Branches is one: the service deals elements out by itself.
func (runner) Branches(runners.Config) int { return 1 }

// image is what workers run in where no other is asked for: Beam's own, which has no CUDA and no C library.
func image(d *runners.Dataflow) string {
	if d.ContainerImage != "" {
		return d.ContainerImage
	}
	return "gcr.io/cloud-dataflow/v1beta3/beam_go_sdk:" + core.SdkVersion
}

// job is a pipeline as the service takes it.
type job struct {
	model    *pipepb.Pipeline
	options  *dataflowlib.JobOptions
	modelURL string
	worker   string // URL of the program
}

// translate builds the job; nothing is sent.
func translate(ctx context.Context, p *beam.Pipeline, c *runners.Config) (*job, error) {
	d := &c.Dataflow
	edges, _, err := p.Build()
	if err != nil {
		return nil, fmt.Errorf("dataflow: %w", err)
	}
	environment, err := graphx.CreateEnvironment(ctx, "beam:env:docker:v1", func(context.Context) string { return image(d) })
	if err != nil {
		return nil, fmt.Errorf("dataflow: environment: %w", err)
	}
	model, err := graphx.Marshal(edges, &graphx.Options{Environment: environment})
	if err != nil {
		return nil, fmt.Errorf("dataflow: %w", err)
	}
	worker, err := c.Worker()
	if err != nil {
		return nil, fmt.Errorf("dataflow: %w", err)
	}
	temp := d.TempLocation
	if temp == "" {
		temp = join(d.StagingLocation, "temp")
	}
	threads := d.WorkerThreads
	if threads == 0 {
		threads = virtualCPUs(d.MachineType)
	}
	folder := join(d.StagingLocation, fmt.Sprintf("%s-%d", c.JobName, time.Now().UnixNano()))
	return &job{model: model, modelURL: join(folder, "model"), worker: join(folder, "worker"), // the service wants the name "worker"
		options: &dataflowlib.JobOptions{Name: c.JobName, Project: d.Project, Region: d.Region, Worker: worker, TempLocation: temp, TemplateLocation: d.TemplateLocation,
			ContainerImage: image(d), MachineType: d.MachineType, ServiceAccountEmail: d.ServiceAccount, Network: d.Network, Subnetwork: d.Subnetwork, NoUsePublicIPs: d.PrivateIPs,
			NumWorkers: int64(d.NumWorkers), MaxNumWorkers: int64(d.MaxWorkers), WorkerHarnessThreads: int64(threads), DiskSizeGb: int64(d.DiskGB), Labels: d.Labels,
			Experiments: experiments(d.Experiments), DataflowServiceOptions: serviceOptions(d), Options: beam.PipelineOptions.Export()}}, nil
}

// experiments adds those that portable jobs need.
func experiments(asked []string) []string {
	out := append([]string(nil), asked...)
	for _, e := range []string{"beam_fn_api", "use_runner_v2", "use_unified_worker", "use_portable_job_submission"} {
		if !strings.Contains(strings.Join(asked, ","), e) {
			out = append(out, e)
		}
	}
	return out
}

// serviceOptions asks for the GPU and its driver.
func serviceOptions(d *runners.Dataflow) []string {
	out := append([]string(nil), d.ServiceOptions...)
	if name, count, err := accelerator(d.Accelerator); err == nil && name != "" {
		out = append(out, fmt.Sprintf("worker_accelerator=type:%s;count:%d;install-nvidia-driver", name, count))
	}
	return out
}

// Run submits the pipeline and waits for its end, or writes a template. Cancelling ctx cancels the job.
func (r runner) Run(ctx context.Context, p *beam.Pipeline, c runners.Config) error {
	if err := r.Check(c); err != nil {
		return err
	}
	j, err := translate(ctx, p, &c)
	if err != nil {
		return err
	}
	note(c.Notes, "staging the program and the job in %s", c.Dataflow.StagingLocation)
	result, err := dataflowlib.Execute(ctx, j.model, j.options, j.worker, j.modelURL, c.Dataflow.Endpoint, true)
	if err != nil {
		return fmt.Errorf("dataflow: submit: %w", err)
	}
	if c.Dataflow.TemplateLocation != "" {
		note(c.Notes, "template: %s", c.Dataflow.TemplateLocation)
		return runners.ErrNotStarted
	}
	client, err := dataflowlib.NewClient(ctx, c.Dataflow.Endpoint)
	if err != nil {
		return fmt.Errorf("dataflow: %w", err)
	}
	w := &watch{client: client, project: c.Dataflow.Project, region: c.Dataflow.Region, id: result.JobID(), notes: c.Notes, every: pollInterval}
	note(c.Notes, "job %s: https://console.cloud.google.com/dataflow/jobs/%s/%s?project=%s", w.id, w.region, w.id, w.project)
	return w.wait(ctx)
}

func note(w io.Writer, format string, args ...any) {
	if w != nil {
		fmt.Fprintf(w, "note: dataflow: "+format+"\n", args...)
	}
}

// Describe writes the job that Run would submit, without its parts that are the same for every pipeline.
func (r runner) Describe(ctx context.Context, w io.Writer, p *beam.Pipeline, c runners.Config) error {
	j, err := translate(ctx, p, &c)
	if err != nil {
		return err
	}
	request, err := dataflowlib.Translate(ctx, j.model, j.options, j.worker, j.modelURL, "")
	if err != nil {
		return fmt.Errorf("dataflow: %w", err)
	}
	whole, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("dataflow: %w", err)
	}
	pool, e := request.Environment.WorkerPools[0], request.Environment
	shown := struct {
		Name           string            `json:"name"`
		Project        string            `json:"project"`
		Region         string            `json:"region"`
		Image          string            `json:"container_image"`
		Machine        string            `json:"machine_type,omitempty"`
		Workers        int64             `json:"workers,omitempty"`
		MaxWorkers     int64             `json:"max_workers,omitempty"`
		Threads        int64             `json:"threads_per_worker"`
		Disk           int64             `json:"disk_gb,omitempty"`
		Network        string            `json:"network,omitempty"`
		Subnetwork     string            `json:"subnetwork,omitempty"`
		IPs            string            `json:"ip_configuration"`
		ServiceAccount string            `json:"service_account,omitempty"`
		ServiceOptions []string          `json:"service_options,omitempty"`
		Experiments    []string          `json:"experiments"`
		Labels         map[string]string `json:"labels,omitempty"`
		Temp           string            `json:"temp_location"`
		Program        string            `json:"worker_binary"`
		Transforms     int               `json:"transforms"`
		Request        int               `json:"request_bytes"`
		Graph          int               `json:"pipeline_bytes"`
	}{request.Name, request.ProjectId, j.options.Region, pool.WorkerHarnessContainerImage, pool.MachineType, int64(c.Dataflow.NumWorkers), pool.AutoscalingSettings.MaxNumWorkers,
		pool.NumThreadsPerWorker, pool.DiskSizeGb, pool.Network, pool.Subnetwork, pool.IpConfiguration, e.ServiceAccountEmail, e.ServiceOptions, e.Experiments, request.Labels,
		e.TempStoragePrefix, j.options.Worker, len(j.model.GetComponents().GetTransforms()), len(whole), proto.Size(j.model)}
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(shown)
}

// state is what the service says about a job.
type state = string

// The states that a job ends in.
const (
	done      state = "JOB_STATE_DONE"
	failed    state = "JOB_STATE_FAILED"
	cancelled state = "JOB_STATE_CANCELLED"
	drained   state = "JOB_STATE_DRAINED"
	updated   state = "JOB_STATE_UPDATED"
)

const (
	// pollInterval is the time between two looks at a job.
	pollInterval = 15 * time.Second
	// unreachable is how many looks in a row may fail before waiting ends: the service answers 503 at times, and the job goes on.
	unreachable = 40
	// cancelWait is how long a cancelled job is watched on its way down.
	cancelWait = 2 * time.Minute
)

// watch is a job being waited for.
type watch struct {
	client              *df.Service
	project, region, id string
	notes               io.Writer
	every               time.Duration
}
