package dataflow

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	df "google.golang.org/api/dataflow/v1b3"
	"google.golang.org/api/googleapi"

	"sower/runners"
)

// wait returns when the job has ended, with its error if it did not succeed. When ctx ends first, the job is cancelled.
func (w *watch) wait(ctx context.Context) error {
	last, misses := state(""), 0
	for {
		j, err := w.client.Projects.Locations.Jobs.Get(w.project, w.region, w.id).Context(ctx).Do()
		switch {
		case ctx.Err() != nil:
			return errors.Join(context.Cause(ctx), w.cancel(context.WithoutCancel(ctx)))
		case err != nil:
			if misses++; misses >= unreachable || refused(err) {
				return fmt.Errorf("dataflow: job %s: its state cannot be read: %w; the job goes on, the same command finds what it commits", w.id, err)
			}
		default:
			misses = 0
			if j.CurrentState != last {
				last = j.CurrentState
				note(w.notes, "job %s: %s", w.id, strings.ToLower(strings.TrimPrefix(last, "JOB_STATE_")))
			}
			switch last {
			case done:
				return nil
			case failed:
				return fmt.Errorf("dataflow: job %s failed: %w", w.id, w.cause(ctx))
			case cancelled, drained, updated:
				return fmt.Errorf("dataflow: job %s was %s before its end; run the same command again to finish the rest", w.id, strings.ToLower(strings.TrimPrefix(last, "JOB_STATE_")))
			}
		}
		select {
		case <-time.After(w.every):
		case <-ctx.Done():
		}
	}
}

// refused reports whether the service has answered that it will not tell, ever.
func refused(err error) bool {
	var e *googleapi.Error
	return errors.As(err, &e) && (e.Code == 401 || e.Code == 403 || e.Code == 404)
}

// cause is the latest error that the job's messages have.
func (w *watch) cause(ctx context.Context) error {
	list, err := w.client.Projects.Locations.Jobs.Messages.List(w.project, w.region, w.id).MinimumImportance("JOB_MESSAGE_ERROR").Context(ctx).Do()
	if err != nil || len(list.JobMessages) == 0 {
		return errors.New("the console has its messages")
	}
	// The last ones say that a limit of failures was reached; what a DoFn said is what helps.
	for i := len(list.JobMessages) - 1; i >= 0; i-- {
		whole := errors.New(list.JobMessages[i].MessageText)
		if cause := runners.Cause(whole); cause.Error() != whole.Error() {
			return cause
		}
	}
	return errors.New(list.JobMessages[len(list.JobMessages)-1].MessageText)
}

// cancel asks the service to end the job and watches it do so for a while.
func (w *watch) cancel(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, cancelWait)
	defer stop()
	note(w.notes, "cancelling job %s", w.id)
	jobs := w.client.Projects.Locations.Jobs
	if _, err := jobs.Update(w.project, w.region, w.id, &df.Job{RequestedState: cancelled}).Context(ctx).Do(); err != nil {
		return fmt.Errorf("dataflow: job %s was not cancelled and goes on (%w): gcloud dataflow jobs cancel %s --region %s --project %s", w.id, err, w.id, w.region, w.project)
	}
	for {
		j, err := jobs.Get(w.project, w.region, w.id).Context(ctx).Do()
		if err == nil {
			switch j.CurrentState {
			case done, failed, cancelled, drained, updated:
				return nil
			}
		}
		select {
		case <-time.After(w.every):
		case <-ctx.Done():
			note(w.notes, "job %s is still cancelling: workers finish the units that they hold", w.id)
			return nil
		}
	}
}
