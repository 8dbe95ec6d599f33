// Command sower turns image-text data into corpora of SEED tokens. "sower help" lists what it does.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	beamlog "github.com/apache/beam/sdks/v2/go/pkg/beam/log"

	"sower/internal/encode"
	"sower/internal/fetch"
	"sower/internal/launch"
	"sower/runners/worker"
	"sower/transforms/manifest"

	_ "sower/gpu/cpu"
	_ "sower/gpu/cuda"
	_ "sower/internal/blob/all"
	_ "sower/runners/dataflow"
	_ "sower/runners/flink"
	_ "sower/runners/local"
)

// Exit codes, as documented in the README.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitRefused     = 3 // the output holds something else
	exitFailures    = 4 // too many rows fail
	exitInterrupted = 130
)

func main() {
	// A runner starts its workers as "sower --worker --id=… …", or as "sower --id=… --provision_endpoint=…": no command, and Beam's
	// own flags. That is looked at before anything else.
	if worker.Main(os.Args[1:]) {
		return
	}
	initBeam()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fetch.Setup(ctx, func(line string) { fmt.Fprintln(os.Stderr, "note:", line) })
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// initBeam starts the Beam SDK, which logs through slog: not at all, unless SOWER_LOG asks for it (debug, info, warn or
// error). What went wrong reaches the user as the error of the run.
func initBeam() {
	level := strings.ToLower(os.Getenv("SOWER_LOG"))
	switch level {
	case "debug", "info", "warn", "error":
		beamlog.LogLevel = level
	}
	beam.Init()
	if level == "" {
		slog.SetDefault(slog.New(slog.DiscardHandler))
	}
}

// run executes one command line and returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var ended *commandError
	if errors.As(err, &ended) {
		return ended.code
	}
	code := exitCode(ctx, err)
	if code == exitInterrupted {
		fmt.Fprintln(stderr, "sower: interrupted. What is committed stays; run the same command again to finish the rest.")
	} else {
		fmt.Fprintf(stderr, "sower: %v\n", err)
	}
	if code == exitUsage {
		fmt.Fprintln(stderr, "Run with --help to see flags and examples.")
	}
	return code
}

// usageError marks wrong arguments.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func exitCode(ctx context.Context, err error) int {
	var usage usageError
	var refused *launch.RefusedError
	switch {
	case ctx.Err() != nil:
		return exitInterrupted
	case errors.As(err, &usage), strings.HasPrefix(err.Error(), "unknown command"):
		return exitUsage
	case errors.As(err, &refused):
		return exitRefused
	// Errors that crossed a runner are text: the sentinels' own words are looked for.
	case strings.Contains(err.Error(), encode.ErrTooManyFailures.Error()), strings.Contains(err.Error(), manifest.ErrFailures.Error()):
		return exitFailures
	}
	return exitFailed
}
