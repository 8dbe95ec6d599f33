package flink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/graphx"
	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/universal/runnerlib"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/util/grpcx"

	"sower/runners"
	"sower/runners/flink/rest"
	"sower/runners/worker"
)

// Limits of what should be quick. A job itself has no limit, but see watch.
const (
	dialLimit   = 30 * time.Second
	submitLimit = 10 * time.Minute // staging a program over a slow line
	runLimit    = time.Minute
	cancelLimit = 30 * time.Second
)

// preparing is held while a job's options are those of the process, from which Beam copies them.
var preparing sync.Mutex

// Run submits the pipeline and waits for its end. When ctx ends, the Flink job is cancelled, where its REST service is known.
func (flink) Run(ctx context.Context, p *beam.Pipeline, c runners.Config) error {
	// What belongs to the job outlives ctx for as long as cancelling takes: workers that vanish first would be started again.
	own, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	w, err := newWorkers(own, c)
	if err != nil {
		return err
	}
	defer w.stop()
	j := &job{config: c, name: c.JobName, patience: usual}
	if c.Flink.REST != "" {
		if j.rest, err = rest.New(c.Flink.REST); err != nil {
			return err
		}
	}
	if err := j.supersede(ctx); err != nil {
		return j.explain(ctx, err)
	}
	if err := j.submit(ctx, own, p, w); err != nil {
		return j.explain(ctx, err)
	}
	defer j.close()
	err = j.wait(ctx)
	if ctx.Err() != nil || errors.Is(err, errStalled) {
		if stopErr := j.cancel(own); stopErr != nil {
			j.note("%v", stopErr) // an interrupted command says no more than that it was interrupted
			err = errors.Join(err, stopErr)
		}
	}
	return j.explain(ctx, err)
}

// job is one job of Flink's.
type job struct {
	config runners.Config
	name   string
	id     string // Beam's
	client jobpb.JobServiceClient
	close  func() error
	rest   *rest.Client

	patience patience
}

// supersede ends jobs that launchers which were killed left behind for the same output: both would do the same units. What those
// committed stays.
func (j *job) supersede(ctx context.Context) error {
	if j.rest == nil || j.config.JobFamily == "" {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, cancelLimit, fmt.Errorf("no end within %v", cancelLimit))
	defer cancel()
	jobs, err := j.rest.Jobs(ctx)
	if err != nil {
		return nil // there may be no service to ask, and then the worst is that work is done twice
	}
	own := rest.Family(jobs, j.name) // an earlier round of this run
	for _, other := range rest.Family(jobs, j.config.JobFamily) {
		if slices.ContainsFunc(own, func(o rest.Job) bool { return o.ID == other.ID }) {
			continue
		}
		j.note("flink: job %s of an earlier launcher still works for this output: it is cancelled, and this one goes on", other.Name)
		if _, err := j.rest.Cancel(ctx, &other); err != nil {
			return fmt.Errorf("flink: job %s of an earlier launcher still works for this output and does not end: sower cancel %s --flink-rest %s: %w", other.Name, other.ID, j.rest.URL(), err)
		}
	}
	return nil
}

