package rounds

import (
	"context"
	"encoding/json"

	"sower/internal/blob"
	"sower/schemas"
)

// RunFile says which run an output folder belongs to; it is written first.
const RunFile = "run.json"

// WriteRun marks the output folder as this run's.
func WriteRun(ctx context.Context, b *blob.Bucket, id schemas.Identity) error {
	text, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return err
	}
	return b.WriteAll(ctx, RunFile, append(text, '\n'))
}
