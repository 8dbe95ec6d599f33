package worker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/apache/beam/sdks/v2/go/container/tools"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime"
	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
)

// endpoints are what a runner gives to a boot program: the contract is https://s.apache.org/beam-fn-api-container-contract.
type endpoints struct {
	id, provision, logging, control string
}

func parseEndpoints(args []string) (e endpoints, err error) {
	fs := flag.NewFlagSet("worker", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&e.id, "id", "", "")
	fs.StringVar(&e.provision, "provision_endpoint", "", "")
	fs.StringVar(&e.logging, "logging_endpoint", "", "")
	fs.StringVar(&e.control, "control_endpoint", "", "")
	fs.String("artifact_endpoint", "", "")
	fs.String("semi_persist_dir", "", "")
	if err := fs.Parse(args); err != nil {
		return e, fmt.Errorf("arguments of a boot program: %w", err)
	}
	if e.id == "" || e.provision == "" {
		return e, errors.New("arguments of a boot program: --id or --provision_endpoint is empty")
	}
	return e, nil
}

// job is what a worker works for.
type job struct {
	logging, control, status string
	capabilities             []string
	options                  runtime.RawOptions
}

// provisionLimit bounds the first conversation with a runner, which is on the same machine or near.
const provisionLimit = time.Minute

// provision asks the runner what to work for.
func provision(ctx context.Context, e endpoints) (*job, error) {
	ctx, cancel := context.WithTimeout(ctx, provisionLimit)
	defer cancel()
	info, err := tools.ProvisionInfo(ctx, e.provision)
	if err != nil {
		return nil, fmt.Errorf("provision service at %s: %w", e.provision, err)
	}
	return newJob(e, info)
}

func newJob(e endpoints, info *fnpb.ProvisionInfo) (*job, error) {
	j := &job{logging: cmp.Or(info.GetLoggingEndpoint().GetUrl(), e.logging), control: cmp.Or(info.GetControlEndpoint().GetUrl(), e.control),
		status: info.GetStatusEndpoint().GetUrl(), capabilities: info.GetRunnerCapabilities()}
	if j.logging == "" || j.control == "" {
		return nil, fmt.Errorf("provision service: logging endpoint %q, control endpoint %q: want both", j.logging, j.control)
	}
	text, err := tools.ProtoToJSON(info.GetPipelineOptions())
	if err != nil {
		return nil, fmt.Errorf("provision service: pipeline options: %w", err)
	}
	var all runtime.RawOptionsWrapper
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return nil, fmt.Errorf("provision service: pipeline options: %w", err)
	}
	j.options = all.Options
	return j, nil
}

// importOptions makes the job's options those of this process.
func (j *job) importOptions() { runtime.GlobalOptions.Import(j.options) }

// reportLimit bounds how long a worker that ends tries to say why; reportPause is what its message gets to arrive in, as the logging
// service does not say when it has.
const (
	reportLimit = 5 * time.Second
	reportPause = 300 * time.Millisecond
)

// report tells the runner's log why this worker ends. Its own standard error is shown by no runner.
func (j *job) report(ctx context.Context, why error) {
	fmt.Fprintf(os.Stderr, "sower: worker: %v\n", why)
	ctx, cancel := context.WithTimeout(ctx, reportLimit)
	defer cancel()
	l := tools.Logger{Endpoint: j.logging}
	l.Errorf(ctx, "sower: worker: %v", why)
	time.Sleep(reportPause)
	l.Close()
}