// submit does what Beam's universal runner does up to the job's start, with options that are this job's alone. Once the job is
// handed over it is waited for, or cancelled, whatever becomes of ctx: so its last step has own.
func (j *job) submit(ctx, own context.Context, p *beam.Pipeline, w *workers) (err error) {
	limited, cancel := context.WithTimeoutCause(ctx, submitLimit, fmt.Errorf("submitting the job took more than %v", submitLimit))
	defer cancel()
	defer func() {
		if err != nil && limited.Err() != nil && ctx.Err() == nil {
			err = fmt.Errorf("flink: %w: %v", context.Cause(limited), err)
		}
	}()
	edges, _, err := p.Build()
	if err != nil {
		return fmt.Errorf("flink: pipeline: %w", err)
	}
	model, err := graphx.Marshal(edges, &graphx.Options{Environment: w.environment})
	if err != nil {
		return fmt.Errorf("flink: pipeline: %w", err)
	}
	if err := runnerlib.UpdateGoEnvironmentWorker(w.binary, model); err != nil {
		return fmt.Errorf("flink: %w", err)
	}
	conn, err := grpcx.Dial(limited, j.config.Flink.Endpoint, dialLimit)
	if err != nil {
		return fmt.Errorf("flink: job server: %w", err)
	}
	j.client, j.close = jobpb.NewJobServiceClient(conn), conn.Close
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	n := parallelism(limited, j.config)
	prepared, endpoint, token, err := prepare(limited, j.client, &runnerlib.JobOptions{Name: j.name, Worker: w.binary, Parallelism: n, Loopback: environment(j.config) == loopback}, w, model)
	if err != nil {
		return fmt.Errorf("flink: %w", err)
	}
	if token, err = runnerlib.Stage(limited, prepared, endpoint, w.binary, token); err != nil {
		return fmt.Errorf("flink: stage the worker: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	last, cancelLast := context.WithTimeout(own, runLimit)
	defer cancelLast()
	if j.id, err = runnerlib.Submit(last, j.client, prepared, token); err != nil {
		return fmt.Errorf("flink: %w", err)
	}
	j.note("flink: job %s is submitted, %d units at a time, workers: %s", j.name, n, environment(j.config))
	return nil
}

func (j *job) note(format string, args ...any) {
	if j.config.Notes != nil {
		fmt.Fprintf(j.config.Notes, format+"\n", args...)
	}
}

// wait follows the job to its end. Only a job that is done is a success: Beam's own client takes a cancelled one for that, too.
func (j *job) wait(ctx context.Context) error {
	watched, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var watching sync.WaitGroup
	watching.Go(func() { j.watch(watched, cancel) })
	defer watching.Wait()
	defer cancel(nil)
	stream, err := j.client.GetMessageStream(watched, &jobpb.JobMessagesRequest{JobId: j.id})
	if err != nil {
		return fmt.Errorf("flink: follow job %s: %w", j.id, err)
	}
	state, said := jobpb.JobState_UNSPECIFIED, ""
	for {
		m, err := stream.Recv()
		if cause := context.Cause(watched); cause != nil {
			return cause
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("flink: the job server is gone, and with it, perhaps, the job (see its log): %w", err)
		}
		if s := m.GetStateResponse(); s != nil {
			state = s.GetState()
		}
		if t := m.GetMessageResponse(); t.GetImportance() >= jobpb.JobMessage_JOB_MESSAGE_ERROR {
			said = t.GetMessageText()
		}
		switch {
		case state == jobpb.JobState_DONE:
			return nil
		case state == jobpb.JobState_CANCELLED:
			return errors.New("flink: the job was cancelled")
		case state == jobpb.JobState_FAILED && said != "":
			return fmt.Errorf("flink: %w", reason(said))
		case errors.Is(err, io.EOF):
			return fmt.Errorf("flink: the job ended in state %s without a word: see the job server's log", state)
		}
	}
}

// explain gives an error the cause that the user set off.
func (j *job) explain(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && err != nil && !errors.Is(err, cause) {
		return errors.Join(cause, err)
	}
	return err
}

// cancel ends the Flink job. Beam's Cancel leaves workers at work.
func (j *job) cancel(own context.Context) error {
	how := fmt.Errorf("flink: job %s may go on: cancel it with: sower cancel %s --flink-rest URL", j.name, j.name)
	if j.rest == nil {
		if environment(j.config) == loopback {
			return nil // its workers end with this program, and then the job
		}
		return how
	}
	ctx, cancel := context.WithTimeoutCause(own, cancelLimit, fmt.Errorf("no end within %v", cancelLimit))
	defer cancel()
	var err error
	// A job that was only just handed over is not known to Flink yet.
	for !j.ended(ctx) {
		if err = j.cancelNow(ctx); err == nil {
			return nil
		}
		select {
		case <-time.After(cancelEvery):
		case <-ctx.Done():
			return errors.Join(how, context.Cause(ctx), err)
		}
	}
	return nil
}

// cancelEvery is how often cancelling is tried again.
const cancelEvery = 300 * time.Millisecond

func (j *job) cancelNow(ctx context.Context) error {
	jobs, err := j.rest.Jobs(ctx)
	if err != nil {
		return err
	}
	found, err := rest.Find(jobs, j.name)
	if err != nil {
		return err
	}
	_, err = j.rest.Cancel(ctx, found)
	return err
}

// ended reports whether Beam's job server says that the job has ended.
func (j *job) ended(ctx context.Context) bool {
	r, err := j.client.GetState(ctx, &jobpb.GetJobStateRequest{JobId: j.id})
	if err != nil {
		return false
	}
	switch r.GetState() {
	case jobpb.JobState_DONE, jobpb.JobState_FAILED, jobpb.JobState_CANCELLED:
		return true
	}
	return false
}

// prepare hands the pipeline to the job server. Beam's options are variables of the process.
func prepare(ctx context.Context, client jobpb.JobServiceClient, o *runnerlib.JobOptions, w *workers, model *pipepb.Pipeline) (id, endpoint, token string, err error) {
	preparing.Lock()
	defer preparing.Unlock()
	for name, value := range map[string]string{worker.BinaryOption: w.digest, worker.JobOption: w.job, worker.RESTOption: w.rest} {
		beam.PipelineOptions.Set(name, value)
		defer beam.PipelineOptions.Set(name, "")
	}
	return runnerlib.Prepare(ctx, client, model, o)
}

// reason is what a DoFn said, or what is known about the way in which a worker ended, out of the text of a failed job.
func reason(said string) error {
	switch {
	case strings.Contains(said, fmt.Sprintf("exit code %d", worker.ExitOtherBinary)):
		return errors.New("a worker is another build of this program: put the same file on every machine, or name the right one with --worker-binary (the job server's or task manager's log has both digests)")
	case strings.Contains(said, fmt.Sprintf("exit code %d", worker.ExitNoJob)):
		return errors.New("a worker could not reach the job server that started it (see the log of the job server or task manager)")
	}
	return runners.Cause(errors.New(said))
}
