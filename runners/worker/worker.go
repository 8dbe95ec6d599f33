// Package worker makes the program its own worker: Beam's runners start it with arguments that no user gives, and it then does the
// units that they hand it. Two forms are understood.
//
// As a worker ("--worker=true --id=… --control_endpoint=…"), which is how Beam's own boot program starts a staged binary, in
// containers for example.
//
// As a boot program ("--id=… --provision_endpoint=…"), which is how a runner starts what --environment-config names, or a pool its
// workers. Beam's boot program downloads the staged binary, copies it into /tmp and starts it as a child, which nobody ends. This
// one asks for the job's options and does the work itself, in the one process that the runner knows and kills: nothing is
// downloaded, copied or orphaned.
package worker

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/harness"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/util/grpcx"
)

// Exit codes of a worker process. Runners show the code of a worker that died and nothing else of it, so that they have to be
// telling: flink's errors are made from them.
const (
	ExitFailed = 1
	// ExitOtherBinary means that the worker is not the program that the job was submitted with.
	ExitOtherBinary = 71
	// ExitNoJob means that the runner did not say what to work for.
	ExitNoJob = 72
)

// parentPoll is how often a worker looks whether its parent is still there.
const parentPoll = 200 * time.Millisecond

// Main works if args (without the program's name) are those of a worker, and returns false if they are not. It must be called
// before anything else of a program that workers run, and does not return from a worker in general.
func Main(args []string) bool {
	switch form(args) {
	case asWorker:
		endWithParent()
		go endWhenDeadlocked(context.Background(), DeadlockPoll, endDeadlocked)
		flag.CommandLine.Parse(args) // ends the program when it fails
		beam.Init()                  // does not return: Beam's hook for workers takes over
		return true
	case asBoot:
		endWithParent()
		os.Exit(boot(args))
	}
	return false
}

// How a program is called.
const (
	byUser = iota
	asWorker
	asBoot
)

// form recognizes a worker's arguments. They begin with a flag, where a user's begin with a command.
func form(args []string) int {
	if len(args) == 0 || !strings.HasPrefix(args[0], "-") {
		return byUser
	}
	has := map[string]bool{}
	for _, a := range args {
		if !strings.HasPrefix(a, "-") {
			continue
		}
		name, value, _ := strings.Cut(strings.TrimLeft(a, "-"), "=")
		has[name] = value != "false"
	}
	switch {
	case has["worker"]:
		return asWorker
	case has["id"] && has["provision_endpoint"]:
		return asBoot
	}
	return byUser
}

// endWithParent ends this process soon after its parent. A task manager that is killed cannot end its workers, and they would keep
// their models, and a GPU's memory, for good.
func endWithParent() {
	parent := os.Getppid()
	go func() {
		for os.Getppid() == parent {
			time.Sleep(parentPoll)
		}
		fmt.Fprintln(os.Stderr, "sower: worker: its parent is gone, so it ends")
		os.Exit(ExitFailed)
	}()
}

// boot works for the job that the provision service tells of, until the runner closes the control stream.
func boot(args []string) (code int) {
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintf(os.Stderr, "sower: worker: %v\n", r)
			code = ExitFailed
		}
	}()
	e, err := parseEndpoints(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "sower: worker: %v\n", err)
		return ExitNoJob
	}
	ctx := grpcx.WriteWorkerID(context.Background(), e.id)
	j, err := provision(ctx, e)
	if err != nil {
		fmt.Fprintf(os.Stderr, "sower: worker: %v\n", err)
		return ExitNoJob
	}
	if err := j.sameBinary(); err != nil {
		j.report(ctx, err)
		return ExitOtherBinary
	}
	beam.Init()
	j.importOptions()
	go j.endWithJob(ctx, usual, endForgotten)
	go endWhenDeadlocked(ctx, DeadlockPoll, endDeadlocked)
	if err := harness.MainWithOptions(ctx, j.logging, j.control, harness.Options{StatusEndpoint: j.status, RunnerCapabilities: j.capabilities}); err != nil {
		j.report(ctx, err)
		return ExitFailed
	}
	return 0
}
