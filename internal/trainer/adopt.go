package trainer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"sower/internal/blob"
	"sower/internal/rounds"
	"sower/schemas"
)

// Adopt makes the finished first stage of another run this one's, as if it had been trained here. It must be of the same pictures, recipe and
// seed; the second stage may be another. Where this run has a first stage already, nothing is done.
func Adopt(ctx context.Context, out, from *blob.Bucket, c Config) error {
	c.Stage = 1
	p := c.Plan()
	if done, err := Done(ctx, out, &c); err != nil || done == p.Rounds() {
		return err
	}
	id, err := firstOf(ctx, from, p)
	if err != nil {
		return err
	}
	if diff := id.Diff(c.firstIdentity()); len(diff) > 0 {
		return fmt.Errorf("trainer: the first stage of %s is another one than this run's:\n    %s", from.URL(), strings.Join(diff, "\n    "))
	}
	if _, err := ReadCommit(ctx, from, &c, p.Rounds()-1); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("trainer: the first stage of %s is not finished: run the command that trains it again", from.URL())
	} else if err != nil {
		return fmt.Errorf("trainer: %w", err)
	}
	return rounds.Adopt(ctx, out, from, p)
}

// firstOf reads what the first stage of a run was made of.
func firstOf(ctx context.Context, from *blob.Bucket, p *rounds.Plan) (id schemas.Identity, err error) {
	raw, err := from.ReadAll(ctx, p.CommitFile(0), 64<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return id, fmt.Errorf("trainer: %s has no first stage: give the output folder of sower train-tokenizer", from.URL())
	}
	if err != nil {
		return id, err
	}
	var commit struct{ Identity string }
	if err := json.Unmarshal(raw, &commit); err != nil {
		return id, fmt.Errorf("trainer: %s: %w", blob.Join(from.URL(), p.CommitFile(0)), err)
	}
	if err := json.Unmarshal([]byte(commit.Identity), &id); err != nil {
		return id, fmt.Errorf("trainer: the identity in %s: %w", blob.Join(from.URL(), p.CommitFile(0)), err)
	}
	return id, nil
}
