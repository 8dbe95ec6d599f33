package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"sower/runners/flink/rest"
)

func newCancel() *cobra.Command {
	var address string
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "cancel JOB",
		Short: "Cancel a job on Flink",
		Long: `Cancels a job by its name (--job-name) or Flink's id, and waits until it has ended. It asks Flink itself: Beam's job server calls a job
cancelled while its workers go on. What is committed stays: the same command as before finishes the rest.`,
		Example: "  sower cancel sower-encode-1a2b3c4d --flink-rest http://127.0.0.1:8081",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errorf("cancel: want the name or id of one job; sower flink status lists them")}
			}
			if address == "" {
				return usageError{errorf("cancel: --flink-rest, the URL of Flink's REST service, is not given (sower flink up prints it)")}
			}
			client, err := rest.New(address)
			if err != nil {
				return usageError{err}
			}
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), limit, errorf("no end within %v", limit))
			defer cancel()
			jobs, err := client.Jobs(ctx)
			if err != nil {
				return err
			}
			j, err := rest.Find(jobs, args[0])
			if err != nil {
				return err
			}
			if j.Ended() {
				return errorf("cancel: job %s (%s) has ended already: %s", j.Name, j.ID, j.State)
			}
			state, err := client.Cancel(ctx, j)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "job %s (%s): %s\n", j.Name, j.ID, state)
			return err
		},
	}
	cmd.Flags().StringVar(&address, "flink-rest", os.Getenv(restVariable), "URL of Flink's REST service; its port may be a range, 28081-28096")
	cmd.Flags().DurationVar(&limit, "limit", time.Minute, "give up waiting after this time")
	return cmd
}
