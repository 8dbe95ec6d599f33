package runners_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"sower/runners"
	_ "sower/runners/dataflow"
	_ "sower/runners/local"
)

func TestNames(t *testing.T) {
	for _, name := range []string{"local", "direct", "DirectRunner", "prism", "LOCAL"} {
		r, err := runners.Lookup(name)
		if err != nil || r.Names()[0] != "local" {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
	if _, err := runners.Lookup("spark"); err == nil || !strings.Contains(err.Error(), "have: dataflow, local") {
		t.Errorf("%v", err)
	}
}

func TestLocalChecks(t *testing.T) {
	r, err := runners.Lookup("local")
	if err != nil {
		t.Fatal(err)
	}
	for n, ok := range map[int]bool{-1: false, 0: true, 1: true, 8: true, 9: false} {
		if err := r.Check(runners.Config{Parallelism: n}); (err == nil) != ok {
			t.Errorf("parallelism %d: %v", n, err)
		}
		if b := r.Branches(runners.Config{Parallelism: n}); ok && (b < 1 || b > 8 || n > 0 && b != n) {
			t.Errorf("parallelism %d: %d branches", n, b)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	p, _ := beam.NewPipelineWithRoot()
	if err := r.Run(ctx, p, runners.Config{}); err == nil || !strings.Contains(err.Error(), "deadline") {
		t.Errorf("a context with a deadline, which ends the program inside Prism: %v", err)
	}
}

func TestCause(t *testing.T) {
	wrapped := errors.New("bundle inst002 failed: Plan[stage-002]\n\tcaused by:\nsource failed\n\tcaused by:\nDoFn[UID:6, PID:e4, Name: x.unitFn] failed:\nencode: unit 0: disk full")
	if got := runners.Cause(wrapped).Error(); got != "encode: unit 0: disk full" {
		t.Errorf("%q", got)
	}
	plain := errors.New("no such host")
	if runners.Cause(plain) != plain {
		t.Error("an error without a DoFn was changed")
	}
}
