package flink

import (
	"context"
	"errors"
	"fmt"
	"time"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"

	"sower/runners/worker"
)

// errStalled marks a job that is not getting on.
var errStalled = errors.New("no progress")

// patience is how often the job server is asked whether it is still there, how long an answer may take, and how long it may not answer
// before the job is given up.
type patience struct{ every, answer, silence time.Duration }

var usual = patience{every: 5 * time.Second, answer: 15 * time.Second, silence: 2 * time.Minute}

// watch gives the job up when the job server stops answering, or when nothing is committed for the time that the configuration
// allows. Flink's failures are often silent: both sides wait, and nobody logs a line.
func (j *job) watch(ctx context.Context, giveUp context.CancelCauseFunc) {
	tick := time.NewTicker(j.patience.every)
	defer tick.Stop()
	heard, moved, looked := time.Now(), time.Now(), time.Now()
	var last int64 = -1
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := j.ask(ctx); err == nil {
			heard = time.Now()
		} else if quiet := time.Since(heard); quiet > j.patience.silence {
			giveUp(fmt.Errorf("flink: the job server at %s has not answered for %v: %w", j.config.Flink.Endpoint, quiet.Round(time.Second), err))
			return
		}
		if environment(j.config) == loopback && time.Since(looked) > worker.DeadlockPoll { // other workers look themselves
			if looked = time.Now(); worker.Deadlocked() {
				giveUp(fmt.Errorf("flink: %w: Beam's data channels in this process wait for each other. What is committed stays: run the same command again", errStalled))
				return
			}
		}
		if j.config.Progress == nil || j.config.Stall <= 0 {
			continue
		}
		if now := j.config.Progress(); now != last {
			last, moved = now, time.Now()
		} else if still := time.Since(moved); still > j.config.Stall {
			giveUp(fmt.Errorf("flink: %w for %v: %s", errStalled, still.Round(time.Second), stallCauses))
			return
		}
	}
}

// stallCauses are what is known to hang without a message.
const stallCauses = "nothing was committed. Known causes: a worker out of memory or stuck in its input; a task manager or job server out of heap (start it with -XX:+ExitOnOutOfMemoryError); " +
	"no free slot; workers that cannot reach the job server. The logs of job server and task managers tell which. What is committed stays: run the same command again, with a larger --stall-limit if units take that long"

func (j *job) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, j.patience.answer)
	defer cancel()
	_, err := j.client.GetState(ctx, &jobpb.GetJobStateRequest{JobId: j.id})
	return err
}
