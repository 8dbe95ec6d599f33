package worker

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/container/tools"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime"
	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/util/grpcx"
	"google.golang.org/grpc"
)

// The test binary is a worker if it is called as one, as a program that uses this package is.
func TestMain(m *testing.M) {
	if Main(os.Args[1:]) {
		return
	}
	os.Exit(m.Run())
}

func TestForm(t *testing.T) {
	for args, want := range map[string]int{
		"":         byUser,
		"encode":   byUser,
		"--help":   byUser,
		"-q":       byUser,
		"--worker": asWorker,
		"--worker=true --id=1 --control_endpoint=c": asWorker,
		"-worker=true":                               asWorker,
		"--worker=false --id=1":                      byUser,
		"encode --worker":                            byUser,
		"--id=1 --provision_endpoint=p":              asBoot,
		"--id=1 --provision_endpoint=p --worker":     asWorker,
		"--id=1":                                     byUser,
		"--provision_endpoint=p":                     byUser,
		"-id=1 -provision_endpoint=p":                asBoot,
		"--workers=4":                                byUser,
		"encode --id=1 --provision_endpoint=p":       byUser,
		"--id= --provision_endpoint= --other=thing ": asBoot,
	} {
		if got := form(strings.Fields(args)); got != want {
			t.Errorf("%q: %d, want %d", args, got, want)
		}
	}
}

func TestParseEndpoints(t *testing.T) {
	e, err := parseEndpoints(strings.Fields("--id=1-1 --provision_endpoint=h:1 --logging_endpoint=h:2 --artifact_endpoint=h:3 --control_endpoint=h:4 --semi_persist_dir=/x"))
	if want := (endpoints{id: "1-1", provision: "h:1", logging: "h:2", control: "h:4"}); err != nil || e != want {
		t.Errorf("%+v, %v", e, err)
	}
	for _, args := range []string{"--id= --provision_endpoint=h:1", "--id=1 --provision_endpoint=h:1 --colour=red"} {
		if _, err := parseEndpoints(strings.Fields(args)); err == nil {
			t.Errorf("%s is taken", args)
		}
	}
}

func url(s string) *pipepb.ApiServiceDescriptor { return &pipepb.ApiServiceDescriptor{Url: s} }

// info is what a runner says to a worker of a job with these options.
func info(t *testing.T, options map[string]string, control, logging string) *fnpb.ProvisionInfo {
	t.Helper()
	p, err := tools.OptionsToProto(runtime.RawOptionsWrapper{Options: runtime.RawOptions{Options: options}, AppName: "job"})
	if err != nil {
		t.Fatal(err)
	}
	return &fnpb.ProvisionInfo{PipelineOptions: p, ControlEndpoint: url(control), LoggingEndpoint: url(logging), RunnerCapabilities: []string{"can"}}
}

func TestNewJob(t *testing.T) {
	j, err := newJob(endpoints{logging: "old", control: "old"}, info(t, map[string]string{"a": "b"}, "c:1", ""))
	if err != nil || j.control != "c:1" || j.logging != "old" || j.options.Options["a"] != "b" || fmt.Sprint(j.capabilities) != "[can]" {
		t.Errorf("%+v, %v", j, err)
	}
	if _, err := newJob(endpoints{}, info(t, nil, "", "l:1")); err == nil || !strings.Contains(err.Error(), `control endpoint ""`) {
		t.Errorf("no control endpoint: %v", err)
	}
}

func TestSameBinary(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := Digest(self)
	if err != nil {
		t.Fatal(err)
	}
	for want, ok := range map[string]bool{digest: true, "": true, strings.Repeat("0", 64): false} {
		j := job{options: runtime.RawOptions{Options: map[string]string{BinaryOption: want}}}
		if err := j.sameBinary(); (err == nil) != ok || err != nil && !strings.Contains(err.Error(), self) {
			t.Errorf("%q: %v", want, err)
		}
	}
	if _, err := Digest(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there has a digest")
	}
}

// runner is the side of a runner that a worker talks to.
type runner struct {
	fnpb.UnimplementedProvisionServiceServer
	fnpb.UnimplementedBeamFnControlServer
	fnpb.UnimplementedBeamFnLoggingServer

	address string
	info    *fnpb.ProvisionInfo
	end     chan struct{} // closing it ends the control stream
	began   chan string   // ids of workers that took control streams

	mu   sync.Mutex
	logs []string
}

func newRunner(t *testing.T, options map[string]string) *runner {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &runner{address: l.Addr().String(), end: make(chan struct{}), began: make(chan string, 1)}
	r.info = info(t, options, r.address, r.address)
	s := grpc.NewServer()
	fnpb.RegisterProvisionServiceServer(s, r)
	fnpb.RegisterBeamFnControlServer(s, r)
	fnpb.RegisterBeamFnLoggingServer(s, r)
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return r
}

func (r *runner) GetProvisionInfo(ctx context.Context, _ *fnpb.GetProvisionInfoRequest) (*fnpb.GetProvisionInfoResponse, error) {
	if _, err := grpcx.ReadWorkerID(ctx); err != nil {
		return nil, err
	}
	return &fnpb.GetProvisionInfoResponse{Info: r.info}, nil
}

func (r *runner) Control(s fnpb.BeamFnControl_ControlServer) error {
	id, err := grpcx.ReadWorkerID(s.Context())
	if err != nil {
		return err
	}
	r.began <- id
	select {
	case <-r.end:
	case <-s.Context().Done():
	}
	return nil
}

