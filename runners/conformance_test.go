package runners_test

import (
	"context"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core"

	"sower/runners"
)

// engine is what the conformance table knows of a runner.
type engine struct {
	good      runners.Config // passes Check where the engine is at hand
	place     runners.Place
	unchecked []string // errors that stay, since the engine is not at hand
}

// TestConformance holds every registered runner to what the commands rest on. A new runner adds a line.
func TestConformance(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	engines := map[string]engine{
		"local": {place: runners.InProcess, good: runners.Config{Parallelism: 2}},
		"dataflow": {place: runners.Elsewhere, good: runners.Config{JobName: "job", WorkerBinary: self,
			Dataflow: runners.Dataflow{Project: "p", Region: "r", StagingLocation: "gs://b/s", ContainerImage: "i"}}},
		"flink": {place: runners.InProcess, good: runners.Config{JobName: "job", Flink: runners.Flink{Endpoint: "127.0.0.1:1"}}, unchecked: []string{"127.0.0.1:1"}},
	}
	for _, name := range runners.Names() {
		t.Run(name, func(t *testing.T) {
			e, ok := engines[name]
			if !ok {
				t.Fatal("no line in this table")
			}
			if name == "dataflow" && (runtime.GOOS != "linux" || runtime.GOARCH != "amd64") {
				t.Skip("its workers are Linux machines")
			}
			r, err := runners.Lookup(strings.ToUpper(name))
			if err != nil {
				t.Fatal(err)
			}
			for _, alias := range r.Names() {
				if other, err := runners.Lookup(alias); err != nil || other != r {
					t.Errorf("%s is %v, %v", alias, other, err)
				}
			}
			if err := r.Check(e.good); err != nil {
				text := err.Error()
				for _, u := range e.unchecked {
					if strings.Contains(text, u) && !strings.Contains(text, "\n") {
						text = ""
					}
				}
				if text != "" {
					t.Errorf("a good configuration: %v", err)
				}
			}
			if got := r.Place(e.good); got != e.place {
				t.Errorf("place %v, want %v", got, e.place)
			}
			if b := r.Branches(e.good); b < 1 || e.place == runners.Elsewhere && b != 1 {
				t.Errorf("%d branches", b)
			}
			// What Check refuses, Run does not begin.
			bad := e.good
			bad.Parallelism = -3
			err = r.Check(bad)
			if err == nil || !strings.Contains(err.Error(), "--parallelism -3") || !strings.HasPrefix(err.Error(), name+":") {
				t.Errorf("a negative parallelism: %v", err)
			}
			p, s := beam.NewPipelineWithRoot()
			beam.Impulse(s)
			if err := r.Run(context.Background(), p, bad); err == nil || !strings.Contains(err.Error(), "--parallelism -3") {
				t.Errorf("Run of what Check refuses: %v", err)
			}
		})
	}
}

// TestContainers keeps the images at the versions of go.mod: Beam's boot program and SDK talk to each other.
func TestContainers(t *testing.T) {
	text, err := os.ReadFile("containers/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	version := func(pattern string, in []byte) string {
		m := regexp.MustCompile(pattern).FindSubmatch(in)
		if m == nil {
			t.Fatalf("no %s", pattern)
		}
		return string(m[1])
	}
	if v := version(`(?m)^ARG BEAM=(\S+)`, text); v != core.SdkVersion || v != version(`beam/sdks/v2 v(\S+)`, mod) {
		t.Errorf("the image has Beam %s, the SDK is %s", v, core.SdkVersion)
	}
	if v := version(`(?m)^ARG GO=(\S+)`, text); v != version(`(?m)^go (\d+\.\d+)`, mod) {
		t.Errorf("the image builds with Go %s", v)
	}
}
