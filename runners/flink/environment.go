package flink

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/graphx"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/universal/extworker"

	"sower/runners"
	"sower/runners/worker"
)

// processConfig is the payload of a process environment, JSON: the command that a task manager starts. It is what workers run
// (--worker-binary, else this program) unless another is named, by its path or as the JSON itself.
func processConfig(c runners.Config) (string, error) {
	config := c.Flink.EnvironmentConfig
	if strings.HasPrefix(strings.TrimSpace(config), "{") {
		var v struct {
			Command, OS, Arch string
			Env               map[string]string
		}
		d := json.NewDecoder(strings.NewReader(config))
		d.DisallowUnknownFields()
		if err := d.Decode(&v); err != nil || v.Command == "" {
			return "", fmt.Errorf(`flink: --environment-config %s: want a program, or JSON with "command" and, where needed, "env" (%v)`, config, err)
		}
		return config, nil
	}
	if config == "" {
		program, err := c.Worker()
		if err == nil {
			program, err = filepath.Abs(program)
		}
		if err != nil {
			return "", fmt.Errorf("flink: %w", err)
		}
		config = program
	}
	if !filepath.IsAbs(config) {
		return "", fmt.Errorf("flink: --environment-config %q: want the absolute path that the program has on every task manager", config)
	}
	text, err := json.Marshal(map[string]string{"command": config})
	return string(text), err
}

// workers are where the DoFns of one job work.
type workers struct {
	environment *pipepb.Environment
	// binary is the file that is staged: what a worker runs that was started by Beam's own boot program.
	binary string
	// digest is of the program that a worker has to be; "" where it is this process.
	digest string
	// job and rest let a process that the runner forgot find out that its job has ended.
	job, rest string
	stop      func()
}

// newWorkers prepares the environment of one job. Its stop ends what was started for it.
func newWorkers(ctx context.Context, c runners.Config) (w *workers, err error) {
	w = &workers{stop: func() {}}
	urn, config := graphx.URNEnvProcess, c.Flink.EnvironmentConfig
	switch environment(c) {
	case loopback:
		srv, err := extworker.StartLoopback(ctx, 0)
		if err != nil {
			return nil, fmt.Errorf("flink: workers in this program: %w", err)
		}
		urn, config, w.stop = graphx.URNEnvExternal, srv.EnvironmentConfig(ctx), func() { srv.Stop(ctx) }
	case external:
		urn = graphx.URNEnvExternal
	case process:
		if config, err = processConfig(c); err != nil {
			return nil, err
		}
	}
	defer func() {
		if err != nil {
			w.stop()
		}
	}()
	if err := w.chooseBinary(c); err != nil {
		return nil, err
	}
	w.environment, err = graphx.CreateEnvironment(ctx, urn, func(context.Context) string { return config })
	if err != nil {
		return nil, fmt.Errorf("flink: environment: %w", err)
	}
	return w, nil
}

// chooseBinary names the file to stage. Workers in this program and processes that run this program need none: they
// get an empty one, which saves a copy of the program for every job.
func (w *workers) chooseBinary(c runners.Config) error {
	env := environment(c)
	if env != loopback {
		program, err := c.Worker()
		if err != nil {
			return err
		}
		w.job, w.rest = c.JobName, c.Flink.REST
		if w.digest, err = worker.Digest(program); err != nil {
			return fmt.Errorf("flink: %w", err)
		}
		if env == external || c.Flink.EnvironmentConfig != "" {
			w.binary = program
			return nil
		}
	}
	w.binary = os.DevNull
	return nil
}
