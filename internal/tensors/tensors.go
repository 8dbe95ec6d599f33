// Package tensors writes files of tensors into buckets, however large they are: nothing holds a whole file in memory.
package tensors

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"

	"sower/gpu/checkpoint"
	"sower/internal/blob"
)

// PyTorch is the metadata by which Hugging Face's libraries know whose tensors a file has.
var PyTorch = map[string]string{"format": "pt"}

// Write commits a safetensors file and returns its SHA-256. It stops when the context ends.
func Write(ctx context.Context, b *blob.Bucket, name string, entries []checkpoint.Entry, metadata map[string]string) (digest string, err error) {
	w, err := b.Create(ctx, name)
	if err != nil {
		return "", err
	}
	defer w.Abort()
	to := &writer{ctx: ctx, to: w, sum: sha256.New()}
	if err := checkpoint.WriteSafetensors(to, entries, metadata); err != nil {
		return "", fmt.Errorf("write %s: %w", name, err)
	}
	if err := w.Commit(); err != nil {
		return "", fmt.Errorf("write %s: %w", name, err)
	}
	return hex.EncodeToString(to.sum.Sum(nil)), nil
}

type writer struct {
	ctx context.Context
	to  blob.Writer
	sum hash.Hash
}

func (w *writer) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.to.Write(p)
	w.sum.Write(p[:n])
	return n, err
}
