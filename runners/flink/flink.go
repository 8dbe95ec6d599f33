// Package flink runs pipelines on Apache Flink, through Beam's job server.
//
// DoFns work in this program ("loopback"), in processes that Flink starts ("process"), or in those of a pool ("external"). A job that
// fails is started again by Flink, whole; units that are committed are then found and not done again.
//
// Beam's own client is used but for its last step: it sets flags of the whole program, reports a cancelled job as a success, and does
// not tell the job's id. submit.go does the same with the parts that the SDK exports.
package flink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"sower/runners"
	"sower/runners/flink/rest"
)

func init() { runners.Register(flink{}) }

type flink struct{}

// What --environment takes.
const (
	loopback = "loopback"
	process  = "process"
	external = "external"
)

var environments = []string{loopback, process, external}

func (flink) Names() []string { return []string{"flink", "FlinkRunner"} }

// environment is where DoFns work.
func environment(c runners.Config) string {
	if c.Flink.Environment == "" {
		return loopback
	}
	return strings.ToLower(c.Flink.Environment)
}

// howToStart is the cure for a missing job server.
const howToStart = "start one with: sower flink up (or run the command as: sower flink run -- sower …)"

// connectLimit is how long Check waits for the job server to take a connection.
const connectLimit = 3 * time.Second

// Check names everything that is wrong, and makes sure that the job server listens.
func (flink) Check(c runners.Config) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("flink: "+format, args...)) }
	if c.Parallelism < 0 {
		bad("--parallelism %d: want 0 (all slots) or more", c.Parallelism)
	}
	env := environment(c)
	if !slices.Contains(environments, env) {
		bad("--environment %q: want one of %s", c.Flink.Environment, strings.Join(environments, ", "))
	}
	host, _, err := net.SplitHostPort(c.Flink.Endpoint)
	switch {
	case c.Flink.Endpoint == "":
		bad("--flink-endpoint, HOST:PORT of Beam's job server, is not given: %s", howToStart)
	case strings.Contains(c.Flink.Endpoint, "://") || err != nil || host == "":
		bad("--flink-endpoint %q: want HOST:PORT of Beam's job server (not Flink's own), such as 127.0.0.1:8099", c.Flink.Endpoint)
	case env == loopback && !thisHost(host):
		bad("--environment loopback works in this program, to which Flink on %s has no connection: use process or external, or run this command on that machine", host)
	}
	config := c.Flink.EnvironmentConfig
	switch env {
	case loopback:
		if config != "" {
			bad("--environment-config %q: --environment loopback takes none", config)
		}
	case external:
		if _, port, err := net.SplitHostPort(config); err != nil || port == "" {
			bad("--environment-config %q: --environment external wants HOST:PORT of the pools, as a task manager sees them, such as localhost:50000 (sower flink pool starts one)", config)
		}
	case process:
		if _, err := processConfig(c); err != nil {
			errs = append(errs, err)
		}
	}
	if _, err := c.Worker(); err != nil && env != loopback && !(env == process && config == "") {
		errs = append(errs, err)
	}
	if c.Flink.REST != "" {
		if _, err := rest.New(c.Flink.REST); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	conn, err := net.DialTimeout("tcp", c.Flink.Endpoint, connectLimit)
	if err != nil {
		return fmt.Errorf("flink: no job server at --flink-endpoint %s (%w): %s", c.Flink.Endpoint, err, howToStart)
	}
	return conn.Close()
}

// Place is this program, other processes of this machine, or other machines: where the job server runs, its workers are taken to run.
func (flink) Place(c runners.Config) runners.Place {
	if environment(c) == loopback {
		return runners.InProcess
	}
	host, _, _ := net.SplitHostPort(c.Flink.Endpoint)
	if c.SharedFiles || thisHost(host) {
		return runners.SameFiles
	}
	return runners.Elsewhere
}

// Branches is one: Flink deals the elements of one stage to all of its slots.
func (flink) Branches(runners.Config) int { return 1 }

// MaxBundleBytes is how much a stage may emit for the elements of one bundle. Beam's Flink runner holds the output of a bundle in a
// queue of 100 messages of about 4 MB until the bundle ends; what comes on top blocks the worker for ever, with all its bundles.
const MaxBundleBytes = 300 << 20

// MaxBundle implements runners.Bundler. Elements are dealt evenly to as many bundles as there are units in work.
func (flink) MaxBundle(ctx context.Context, c runners.Config) (bytes int64, bundles int) {
	return MaxBundleBytes, parallelism(ctx, c)
}

// parallelism is what was asked for, else all slots of the cluster, else all cores: without a number Flink takes one slot.
func parallelism(ctx context.Context, c runners.Config) int {
	if c.Parallelism > 0 {
		return c.Parallelism
	}
	if client, err := rest.New(c.Flink.REST); err == nil {
		ctx, cancel := context.WithTimeout(ctx, connectLimit)
		defer cancel()
		if n, err := client.Slots(ctx); err == nil && n > 0 {
			return n
		}
	}
	return runtime.NumCPU()
}

// thisHost reports whether a name or address is this machine's.
func thisHost(host string) bool {
	if name, err := os.Hostname(); host == "localhost" || err == nil && strings.EqualFold(host, name) {
		return true
	}
	ip := net.ParseIP(host)
	if ip == nil {
		return false
	}
	if ip.IsLoopback() {
		return true
	}
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.Equal(ip) {
			return true
		}
	}
	return false
}
