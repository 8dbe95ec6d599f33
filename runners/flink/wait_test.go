package flink

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/util/grpcx"
	"google.golang.org/grpc"

	"sower/runners"
)

// jobServer says what it is told about every job, and then waits, or ends the stream.
type jobServer struct {
	jobpb.UnimplementedJobServiceServer

	says []*jobpb.JobMessagesResponse
	hold bool // the stream stays open

	mu   sync.Mutex
	deaf bool // GetState is not answered
}

func (s *jobServer) GetMessageStream(_ *jobpb.JobMessagesRequest, stream jobpb.JobService_GetMessageStreamServer) error {
	for _, m := range s.says {
		if err := stream.Send(m); err != nil {
			return err
		}
	}
	if s.hold {
		<-stream.Context().Done()
	}
	return nil
}

func (s *jobServer) GetState(ctx context.Context, _ *jobpb.GetJobStateRequest) (*jobpb.JobStateEvent, error) {
	s.mu.Lock()
	deaf := s.deaf
	s.mu.Unlock()
	if deaf {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &jobpb.JobStateEvent{State: jobpb.JobState_RUNNING}, nil
}

func state(s jobpb.JobState_Enum) *jobpb.JobMessagesResponse {
	return &jobpb.JobMessagesResponse{Response: &jobpb.JobMessagesResponse_StateResponse{StateResponse: &jobpb.JobStateEvent{State: s}}}
}

func message(importance jobpb.JobMessage_MessageImportance, text string) *jobpb.JobMessagesResponse {
	return &jobpb.JobMessagesResponse{Response: &jobpb.JobMessagesResponse_MessageResponse{MessageResponse: &jobpb.JobMessage{Importance: importance, MessageText: text}}}
}

// waitFor has a job followed that the server tells of.
func waitFor(t *testing.T, ctx context.Context, s *jobServer, change func(*job)) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	jobpb.RegisterJobServiceServer(server, s)
	go server.Serve(l)
	defer server.Stop()
	conn, err := grpcx.Dial(context.Background(), l.Addr().String(), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	j := &job{id: "j", name: "job", client: jobpb.NewJobServiceClient(conn), patience: patience{every: 5 * time.Millisecond, answer: 2 * time.Second, silence: 8 * time.Second}}
	if change != nil {
		change(j)
	}
	done := make(chan error, 1)
	go func() { done <- j.wait(ctx) }()
	select {
	case err := <-done:
		return err
	case <-time.After(30 * time.Second):
		t.Fatal("wait does not end")
		return nil
	}
}

const running, failed = jobpb.JobState_RUNNING, jobpb.JobState_FAILED

func TestWait(t *testing.T) {
	const bad = jobpb.JobMessage_JOB_MESSAGE_ERROR
	for what, c := range map[string]struct {
		says []*jobpb.JobMessagesResponse
		hold bool
		want string // in the error; "" for none
	}{
		"done":              {[]*jobpb.JobMessagesResponse{state(running), state(jobpb.JobState_DONE)}, true, ""},
		"restarted, done":   {[]*jobpb.JobMessagesResponse{message(bad, "one failure"), state(jobpb.JobState_DONE)}, true, ""},
		"cancelled":         {[]*jobpb.JobMessagesResponse{state(running), state(jobpb.JobState_CANCELLED)}, true, "cancelled"},
		"failed, then said": {[]*jobpb.JobMessagesResponse{state(failed), message(bad, "disk full")}, true, "disk full"},
		"said, then failed": {[]*jobpb.JobMessagesResponse{message(bad, "disk full"), state(failed)}, true, "disk full"},
		"the last counts":   {[]*jobpb.JobMessagesResponse{message(bad, "first"), message(jobpb.JobMessage_JOB_MESSAGE_DEBUG, "chat"), message(bad, "last"), state(failed)}, true, "last"},
		"failed, no word":   {[]*jobpb.JobMessagesResponse{state(failed)}, false, "FAILED without a word"},
		"nothing":           {[]*jobpb.JobMessagesResponse{state(running)}, false, "RUNNING without a word"},
	} {
		err := waitFor(t, context.Background(), &jobServer{says: c.says, hold: c.hold}, nil)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestWaitGivesUp covers what would otherwise hang.
func TestWaitGivesUp(t *testing.T) {
	silent := func() *jobServer { return &jobServer{says: []*jobpb.JobMessagesResponse{state(running)}, hold: true} }
	s := silent()
	s.deaf = true
	impatient := func(j *job) { j.patience.answer, j.patience.silence = 20*time.Millisecond, 100*time.Millisecond }
	if err := waitFor(t, context.Background(), s, impatient); err == nil || !strings.Contains(err.Error(), "has not answered for") {
		t.Errorf("a job server that hangs: %v", err)
	}
	stuck := func(j *job) {
		j.config = runners.Config{Progress: func() int64 { return 3 }, Stall: 50 * time.Millisecond}
	}
	if err := waitFor(t, context.Background(), silent(), stuck); !errors.Is(err, errStalled) || !strings.Contains(err.Error(), "--stall-limit") {
		t.Errorf("a job without progress: %v", err)
	}
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(context.Background())
	time.AfterFunc(300*time.Millisecond, func() { cancel(cause) })
	n := int64(0)
	moving := func(j *job) {
		j.config = runners.Config{Progress: func() int64 { n++; return n }, Stall: 50 * time.Millisecond}
	}
	if err := waitFor(t, ctx, silent(), moving); !errors.Is(err, cause) {
		t.Errorf("a job that gets on, until it is interrupted: %v", err)
	}
}
