package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"sower/runners/flink/rest"
)

// JobOption and RESTOption are pipeline options: the name of the worker's job, and the URL of the Flink service that knows it.
const (
	JobOption  = "sower_job"
	RESTOption = "sower_flink_rest"
)

// vigil is how often a worker asks whether its job has ended, and how often in a row the answer must be yes. A service that is being
// started again has forgotten its jobs for a moment.
type vigil struct {
	every time.Duration
	times int
}

var usual = vigil{every: 10 * time.Second, times: 3}

// endWithJob calls end when the job has ended. Beam's runner forgets workers now and then when it starts a job again: they would wait
// for work for as long as the task manager lives. Where no REST service is known, or none that can be reached, nothing is concluded.
func (j *job) endWithJob(ctx context.Context, v vigil, end func()) {
	name, address := j.options.Options[JobOption], j.options.Options[RESTOption]
	client, err := rest.New(address)
	if name == "" || address == "" || err != nil {
		return
	}
	tick := time.NewTicker(v.every)
	defer tick.Stop()
	for over := 0; over < v.times; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		jobs, err := client.Jobs(ctx)
		switch {
		case errors.Is(err, rest.ErrUnreachable) && client.Embedded():
			over++ // a Flink inside the job server ends with its job
			continue
		case err != nil:
			over = 0
			continue
		}
		if found, err := rest.Find(jobs, name); errors.Is(err, rest.ErrNoJob) || err == nil && found.Ended() {
			over++
		} else {
			over = 0
		}
	}
	end()
}

// endForgotten ends this process.
func endForgotten() {
	fmt.Fprintln(os.Stderr, "sower: worker: its job has ended, so it ends")
	os.Exit(0)
}
