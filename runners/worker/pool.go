package worker

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	"google.golang.org/grpc"
)

// Pool starts a worker process for every one that a runner asks for, which is what Beam calls an external environment. One stands
// beside each task manager.
type Pool struct {
	fnpb.UnimplementedBeamFnExternalWorkerPoolServer

	program string
	notes   io.Writer
	server  *grpc.Server

	mu      sync.Mutex
	closed  bool
	workers map[string]*exec.Cmd
	ended   sync.WaitGroup
}

// NewPool makes a pool whose workers run a program: this one, in general. It tells notes what starts and ends; workers write there, too.
func NewPool(program string, notes io.Writer) *Pool {
	p := &Pool{program: program, notes: notes, server: grpc.NewServer(), workers: map[string]*exec.Cmd{}}
	fnpb.RegisterBeamFnExternalWorkerPoolServer(p.server, p)
	return p
}

// Serve takes requests until ctx ends, and then ends all workers.
func (p *Pool) Serve(ctx context.Context, l net.Listener) error {
	defer context.AfterFunc(ctx, p.server.Stop)()
	err := p.server.Serve(l)
	p.mu.Lock()
	p.closed = true
	for _, cmd := range p.workers {
		cmd.Process.Kill()
	}
	p.mu.Unlock()
	p.ended.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("worker: pool: %w", err)
}

// StartWorker starts a process. What is wrong is told in the response: that is what runners show.
func (p *Pool) StartWorker(_ context.Context, r *fnpb.StartWorkerRequest) (*fnpb.StartWorkerResponse, error) {
	refuse := func(format string, args ...any) (*fnpb.StartWorkerResponse, error) {
		return &fnpb.StartWorkerResponse{Error: "sower: pool: " + fmt.Sprintf(format, args...)}, nil
	}
	id := r.GetWorkerId()
	switch {
	case id == "" || r.GetProvisionEndpoint().GetUrl() == "":
		return refuse("worker %q, provision endpoint %q: want both", id, r.GetProvisionEndpoint().GetUrl())
	case r.GetControlEndpoint().GetAuthentication() != nil:
		return refuse("worker %s: endpoints with authentication are not supported", id)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return refuse("it ends")
	}
	if p.workers[id] != nil {
		return refuse("worker %s runs already", id)
	}
	cmd := exec.Command(p.program, "--id="+id, "--provision_endpoint="+r.GetProvisionEndpoint().GetUrl(), "--logging_endpoint="+r.GetLoggingEndpoint().GetUrl(),
		"--artifact_endpoint="+r.GetArtifactEndpoint().GetUrl(), "--control_endpoint="+r.GetControlEndpoint().GetUrl())
	cmd.Stdout, cmd.Stderr = p.notes, p.notes
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return refuse("start worker %s: %v", id, err)
	}
	fmt.Fprintf(p.notes, "pool: worker %s, process %d\n", id, cmd.Process.Pid)
	p.workers[id] = cmd
	p.ended.Go(func() { p.wait(id, cmd) })
	return &fnpb.StartWorkerResponse{}, nil
}

// wait takes leave of a worker, so that none stays as a zombie.
func (p *Pool) wait(id string, cmd *exec.Cmd) {
	cmd.Wait()
	fmt.Fprintf(p.notes, "pool: worker %s: %s\n", id, cmd.ProcessState)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.workers[id] == cmd {
		delete(p.workers, id)
	}
}

// StopWorker ends a process. One that has ended already is no error: workers end when the runner closes their control stream.
func (p *Pool) StopWorker(_ context.Context, r *fnpb.StopWorkerRequest) (*fnpb.StopWorkerResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if cmd := p.workers[r.GetWorkerId()]; cmd != nil {
		cmd.Process.Signal(os.Kill)
	}
	return &fnpb.StopWorkerResponse{}, nil
}
