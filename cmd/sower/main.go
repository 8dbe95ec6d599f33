// Command sower turns image-text data into corpora of SEED tokens. "sower help" lists what it does.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	beamlog "github.com/apache/beam/sdks/v2/go/pkg/beam/log"

	"sower/internal/encode"
	"sower/internal/launch"
	"sower/transforms/manifest"

	_ "sower/gpu/cpu"
	_ "sower/internal/blob/all"
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
	// A runner starts its workers as "sower --worker --id=… …": no subcommand, and Beam's own flags. That is looked at
	// before anything else, and beam.Init does not return then.
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "-") && workerMode(os.Args[1:]) {
		flag.Parse()
		beam.Init()
		return
	}
	beamlog.LogLevel = beamLogLevel()
	beam.Init()
	os.Exit(run(os.Args[1:]))
}

// workerMode reports whether the arguments are those of a Beam worker.
func workerMode(args []string) bool {
	for _, a := range args {
		if a == "--worker" || a == "-worker" || strings.HasPrefix(a, "--worker=") || strings.HasPrefix(a, "-worker=") {
			return true
		}
	}
	return false
}

// beamLogLevel keeps Beam quiet unless SOWER_LOG asks for more (debug, info, warn or error).
func beamLogLevel() string {
	switch v := strings.ToLower(os.Getenv("SOWER_LOG")); v {
	case "debug", "info", "warn", "error":
		return v
	}
	return "error"
}

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	code := exitCode(ctx, err)
	if code == exitInterrupted {
		fmt.Fprintln(os.Stderr, "sower: interrupted. What is committed stays; run the same command again to finish the rest.")
	} else {
		fmt.Fprintf(os.Stderr, "sower: %v\n", err)
	}
	if code == exitUsage {
		fmt.Fprintln(os.Stderr, "Run with --help to see flags and examples.")
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
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &refused):
		return exitRefused
	// Errors that crossed a runner are text: the sentinels' own words are looked for.
	case strings.Contains(err.Error(), encode.ErrTooManyFailures.Error()), strings.Contains(err.Error(), manifest.ErrFailures.Error()):
		return exitFailures
	}
	return exitFailed
}