func (r *runner) Logging(s fnpb.BeamFnLogging_LoggingServer) error {
	for {
		list, err := s.Recv()
		if err != nil {
			return nil
		}
		r.mu.Lock()
		for _, e := range list.GetLogEntries() {
			r.logs = append(r.logs, e.GetMessage())
		}
		r.mu.Unlock()
	}
}

func (r *runner) said(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Contains(strings.Join(r.logs, "\n"), text)
}

// code waits for a process, with a limit.
func code(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	stop := time.AfterFunc(60*time.Second, func() { cmd.Process.Kill() })
	defer stop.Stop()
	cmd.Wait()
	return cmd.ProcessState.ExitCode()
}

// TestBoot starts a worker as a runner does: it must take its work under its id, and end when the runner is done.
func TestBoot(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := Digest(self)
	if err != nil {
		t.Fatal(err)
	}
	start := func(r *runner) *exec.Cmd {
		cmd := exec.Command(self, "--id=w1", "--provision_endpoint="+r.address)
		cmd.Dir = t.TempDir()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill() })
		return cmd
	}
	r := newRunner(t, map[string]string{BinaryOption: digest})
	cmd := start(r)
	select {
	case id := <-r.began:
		if id != "w1" {
			t.Errorf("worker %q took the work", id)
		}
	case <-time.After(60 * time.Second):
		t.Fatal("the worker does not come")
	}
	close(r.end)
	if c := code(t, cmd); c != 0 {
		t.Errorf("exit code %d", c)
	}
	if files, _ := os.ReadDir(cmd.Dir); len(files) > 0 {
		t.Errorf("the worker leaves %v in its folder", files)
	}

	r = newRunner(t, map[string]string{BinaryOption: strings.Repeat("f", 64)})
	if c := code(t, start(r)); c != ExitOtherBinary {
		t.Errorf("a job of another program: exit code %d, want %d", c, ExitOtherBinary)
	}
	for end := time.Now().Add(30 * time.Second); !r.said("another build"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the runner's log does not say why")
		}
	}

	r = newRunner(t, nil)
	r.info.ControlEndpoint = nil
	if c := code(t, start(r)); c != ExitNoJob {
		t.Errorf("no control endpoint: exit code %d, want %d", c, ExitNoJob)
	}
}

// TestEndsWithParent kills the process that started a worker.
func TestEndsWithParent(t *testing.T) {
	r := newRunner(t, nil)
	parent := exec.Command("/bin/sh", "-c", `"$0" --id=w2 --provision_endpoint="$1" & echo $!; wait`, os.Args[0], r.address)
	out, err := parent.StdoutPipe()
	if err == nil {
		err = parent.Start()
	}
	if err != nil {
		t.Skip(err)
	}
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	<-r.began
	parent.Process.Kill()
	gone := make(chan error, 1)
	go func() { // the worker holds the pipe
		_, err := io.Copy(io.Discard, out)
		gone <- err
	}()
	select {
	case <-gone:
	case <-time.After(30 * time.Second):
		if p, err := os.FindProcess(pid); err == nil {
			p.Kill()
		}
		t.Fatal("the worker lives on")
	}
	parent.Wait()
}

// safe is a buffer for several writers.
type safe struct {
	sync.Mutex
	bytes.Buffer
}

func (s *safe) Write(p []byte) (int, error) {
	s.Lock()
	defer s.Unlock()
	return s.Buffer.Write(p)
}

func (s *safe) String() string {
	s.Lock()
	defer s.Unlock()
	return s.Buffer.String()
}

// TestPool has a pool start, stop and, at its own end, kill workers.
func TestPool(t *testing.T) {
	r := newRunner(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var notes safe
	ctx, end := context.WithCancel(context.Background())
	pool := NewPool(os.Args[0], &notes)
	served := make(chan error, 1)
	go func() { served <- pool.Serve(ctx, l) }()
	conn, err := grpcx.Dial(ctx, l.Addr().String(), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := fnpb.NewBeamFnExternalWorkerPoolClient(conn)
	start := func(id, provision string) string {
		resp, err := client.StartWorker(ctx, &fnpb.StartWorkerRequest{WorkerId: id, ProvisionEndpoint: url(provision), LoggingEndpoint: url(r.address)})
		if err != nil {
			t.Fatal(err)
		}
		return resp.GetError()
	}
	if e := start("", r.address); !strings.Contains(e, "want both") {
		t.Errorf("no id: %q", e)
	}
	for _, id := range []string{"p1", "p2"} {
		if e := start(id, r.address); e != "" {
			t.Fatal(e)
		}
		if began := <-r.began; began != id {
			t.Errorf("worker %q came, want %q", began, id)
		}
	}
	if e := start("p1", r.address); !strings.Contains(e, "runs already") {
		t.Errorf("one id twice: %q", e)
	}
	if resp, err := client.StopWorker(ctx, &fnpb.StopWorkerRequest{WorkerId: "p1"}); err != nil || resp.GetError() != "" {
		t.Errorf("%v, %v", resp, err)
	}
	for limit := time.Now().Add(30 * time.Second); !strings.Contains(notes.String(), "worker p1: signal: killed"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("p1 is not stopped:\n%s", notes.String())
		}
	}
	if resp, err := client.StopWorker(ctx, &fnpb.StopWorkerRequest{WorkerId: "p1"}); err != nil || resp.GetError() != "" {
		t.Errorf("stopped twice: %v, %v", resp, err)
	}
	end()
	select {
	case err := <-served:
		if err != nil || !strings.Contains(notes.String(), "worker p2: signal: killed") {
			t.Errorf("%v\n%s", err, notes.String())
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the pool does not end")
	}
}
