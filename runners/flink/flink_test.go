package flink

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"sower/runners"
)

func TestRegistered(t *testing.T) {
	for _, name := range []string{"flink", "FlinkRunner", "FLINK"} {
		r, err := runners.Lookup(name)
		if err != nil || r.Names()[0] != "flink" {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
}

// config is one that Check takes.
func config(t *testing.T, change func(*runners.Config)) runners.Config {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c := runners.Config{JobName: "job", Flink: runners.Flink{Endpoint: l.Addr().String()}}
	change(&c)
	return c
}

func TestCheck(t *testing.T) {
	file := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		change func(*runners.Config)
		want   []string
	}{
		"loopback": {func(*runners.Config) {}, nil},
		"process":  {func(c *runners.Config) { c.Flink.Environment = "PROCESS" }, nil},
		"command": {func(c *runners.Config) {
			c.Flink.Environment, c.Flink.EnvironmentConfig = process, `{"command": "/opt/sower", "env": {"A": "b"}}`
		}, nil},
		"external":    {func(c *runners.Config) { c.Flink.Environment, c.Flink.EnvironmentConfig = external, "localhost:50000" }, nil},
		"no endpoint": {func(c *runners.Config) { c.Flink.Endpoint = "" }, []string{"--flink-endpoint", "sower flink up", "sower flink run"}},
		"a URL":       {func(c *runners.Config) { c.Flink.Endpoint = "http://127.0.0.1:8081" }, []string{"HOST:PORT of Beam's job server (not Flink's own)"}},
		"nobody":      {func(c *runners.Config) { c.Flink.Endpoint = "127.0.0.1:1" }, []string{"no job server at --flink-endpoint 127.0.0.1:1", "sower flink up"}},
		"far away":    {func(c *runners.Config) { c.Flink.Endpoint = "flink.example:8099" }, []string{"--environment loopback works in this program"}},
		"all at once": {func(c *runners.Config) {
			c.Parallelism, c.Flink.Environment, c.Flink.REST, c.WorkerBinary = -1, "docker", "8081", "/no/such/file"
		}, []string{"--parallelism -1", `"docker"`, "loopback, process, external", "--flink-rest", "--worker-binary"}},
		"no pool":        {func(c *runners.Config) { c.Flink.Environment = external }, []string{"sower flink pool"}},
		"config of none": {func(c *runners.Config) { c.Flink.EnvironmentConfig = "x" }, []string{"takes none"}},
		"no program":     {func(c *runners.Config) { c.Flink.Environment, c.WorkerBinary = process, file }, []string{"is no program"}},
		"relative":       {func(c *runners.Config) { c.Flink.Environment, c.Flink.EnvironmentConfig = process, "sower" }, []string{"absolute path"}},
		"torn JSON":      {func(c *runners.Config) { c.Flink.Environment, c.Flink.EnvironmentConfig = process, `{"command"` }, []string{`"command"`}},
		"wrong JSON":     {func(c *runners.Config) { c.Flink.Environment, c.Flink.EnvironmentConfig = process, `{"cmd":"x"}` }, []string{`"cmd"`}},
	} {
		err := flink{}.Check(config(t, c.change))
		if (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v", what, err)
		}
		for _, w := range c.want {
			if err != nil && !strings.Contains(err.Error(), w) {
				t.Errorf("%s: no word of %s in %v", what, w, err)
			}
		}
	}
}

func TestPlace(t *testing.T) {
	for _, c := range []struct {
		endpoint, environment string
		shared                bool
		want                  runners.Place
	}{
		{"127.0.0.1:8099", "", false, runners.InProcess},
		{"localhost:8099", loopback, true, runners.InProcess},
		{"[::1]:8099", process, false, runners.SameFiles},
		{"flink.example:8099", process, false, runners.Elsewhere},
		{"flink.example:8099", external, true, runners.SameFiles},
		{"198.51.100.7:8099", external, false, runners.Elsewhere},
	} {
		if got := (flink{}).Place(runners.Config{SharedFiles: c.shared, Flink: runners.Flink{Endpoint: c.endpoint, Environment: c.environment}}); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// TestParallelism: Flink takes one slot if it is told nothing, so it is always told.
func TestParallelism(t *testing.T) {
	if n := parallelism(context.Background(), runners.Config{}); n != runtime.NumCPU() {
		t.Errorf("%d", n)
	}
	if n := parallelism(context.Background(), runners.Config{Parallelism: 7}); n != 7 {
		t.Errorf("%d", n)
	}
	if _, n := (flink{}).MaxBundle(context.Background(), runners.Config{Parallelism: 7}); n != 7 {
		t.Errorf("%d bundles", n)
	}
}

func TestProcessConfig(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for config, want := range map[string]string{"": self, "/opt/a b/sower": "/opt/a b/sower", `{"command":"/x"}`: "/x"} {
		text, err := processConfig(runners.Config{Flink: runners.Flink{EnvironmentConfig: config}})
		var v struct{ Command string }
		if err != nil || json.Unmarshal([]byte(text), &v) != nil || v.Command != want {
			t.Errorf("%q: %s, %v", config, text, err)
		}
	}
	if text, err := processConfig(runners.Config{WorkerBinary: self}); err != nil || !strings.Contains(text, self) {
		t.Errorf("--worker-binary: %s, %v", text, err)
	}
}

// TestWorkers: nothing is copied where the workers are there already.
func TestWorkers(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		environment, config, binary string
		digest                      bool
	}{
		{loopback, "", os.DevNull, false},
		{process, "", os.DevNull, true},
		{process, "/opt/apache/beam/boot", self, true},
		{external, "localhost:50000", self, true},
	} {
		w, err := newWorkers(context.Background(), runners.Config{Flink: runners.Flink{Environment: c.environment, EnvironmentConfig: c.config}})
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		w.stop()
		if w.binary != c.binary || (w.digest != "") != c.digest || w.environment == nil {
			t.Errorf("%+v: %+v", c, w)
		}
	}
}

func TestReason(t *testing.T) {
	for said, want := range map[string]string{
		"java.lang.IllegalStateException: Process died with exit code 71":                                                 "another build of this program",
		"java.lang.IllegalStateException: Process died with exit code 72":                                                 "could not reach the job server",
		"RuntimeException: Plan[1]\n\tcaused by:\nDoFn[UID:4, PID:e6, Name: x.workFn] failed:\nencode: unit 3: disk full": "encode: unit 3: disk full",
		"Job was cancelled.": "Job was cancelled.",
	} {
		if got := reason(said).Error(); !strings.Contains(got, want) || strings.Contains(got, "Plan[") {
			t.Errorf("%q: %q, want %q", said, got, want)
		}
	}
}
